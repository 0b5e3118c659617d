"""Which models a running service uses: the champion and its fallback by an asset, challengers by hand."""

import os
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import msgspec

from fraud_platform.decisions.deployment import (
    Challenger,
    Deployed,
    Deployment,
    LastPromotion,
    read_deployment,
    write_deployment,
)
from fraud_platform.defs.champion import champion_artefact
from fraud_platform.defs.presentation import OWNERS
from fraud_platform.errors import ArtefactError
from fraud_platform.features.selection import Catalog
from fraud_platform.models import registry
from fraud_platform.models.artefact import Artefact
from fraud_platform.settings import Settings

GROUP = "serving"


def definitions() -> dg.Definitions:
    """What the running services are told to use."""
    return dg.Definitions(assets=[service_deployment])


@dg.asset(deps=["champion_model", "fraud_scoring_bento"], group_name=GROUP, kinds={"onnx"}, owners=OWNERS[GROUP])
def service_deployment(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    """The champion as the model of every running service, which takes it up within seconds, without a restart.

    The version that served before is the fallback. A challenger that was set by hand stays, unless it is the
    champion now.
    """
    deployment = deploy_champion(settings)
    return dg.MaterializeResult(metadata=deployment_metadata(settings, deployment))


def deploy_champion(settings: Settings) -> Deployment:
    """Point the services at the champion of the registry.

    Raises:
        RegistryError: if no version was promoted yet, or MLflow does not answer.
        ArtefactError: if its artefact is damaged.
        ServiceError: if the deployment file cannot be read or written.
    """
    uri, name = settings.tracking_uri, settings.model_name
    before = read_deployment(settings.deployment)
    version, artefact = champion_artefact(settings)
    champion = deployed(settings, version.version, artefact.path)
    fallback = None
    if (previous := registry.by_alias(uri, name, registry.PREVIOUS)) is not None:
        found = Artefact.load(registry.download(uri, previous, settings.models))
        if found.card.catalog.fingerprint == artefact.card.catalog.fingerprint:
            fallback = deployed(settings, previous.version, found.path)
    challenger = before.challenger
    if challenger is not None and challenger.model_version == champion.model_version:
        challenger = None
    deployment = Deployment(champion, challenger, fallback, _last_promotion(settings))
    write_deployment(settings.deployment, deployment)
    return deployment


def deploy_challenger(
    settings: Settings, catalog: Catalog, version_or_alias: str, mode: Literal["shadow", "ab"], percent: float
) -> Deployment:
    """Try a version beside the champion.

    Raises:
        RegistryError, ArtefactError, ServiceError: as `deploy_champion`; ArtefactError also if it was trained on
            another catalog than the source's, so that the services would refuse it.
    """
    uri, name = settings.tracking_uri, settings.model_name
    version = registry.find(uri, name, version_or_alias)
    artefact = Artefact.load(registry.download(uri, version, settings.models))
    trained_on = artefact.card.catalog.fingerprint
    if trained_on != catalog.fingerprint:
        raise ArtefactError(
            f"Version {version.version} was trained on catalog {trained_on}, and the services compute "
            f"{catalog.fingerprint}: they would refuse it. Train it again."
        )
    found = deployed(settings, version.version, artefact.path)
    challenger = Challenger(found.model_version, found.artefact, mode, percent)
    deployment = msgspec.structs.replace(read_deployment(settings.deployment), challenger=challenger)
    write_deployment(settings.deployment, deployment)
    return deployment


def withdraw_challenger(settings: Settings) -> Deployment:
    """Try nothing beside the champion any more.

    Raises:
        ServiceError: if the deployment file cannot be read or written.
    """
    deployment = msgspec.structs.replace(read_deployment(settings.deployment), challenger=None)
    write_deployment(settings.deployment, deployment)
    return deployment


def deployed(settings: Settings, version: int, artefact: Path) -> Deployed:
    """A version as the deployment file names it: by a path that starts at the file."""
    return Deployed(str(version), os.path.relpath(artefact, settings.deployment.parent))


def deployment_metadata(settings: Settings, deployment: Deployment) -> dict[str, Any]:
    """What a person sees of it."""
    challenger = deployment.challenger
    found = {
        "champion": deployment.champion and deployment.champion.model_version,
        "fallback": deployment.fallback and deployment.fallback.model_version,
        "challenger": challenger and challenger.model_version,
        "challenger_mode": challenger and challenger.mode,
        "challenger_percent": challenger and challenger.mode == "ab" and challenger.percent,
    }
    return {name: value for name, value in found.items() if value} | {
        "file": dg.MetadataValue.path(settings.deployment)
    }


def _last_promotion(settings: Settings) -> LastPromotion | None:
    """The newest entry of the history that changed what serves."""
    entries = registry.history(settings.tracking_uri, settings.model_name)
    for entry in reversed(entries):
        if entry.event != "refused":
            return LastPromotion(entry.event, entry.from_version, entry.why, entry.by, entry.at)
    return None
