"""From the warehouse to a training set: which days there are, their features, and every label report."""

from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.features.table import read_features
from fraud_platform.models.dataset import Periods, Snapshot, label_events, plan_periods, write_snapshot


def assemble_training_set(
    connection: duckdb.DuckDBPyConnection,
    features: Path,
    folder: Path,
    label_delay_days: int,
    validation_days: int,
    test_days: int,
) -> Snapshot:
    """Snapshot the labelled features of every materialized day, as of the end of the last one.

    Args:
        features: the folder of the feature table.
        folder: where training sets are kept.

    Raises:
        TrainingError: if there are too few days.
    """
    first, last = _feature_days(features)
    periods = plan_periods(first, last + timedelta(days=1), label_delay_days, validation_days, test_days)
    events = read_features(features, periods.train.first, periods.test.end - timedelta(days=1))
    return write_snapshot(label_events(events, _reports(connection, periods), periods), folder, periods)


def _feature_days(features: Path) -> tuple[date, date]:
    days = sorted(date.fromisoformat(path.stem) for path in features.glob("????-??-??.parquet"))
    if not days:
        raise TrainingError(f"There are no features in {features}. Materialize `transaction_features` first.")
    return days[0], days[-1]


def _reports(connection: duckdb.DuckDBPyConnection, periods: Periods) -> pl.DataFrame:
    """Every report that was known as of the end, corrections included."""
    return connection.sql(
        "SELECT transaction_id, is_fraud, epoch_us(reported_at) AS reported_us, fraud_type "
        "FROM validated_labels WHERE reported_at < ?",
        params=[periods.as_of],
    ).pl()
