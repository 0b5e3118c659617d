"""Serving: the online store's state, and the Bento that answers in real time."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from fraud_platform.defs.presentation import OWNERS
from fraud_platform.defs.training import latest_model
from fraud_platform.errors import ServiceError
from fraud_platform.features.catalog import Catalog
from fraud_platform.features.events import read_events
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect, last_day

GROUP = "serving"
PROJECT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 300


def definitions() -> dg.Definitions:
    """The Bento and the state that it starts from."""
    return dg.Definitions(assets=[online_state, fraud_scoring_bento])


@dg.asset(
    deps=["validated_transactions", "validated_labels"],
    group_name=GROUP,
    kinds={"lmdb"},
    owners=OWNERS[GROUP],
    pool="duckdb",
)
def online_state(settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]) -> dg.MaterializeResult:
    """The recent events of every customer, card, device and merchant, as the service reads them.

    Rebuilt from the warehouse as of its last event; decisions that were answered stay.
    """
    with connect(settings.database) as connection:
        last = last_day(connection, "validated_transactions")
        events = read_events(connection, catalog, last + timedelta(days=1), last)
    store = LmdbStore(settings.online_store)
    try:
        keys = store.rebuild(catalog.fingerprint, OnlineFeatures(catalog).states_of(events))
    finally:
        store.close()
    return dg.MaterializeResult(
        metadata={
            "keys": keys,
            "events": events.height,
            "as_of": (
                datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(events["event_us"][-1]))
            ).isoformat(),
            "catalog_fingerprint": catalog.fingerprint,
            "folder": dg.MetadataValue.path(settings.online_store),
        }
    )


@dg.asset(deps=["model_evaluation"], group_name=GROUP, kinds={"bentoml", "onnx"}, owners=OWNERS[GROUP])
def fraud_scoring_bento(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The scoring service with the latest registered model, packaged by BentoML.

    Start it with `make serve`.
    """
    version, artefact = latest_model(settings)
    built = build_bento(artefact.path, str(version.version), settings.bentoml_home)
    context.log.info("Built %s", built["bento"])
    return dg.MaterializeResult(
        metadata={
            "bento": built["bento"],
            "model": built["model"],
            "model_version": version.version,
            "path": dg.MetadataValue.path(built["path"]),
        }
    )


def build_bento(artefact: Path, model_version: str, bentoml_home: Path) -> dict[str, Any]:
    """Package the service in a process of its own.

    Raises:
        ServiceError: with the end of what the build printed.
    """
    command = [sys.executable, "-m", "bentos.fraud_scoring.build", str(artefact.resolve()), model_version]
    run = subprocess.run(
        command,
        env=bentoml_environment(bentoml_home),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if run.returncode != 0:
        raise ServiceError(f"The Bento was not built (exit {run.returncode}): {run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def bentoml_environment(bentoml_home: Path) -> dict[str, str]:
    """This process's environment, with BentoML's folder in the warehouse and its telemetry off."""
    bentoml_home.mkdir(parents=True, exist_ok=True)
    return {**os.environ, "BENTOML_HOME": str(bentoml_home.resolve()), "BENTOML_DO_NOT_TRACK": "True"}
