"""Batch scoring: every transaction of a day with the champion."""

from typing import Any

import dagster as dg
import polars as pl

from fraud_platform.decisions.batch import score_features
from fraud_platform.defs.champion import champion_artefact
from fraud_platform.defs.days import SINGLE_RUN, add_rows_per_day, day_range, row_counts
from fraud_platform.defs.presentation import DAILY_FRESHNESS, OWNERS, plain_schema, rounded
from fraud_platform.features.table import read_features
from fraud_platform.settings import Settings
from fraud_platform.warehouse import (
    connect,
    day_file,
    remove_other_days,
    replace_days,
    rows_in_table,
    transaction,
    write_files,
)

COLUMNS = {
    "transaction_id": ("string", "the scored transaction"),
    "event_us": ("int64", "when it happened, UTC, microseconds since 1970"),
    "day": ("date", "its UTC day"),
    "customer_id": ("string", "the account or card holder"),
    "amount_cents": ("int64", "amount in minor units"),
    "fraud_probability": ("float64", "the model's probability, 0 to 1"),
    "is_fraud": ("bool", "whether the probability reaches the model's threshold"),
    "risk_level": ("string", "low, medium or high"),
    "action": ("string", "approve, review or block"),
    "model_version": ("string", "the registered version that scored"),
}


def definitions(days: dg.DailyPartitionsDefinition) -> dg.Definitions:
    """The batch scores of a source."""
    return dg.Definitions(assets=[_batch_scores(days)])


def _batch_scores(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        deps=["transaction_features", "champion_model"],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        group_name="scoring",
        kinds={"onnx", "duckdb", "parquet"},
        owners=OWNERS["scoring"],
        freshness_policy=DAILY_FRESHNESS,
        metadata={"dagster/column_schema": plain_schema(COLUMNS, "scoring")},
        pool="duckdb",
    )
    def batch_scores(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
        """The decision on every transaction of a day: a DuckDB table, and a Parquet file a day.

        The same model, inputs and policy as the service.
        """
        first, last = day_range(context)
        version, artefact = champion_artefact(settings)
        features = read_features(settings.features, first, last)
        scores = score_features(features, artefact, str(version.version))
        parts = scores.partition_by("day", maintain_order=True, as_dict=True)
        rows = {day: part.height for (day,), part in parts.items()}
        with connect(settings.database) as connection, transaction(connection):
            connection.register("scores", scores)
            replace_days(connection, "batch_scores", "SELECT * FROM scores", first, last)
            write_files([(day_file(settings.scores, day), part.write_parquet) for (day,), part in parts.items()])
            remove_other_days(settings.scores, first, last, rows)
            counts = row_counts(rows_in_table(connection, "batch_scores"), rows)
        add_rows_per_day(context, "batch_scores", rows)
        return dg.MaterializeResult(metadata=counts | _metadata(scores, version.version, settings))

    return batch_scores


def _metadata(scores: pl.DataFrame, version: int, settings: Settings) -> dict[str, Any]:
    return {
        "model_version": version,
        "alert_rate": rounded(float(scores["is_fraud"].sum()) / max(scores.height, 1)),
        "mean_fraud_probability": rounded(float(scores["fraud_probability"].sum()) / max(scores.height, 1)),
        "folder": dg.MetadataValue.path(settings.scores),
    }
