"""Training: the labelled snapshot that every candidate learns from."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from fraud_platform.defs.features import KEYS, feature_columns
from fraud_platform.defs.presentation import OWNERS, markdown_table, plain_schema
from fraud_platform.features.selection import Catalog
from fraud_platform.models.assembly import assemble_training_set
from fraud_platform.models.dataset import Snapshot, read_snapshot
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect

GROUP = "training"

LABELLED = {
    "is_fraud": ("bool", "the label, as it was known when the split allows it"),
    "fraud_type": ("string", "the kind of fraud, where it is known"),
    "reported_us": ("int64", "when the label was reported, UTC, microseconds since 1970"),
    "split": ("string", "train, validation or test"),
}


def definitions() -> dg.Definitions:
    """The training set."""
    return dg.Definitions(assets=[training_set])


@dg.asset(
    deps=["transaction_features", "validated_labels"],
    group_name=GROUP,
    kinds={"polars", "parquet"},
    owners=OWNERS[GROUP],
    pool="duckdb",
)
def training_set(settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]) -> dg.MaterializeResult:
    """An immutable, content-hashed snapshot: features with the labels that were known at the time.

    Split by time into train, validation and test, with the label delay as a gap before the test
    period. No label is used before it was reported.
    """
    with connect(settings.database) as connection:
        snapshot = assemble_training_set(
            connection,
            settings.features,
            settings.training_sets,
            catalog.label_delay_days,
            settings.validation_days,
            settings.test_days,
        )
    return dg.MaterializeResult(
        metadata=_snapshot_metadata(snapshot, catalog), data_version=dg.DataVersion(snapshot.hash)
    )


def latest_snapshot(context: dg.AssetExecutionContext, settings: Settings) -> Snapshot:
    """The training set of the latest materialization.

    Raises:
        dg.Failure: if there is none. TrainingError: if its file is missing or was changed.
    """
    return read_snapshot(settings.training_sets, required_metadata(context, training_set.key)["content_hash"])


def latest_metadata(context: dg.AssetExecutionContext, asset: dg.AssetKey) -> dict[str, Any] | None:
    """What an asset's latest materialization said; None where there is none."""
    event = context.instance.get_latest_materialization_event(asset)
    if event is None or event.asset_materialization is None:
        return None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def required_metadata(context: dg.AssetExecutionContext, asset: dg.AssetKey) -> dict[str, Any]:
    """`latest_metadata`, where there must be one.

    Raises:
        dg.Failure: if there is none.
    """
    found = latest_metadata(context, asset)
    if found is None:
        name = asset.to_user_string()
        raise dg.Failure(f"{name} was never materialized. Materialize it first.", allow_retries=False)
    return found


def _snapshot_metadata(snapshot: Snapshot, catalog: Catalog) -> Mapping[str, Any]:
    periods = snapshot.periods
    return {
        "dagster/row_count": snapshot.rows,
        "dagster/column_schema": plain_schema(KEYS | feature_columns(catalog) | LABELLED, GROUP),
        "content_hash": snapshot.hash,
        "file": dg.MetadataValue.path(snapshot.path),
        "frauds": snapshot.frauds,
        "labels_as_of": periods.as_of.isoformat(),
        "splits": markdown_table(
            ["split", "first day", "end (exclusive)", "rows", "frauds"],
            [
                (split, periods.of(split).first, periods.of(split).end, facts.rows, facts.frauds)
                for split, facts in snapshot.splits.items()
            ],
        ),
    }
