"""fraud-platform deployment …: which models the running services use."""

from typing import TYPE_CHECKING

import click

from fraud_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraud_platform.decisions.deployment import Deployment
    from fraud_platform.features.selection import Catalog


@click.group()
def deployment() -> None:
    """Say which models the running services use. They follow within seconds, without a restart."""


@deployment.command("show")
def show() -> None:
    """What they are told to use."""
    from fraud_platform.decisions.deployment import read_deployment

    _tell(read_deployment(load_settings().deployment))


@deployment.command("champion")
def champion() -> None:
    """Serve the champion of the registry, with the version before it as fallback."""
    from fraud_platform.defs.deployment import deploy_champion

    settings = load_settings()
    deployed = deploy_champion(settings)
    _audit(settings, "champion_deployed", deployed.champion and deployed.champion.model_version)
    _tell(deployed)


@deployment.command("challenger")
@click.argument("version", metavar="VERSION|ALIAS")
@click.option("--percent", type=click.FloatRange(0, 100), help="decide for this share of customers; else: shadow")
def challenger(version: str, percent: float | None) -> None:
    """Try VERSION beside the champion: in shadow, where it is logged and never answers, or for a share of customers."""
    from fraud_platform.defs.deployment import deploy_challenger

    settings = load_settings()
    mode = "shadow" if percent is None else "ab"
    deployed = deploy_challenger(settings, _catalog(settings), version, mode, percent or 0.0)
    _audit(settings, "challenger_deployed", deployed.challenger and deployed.challenger.model_version)
    _tell(deployed)


@deployment.command("withdraw")
def withdraw() -> None:
    """Try nothing beside the champion any more."""
    from fraud_platform.defs.deployment import withdraw_challenger

    settings = load_settings()
    deployed = withdraw_challenger(settings)
    _audit(settings, "challenger_withdrawn", None)
    _tell(deployed)


def _tell(deployed: "Deployment") -> None:
    champion, challenger, fallback = deployed.champion, deployed.challenger, deployed.fallback
    click.echo(f"champion    {f'version {champion.model_version}' if champion else 'the model packaged in the Bento'}")
    if challenger is not None:
        how = "in shadow" if challenger.mode == "shadow" else f"decides for {challenger.percent:g} % of customers"
        click.echo(f"challenger  version {challenger.model_version}, {how}")
    if fallback is not None:
        click.echo(f"fallback    version {fallback.model_version}")


def _catalog(settings: Settings) -> "Catalog":
    from fraud_platform.features.selection import catalog_of
    from fraud_platform.transactions.sources import load_source

    return catalog_of(load_source(settings.source, settings.data))


def _audit(settings: Settings, action: str, model_version: str | None) -> None:
    from fraud_platform.audit import Audit, user
    from fraud_platform.pseudonyms import Pseudonyms

    audit = Audit(settings.audit_log, Pseudonyms(settings.pseudonym_key))
    audit.write(user(), action, {"model_version": model_version})
