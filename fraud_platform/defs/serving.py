"""Serving: the online store's state, and the Bento that answers in real time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from fraud_platform.decisions.recovery import moment_of, rebuild_states
from fraud_platform.defs.champion import champion_artefact
from fraud_platform.defs.presentation import OWNERS
from fraud_platform.errors import ServiceError
from fraud_platform.features.selection import Catalog
from fraud_platform.features.stores.opening import open_store
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect

GROUP = "serving"
PROJECT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 300


def definitions() -> dg.Definitions:
    """The Bento and the state that it starts from."""
    return dg.Definitions(assets=[online_state, fraud_scoring_bento])


@dg.asset(
    deps=["validated_transactions", "validated_labels"],
    group_name=GROUP,
    kinds={"lmdb", "redis"},
    owners=OWNERS[GROUP],
    pool="duckdb",
)
def online_state(settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]) -> dg.MaterializeResult:
    """What the service knows of every customer, card, device and merchant, in the online store.

    Rebuilt from the warehouse and then caught up with what was committed since; the service goes on
    deciding meanwhile. Decisions that were answered stay.
    """
    store = open_store(settings, catalog.look_back_us)
    try:
        with connect(settings.database) as connection:
            rebuilt = rebuild_states(connection, catalog, store)
    finally:
        store.close()
    return dg.MaterializeResult(
        metadata={
            "keys": rebuilt.keys,
            "events": rebuilt.events,
            "live_events_not_validated": rebuilt.unvalidated,
            "live_events_caught_up": rebuilt.caught_up,
            "live_labels_caught_up": rebuilt.relabelled,
            "unreadable_outbox_entries": rebuilt.unreadable,
            "as_of": moment_of(rebuilt.latest_us).isoformat(),
            "catalog_fingerprint": catalog.fingerprint,
            "store": settings.online_store_address,
        }
    )


@dg.asset(
    deps=["champion_model", "feature_parity_report"],
    group_name=GROUP,
    kinds={"bentoml", "onnx"},
    owners=OWNERS[GROUP],
)
def fraud_scoring_bento(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The scoring service with the champion, packaged by BentoML.

    Start it with `make serve`.
    """
    version, artefact = champion_artefact(settings)
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
