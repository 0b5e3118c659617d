"""Promotion and rollback by hand, each shown in Dagster as an event of `champion_model`."""

import os
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from fraud_platform.errors import CatalogError, FraudPlatformError
from fraud_platform.features.selection import Catalog
from fraud_platform.models import registry
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.registry import Promotion, RegisteredVersion
from fraud_platform.settings import Settings

CHAMPION_MODEL = dg.AssetKey("champion_model")


def promote_by_hand(settings: Settings, catalog: Catalog, version: int, why: str, by: str) -> Promotion:
    """Make a version the champion without asking the gate, and show it in Dagster.

    Raises:
        RegistryError: if MLflow does not answer or lacks the version.
        ArtefactError: if its artefact is damaged.
        CatalogError: if it was trained on another catalog: the service would refuse it.
    """
    uri, name = settings.tracking_uri, settings.model_name
    _require_servable(settings, catalog, registry.find(uri, name, str(version)))
    done = registry.promote(uri, name, version, why=why, by=by, at=datetime.now(UTC))
    report_promotion(done)
    return done


def rollback_by_hand(settings: Settings, catalog: Catalog, why: str, by: str) -> Promotion:
    """Put the previous champion back, and show it in Dagster.

    Raises:
        RegistryError: if MLflow does not answer or there is nothing to go back to.
        ArtefactError: if the artefact to go back to is damaged.
        CatalogError: if it was trained on another catalog: the service would refuse it.
    """
    uri, name = settings.tracking_uri, settings.model_name
    _require_servable(settings, catalog, registry.rollback_target(uri, name))
    done = registry.rollback(uri, name, why=why, by=by, at=datetime.now(UTC))
    report_promotion(done)
    return done


def promotion_metadata(promotion: Promotion) -> dict[str, Any]:
    """What the Dagster UI shows of a promotion or a rollback, whoever decided."""
    found = {
        "event": promotion.event,
        "model_version": promotion.champion,
        "version_before": promotion.before,
        "previous": promotion.previous,
        "why": promotion.why,
        "by": promotion.by,
    }
    return {name: value for name, value in found.items() if value is not None}


def report_promotion(promotion: Promotion) -> bool:
    """Record a materialization of `champion_model` that no run made; whether there was something to record, and where.

    Raises:
        FraudPlatformError: if Dagster's storage cannot be written; the promotion itself has taken place.
    """
    if promotion.event == "unchanged" or "DAGSTER_HOME" not in os.environ:
        return False
    event = dg.AssetMaterialization(
        CHAMPION_MODEL, description=promotion.sentence, metadata=promotion_metadata(promotion)
    )
    try:
        with dg.DagsterInstance.get() as instance:
            instance.report_runless_asset_event(event)
    except Exception as error:  # Dagster's and its storages' errors have no common base but Exception
        raise FraudPlatformError(
            f"{promotion.sentence} Only Dagster does not show it, because its storage cannot be written: {error}. "
            "Correct DAGSTER_HOME and its dagster.yaml; there is no need to repeat the command."
        ) from error
    return True


def _require_servable(settings: Settings, catalog: Catalog, version: RegisteredVersion) -> None:
    artefact = Artefact.load(registry.download(settings.tracking_uri, version, settings.models))
    trained_on = artefact.card.catalog.fingerprint
    if trained_on != catalog.fingerprint:
        raise CatalogError(
            f"Version {version.version} of {version.name} was trained on catalog {trained_on}, and this code computes "
            f"{catalog.fingerprint} for {settings.source}: the service would refuse it. Train again, or run this "
            "from the code and with the source that it was trained with. No alias was moved."
        )
