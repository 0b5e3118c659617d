"""`fraud-platform keys …`: API keys of the service, each change with a line in the audit."""

from datetime import UTC, datetime, timedelta

import click

from fraud_platform import access
from fraud_platform.audit import Audit, user
from fraud_platform.pseudonyms import Pseudonyms
from fraud_platform.settings import load_settings


@click.group()
def keys() -> None:
    """Say who may use the service. A running service follows within a second."""


@keys.command("create")
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(access.ROLES), help="repeatable")
@click.option("--days", type=click.IntRange(min=1), help="how long the key is valid; default: until revoked")
def create(name: str, roles: tuple[str, ...], days: int | None) -> None:
    """Print a new key for NAME: only now, for only its hash is kept."""
    click.echo(access.create(load_settings().api_keys, name, roles, _end(days)))
    _audit("key_created", name)


@keys.command("list")
def show() -> None:
    """Every key as a table; the keys themselves are not kept."""
    now = datetime.now(UTC)
    click.echo(f"{'name':24} {'id':16} {'roles':26} {'created':10} expires")
    for entry in access.list_keys(load_settings().api_keys):
        end = "never" if entry.expires is None else f"{entry.expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        state = f"{end}, has expired" if entry.expired(now) else end
        click.echo(f"{entry.name:24} {entry.key_id} {','.join(entry.roles):26} {entry.created:%Y-%m-%d} {state}")


@keys.command("rotate")
@click.argument("name")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(min=0),
    default=24,
    show_default=True,
    help="how long the old key stays valid beside the new one",
)
@click.option("--days", type=click.IntRange(min=1), help="how long the key is valid; default: as long as the old one")
def rotate(name: str, overlap_hours: float, days: int | None) -> None:
    """Print a new key for NAME with the roles of the old one."""
    overlap = timedelta(hours=overlap_hours)
    click.echo(access.rotate(load_settings().api_keys, name, overlap, _end(days)))
    _audit("key_rotated", name)


@keys.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """End every key of NAME, and the console sessions that were opened with it."""
    ended = access.revoke(load_settings().api_keys, name)
    _audit("key_revoked", name)
    click.echo(f"{ended} of {name} ended.")


def _end(days: int | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _audit(action: str, name: str) -> None:
    """The change, with what the file now holds for the name."""
    settings = load_settings()
    held = [
        {"key_id": entry.key_id, "roles": entry.roles, "expires": entry.expires}
        for entry in access.list_keys(settings.api_keys)
        if entry.name == name
    ]
    Audit(settings.audit_log, Pseudonyms(settings.pseudonym_key)).write(user(), action, {"name": name, "keys": held})
