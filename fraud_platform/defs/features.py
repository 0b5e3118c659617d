"""Features: one Parquet file a day, and a DuckDB view over them."""

from datetime import date
from typing import Any

import dagster as dg

from fraud_platform.defs.days import SINGLE_RUN, add_rows_per_day, day_range, row_counts
from fraud_platform.defs.presentation import DAILY_FRESHNESS, OWNERS, markdown_table, plain_schema
from fraud_platform.features.selection import Catalog
from fraud_platform.features.spark_table import SparkEngine
from fraud_platform.features.table import materialize_features
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect, rows_in_folder

KEYS = {
    "transaction_id": ("string", "the transaction"),
    "event_us": ("int64", "when it happened, UTC, microseconds since 1970"),
    "day": ("date", "its UTC day"),
    "customer_id": ("string", "the account or card holder"),
    "amount_cents": ("int64", "amount in minor units"),
}


def definitions(days: dg.DailyPartitionsDefinition) -> dg.Definitions:
    """The feature table of a source."""
    return dg.Definitions(assets=[_transaction_features(days)])


def _transaction_features(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        deps=["validated_transactions", "validated_labels"],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        group_name="features",
        kinds={"polars", "numpy", "parquet"},
        owners=OWNERS["features"],
        freshness_policy=DAILY_FRESHNESS,
        pool="duckdb",
    )
    def transaction_features(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]
    ) -> dg.MaterializeResult:
        """The model's inputs for every validated transaction, each as of the moment before it.

        One more day costs that day and its look-back, not the history.
        """
        first, last = day_range(context)
        with connect(settings.database) as connection:
            spark = SparkEngine.of(settings) if settings.feature_engine == "spark" else None
            rows = materialize_features(connection, catalog, settings.features, first, last, spark)
        add_rows_per_day(context, "transaction_features", rows)
        return dg.MaterializeResult(metadata=_metadata(catalog, settings, rows))

    return transaction_features


def feature_columns(catalog: Catalog) -> dict[str, tuple[str, str]]:
    """The type and the meaning of each model input, in catalog order."""
    return {feature.name: ("float32", feature.meaning) for feature in catalog.features}


def _metadata(catalog: Catalog, settings: Settings, rows: dict[date, int]) -> dict[str, Any]:
    return {
        **row_counts(rows_in_folder(settings.features), rows),
        "dagster/column_schema": plain_schema(KEYS | feature_columns(catalog), "features"),
        "engine": settings.feature_engine,
        "features": len(catalog.features),
        "catalog_fingerprint": catalog.fingerprint,
        "look_back_days": round(catalog.look_back_us / 86_400_000_000, 2),
        "folder": dg.MetadataValue.path(settings.features),
        "dropped_features": markdown_table(
            ["feature", "columns that the source lacks"],
            [(name, ", ".join(columns)) for name, columns in sorted(catalog.dropped.items())],
        ),
    }
