"""The demo: every stage as a Dagster run, then the Bento served and asked.

Its runs are those of the instance that `make dev` shows, so everything can be inspected afterwards.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import httpx
import msgspec

from fraud_platform.defs.automation import RANGE_END, RANGE_START
from fraud_platform.defs.days import daily_partitions
from fraud_platform.defs.service import running_service
from fraud_platform.errors import FraudPlatformError, ServiceError
from fraud_platform.features.selection import catalog_of
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import TRANSACTION
from fraud_platform.transactions.sources import Source
from fraud_platform.warehouse import connect

STAGES: tuple[tuple[str, ...], ...] = (
    ("raw_transactions", "raw_labels"),
    ("validated_transactions", "quarantined_transactions", "validated_labels"),
    ("transaction_features",),
    ("feature_parity_report",),
    ("training_set",),
    ("candidate_models",),
    ("model_comparison", "challenger_model"),
    ("champion_model",),
    ("batch_scores",),
    ("data_drift_report", "rule_backtest"),
    ("online_state", "fraud_scoring_bento"),
    ("service_deployment",),
)
"""What runs together, in flow order; each stage reports before the next begins. `candidate_models` is all of them."""

SINGLE, BATCHED = 100, 400
"""Transactions sent to `/predict` one by one, and to `/predict/batch` in one request."""

Echo = Callable[[str], None]


def run_demo(definitions: dg.Definitions, settings: Settings, source: Source, echo: Echo) -> dict[str, Any]:
    """Run the whole platform on the source and answer with what came out.

    Raises:
        FraudPlatformError: if a stage, a blocking check or the service fails.
    """
    started = time.monotonic()
    metadata: dict[str, dict[str, Any]] = {}
    with dg.DagsterInstance.get() as instance:
        for stage in STAGES:
            stage_started = time.monotonic()
            metadata |= run_stage(definitions, instance, source, stage)
            echo(f"{time.monotonic() - stage_started:7.1f} s  {', '.join(stage)}{_headline(metadata, stage)}")
    bento = metadata["fraud_scoring_bento"]["bento"]
    stage_started = time.monotonic()
    online = _score_online(settings, source, bento)
    echo(f"{time.monotonic() - stage_started:7.1f} s  bentoml serve {bento}: {online} transactions scored")
    evaluation = metadata["champion_model"]
    return {
        "transactions": metadata["validated_transactions"]["dagster/row_count"],
        "quarantined": metadata["quarantined_transactions"]["dagster/row_count"],
        "features": metadata["transaction_features"]["features"],
        "parity_mismatches": metadata["feature_parity_report"]["mismatches"],
        "auc": evaluation["roc_auc"],
        "average_precision": evaluation["average_precision"],
        "model_version": evaluation["model_version"],
        "bento": bento,
        "scored_online": online,
        "scored_batch": metadata["batch_scores"]["dagster/row_count"],
        "seconds": round(time.monotonic() - started, 1),
    }


def run_stage(
    definitions: dg.Definitions, instance: dg.DagsterInstance, source: Source, stage: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """One Dagster run over all days of the source; the metadata of each asset by name."""
    days = daily_partitions(source)
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=keys_of(definitions, stage),
        tags={RANGE_START: str(days.get_first_partition_key()), RANGE_END: str(days.get_last_partition_key())},
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    failed = [
        f"{check.asset_key.to_user_string()}: {check.check_name}: {check.description}"
        for check in result.get_asset_check_evaluations()
        if check.blocking and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]
    if failed:
        raise FraudPlatformError(
            "A blocking check failed, and what is downstream was not run:\n  " + "\n  ".join(failed)
        )
    events = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.metadata.items()}
        for event in events
    }


def keys_of(definitions: dg.Definitions, names: tuple[str, ...]) -> list[dg.AssetKey]:
    """The assets of these names, and those below a name that is a folder of them."""
    wanted = [tuple(name.split("/")) for name in names]
    found = [key for key in definitions.resolve_all_asset_keys() if any(tuple(key.path[: len(w)]) == w for w in wanted)]
    return sorted(found, key=lambda key: tuple(key.path))


def _headline(metadata: dict[str, dict[str, Any]], stage: tuple[str, ...]) -> str:
    """The figure that a person looks for first in what a stage made."""
    shown = {
        "transaction_features": ("features",),
        "feature_parity_report": ("events", "mismatches"),
        "challenger_model": ("algorithm", "roc_auc", "average_precision"),
        "champion_model": ("verdict",),
        "data_drift_report": ("share_drifted",),
        "fraud_scoring_bento": ("bento",),
        "online_state": ("keys",),
    }
    parts = []
    for asset in sorted(name for name in metadata if name in stage or name.split("/")[0] in stage):
        found, of_folder = metadata[asset], "/" in asset
        names = shown.get(asset, ("average_precision",) if of_folder else ())
        names += ("dagster/row_count",) if "dagster/row_count" in found else ()
        values = [f"{_spoken(name)} {_figure(found[name])}" for name in names if name in found]
        parts.append(" ".join([*asset.split("/")[1:], ", ".join(values)]))
    text = "; ".join(part for part in parts if part)
    return f": {text}" if text else ""


def _spoken(name: str) -> str:
    return name.removeprefix("dagster/").replace("_", " ")


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if isinstance(value, float) else str(value)


def _score_online(settings: Settings, source: Source, bento: str) -> int:
    """Send the last payments again as if they were made a day later; every one must be answered."""
    requests = live_transactions(settings, source, SINGLE + BATCHED)
    with running_service(settings, bento, settings.home / "service") as client:
        answers = [_answer(client.post("/predict", content=msgspec.json.encode(body))) for body in requests[:SINGLE]]
        answers += _answer(client.post("/predict/batch", content=msgspec.json.encode(requests[SINGLE:])))
    refused = [answer for answer in answers if "fraud_probability" not in answer]
    if refused:
        raise ServiceError(
            f"The service refused {len(refused)} of {len(answers)} transactions, the first with {refused[0]}."
        )
    return len(answers)


def _answer(response: httpx.Response) -> Any:
    if response.status_code != httpx.codes.OK:
        raise ServiceError(f"The service answered {response.status_code}: {response.text}")
    return response.json()


def live_transactions(settings: Settings, source: Source, limit: int) -> list[dict[str, Any]]:
    """The last validated transactions, one day later and under new ids, as a client sends them."""
    names = [column.name for column in TRANSACTION if column.name in source.present]
    names += catalog_of(source).attributes
    columns = ", ".join(f'"{name}"' for name in names)
    with connect(settings.database) as connection:
        rows = connection.sql(
            f"SELECT {columns} FROM validated_transactions ORDER BY event_us DESC, transaction_id DESC LIMIT ?",
            params=[limit],
        ).pl()
    return [_live(row) for row in reversed(rows.to_dicts())]


def _live(row: dict[str, Any]) -> dict[str, Any]:
    moment: datetime = row["event_time"] + timedelta(days=1)
    given = {name: value for name, value in row.items() if value is not None}
    return given | {
        "transaction_id": f"live-{row['transaction_id']}",
        "event_time": moment.replace(tzinfo=UTC).isoformat(),
    }
