"""Versions of the registered model, and the aliases that say which of them serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fraud_platform.errors import RegistryError
from fraud_platform.models.registry.connection import connect, reaching

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
"""The version that serves; the one nominated to replace it; the one that a rollback goes back to."""


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model, as it was when it was read."""

    name: str
    version: int
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...] = ()
    created: datetime | None = None


def versions(tracking_uri: str, name: str) -> list[RegisteredVersion]:
    """Every version, the newest first; none where the model does not exist.

    Raises:
        RegistryError: if MLflow does not answer.
    """
    client = connect(tracking_uri)
    with reaching(tracking_uri):
        return read_versions(client, name)


def by_alias(tracking_uri: str, name: str, alias: str) -> RegisteredVersion | None:
    """The version that `alias` points at, or None where the model or the alias does not exist."""
    client = connect(tracking_uri)
    with reaching(tracking_uri):
        number = read_aliases(client, name).get(alias)
        return None if number is None else as_registered(client.get_model_version(name, str(number)))


def champion(tracking_uri: str, name: str) -> RegisteredVersion | None:
    """The version that serves, or None before the first promotion."""
    return by_alias(tracking_uri, name, CHAMPION)


def require_champion(tracking_uri: str, name: str) -> RegisteredVersion:
    """`champion`, where there must be one.

    Raises:
        RegistryError: before the first promotion.
    """
    found = champion(tracking_uri, name)
    if found is None:
        raise RegistryError(
            f"No version of {name} is the champion in MLflow at {tracking_uri}. Materialize `champion_model`, or "
            "choose one: `fraud-platform model list`, `fraud-platform model promote VERSION --why …`."
        )
    return found


def latest_version(tracking_uri: str, name: str) -> RegisteredVersion | None:
    """The version with the highest number, or None before the first registration."""
    client = connect(tracking_uri)
    with reaching(tracking_uri):
        found = client.search_model_versions(f"name = '{name}'", max_results=1, order_by=["version_number DESC"])
        return as_registered(found[0]) if found else None


def require_latest(tracking_uri: str, name: str) -> RegisteredVersion:
    """`latest_version`, where there must be one.

    Raises:
        RegistryError: before the first registration.
    """
    version = latest_version(tracking_uri, name)
    if version is None:
        raise RegistryError(
            f"No model {name} is registered in MLflow at {tracking_uri}. Materialize `challenger_model` first."
        )
    return version


def find(tracking_uri: str, name: str, version_or_alias: str) -> RegisteredVersion:
    """The version of that number, or the one that this alias points at.

    Raises:
        RegistryError: if there is none, naming those that exist.
    """
    known = versions(tracking_uri, name)
    for version in known:
        if version_or_alias == str(version.version) or version_or_alias in version.aliases:
            return version
    listed = ", ".join(" = ".join([str(v.version), *v.aliases]) for v in known) or "none"
    raise RegistryError(
        f"{name} has no version or alias {version_or_alias!r} in MLflow at {tracking_uri}. It has: {listed}."
    )


def nominate(tracking_uri: str, name: str, version: int) -> None:
    """Point the alias `challenger` at a version. It stays there, promoted or refused, until the next nomination.

    Raises:
        RegistryError: if there is no such version.
    """
    client = connect(tracking_uri)
    with reaching(tracking_uri):
        client.set_registered_model_alias(name, CHALLENGER, str(version))


def run_metrics(tracking_uri: str, run_id: str) -> dict[str, float]:
    """The figures of the run that made a version; empty where the run was deleted for good."""
    client = connect(tracking_uri)
    from mlflow.exceptions import MlflowException

    with reaching(tracking_uri):
        try:
            return dict(client.get_run(run_id).data.metrics)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}


def read_versions(client: "MlflowClient", name: str) -> list[RegisteredVersion]:
    """`versions`, through a client."""
    aliases: dict[int, list[str]] = {}
    for alias, number in read_aliases(client, name).items():
        aliases.setdefault(number, []).append(alias)
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", order_by=["version_number DESC"], page_token=token)
        found += page
        token = page.token
        if not token:
            return [as_registered(version, aliases) for version in found]


def read_aliases(client: "MlflowClient", name: str) -> dict[str, int]:
    """alias -> version number; empty where the model does not exist."""
    models = client.search_registered_models(f"name = '{name}'", max_results=1)
    return {alias: int(number) for alias, number in models[0].aliases.items()} if models else {}


def as_registered(found: Any, aliases: Mapping[int, list[str]] | None = None) -> RegisteredVersion:
    """Args: aliases: by version, where MLflow's answer has none (a search)."""
    number = int(found.version)
    return RegisteredVersion(
        name=found.name,
        version=number,
        run_id=str(found.run_id),
        tags=dict(found.tags),
        aliases=tuple(sorted(found.aliases if aliases is None else aliases.get(number, ()))),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
    )
