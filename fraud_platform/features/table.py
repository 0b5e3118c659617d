"""The feature table: the batch driver run over days of the warehouse."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

from fraud_platform.errors import WarehouseError
from fraud_platform.features.batch import compute_features
from fraud_platform.features.catalog import Catalog
from fraud_platform.features.events import IDENTITY, read_events
from fraud_platform.warehouse import day_file, day_files, write_files

CHUNK_ROWS = 4_000_000
"""Rows whose features are computed together; the look-back comes on top. About 1 GB with 60 features."""


def materialize_features(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, folder: Path, first: date, last: date
) -> dict[date, int]:
    """Write one Parquet file for every day in [first, last] that has events; remove those that have none.

    Returns:
        rows by day.

    Raises:
        WarehouseError: if no day of the range has a validated transaction.
    """
    counts = dict(
        connection.execute(
            "SELECT day, count(*) FROM validated_transactions WHERE day BETWEEN ? AND ? GROUP BY day ORDER BY day",
            [first, last],
        ).fetchall()
    )
    if not counts:
        raise WarehouseError(
            f"validated_transactions has no rows from {first} to {last}. Materialize `raw_transactions` and "
            "`validated_transactions` for these days first."
        )
    for start, end in _chunks(counts):
        features = features_of(connection, catalog, start, end)
        parts = features.partition_by("day", maintain_order=True, as_dict=True)
        write_files([(day_file(folder, day), part.write_parquet) for (day,), part in parts.items()])
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        if day not in counts:
            day_file(folder, day).unlink(missing_ok=True)
    _create_view(connection, folder)
    return counts


def features_of(connection: duckdb.DuckDBPyConnection, catalog: Catalog, first: date, last: date) -> pl.DataFrame:
    """IDENTITY and the features of the events in [first, last], ascending by (event_us, transaction_id)."""
    events = read_events(connection, catalog, first, last)
    matrix = compute_features(events, catalog)
    wanted = events["day"].is_between(first, last)
    features = pl.from_numpy(matrix[wanted.to_numpy()], schema=catalog.names)
    return pl.concat([events.select(IDENTITY).filter(wanted), features], how="horizontal")


def read_features(folder: Path, first: date, last: date) -> pl.DataFrame:
    """The materialized features of the days in [first, last].

    Raises:
        WarehouseError: if there are none.
    """
    files = day_files(folder, first, last)
    if not files:
        raise WarehouseError(
            f"No features from {first} to {last} in {folder}. Materialize `transaction_features` for these days."
        )
    return pl.read_parquet(files)


def _chunks(counts: dict[date, int]) -> Iterator[tuple[date, date]]:
    """Runs of days with at most CHUNK_ROWS rows, or single days with more."""
    start, end, rows = None, None, 0
    for day, count in counts.items():
        if start is not None and end is not None and rows + count > CHUNK_ROWS:
            yield start, end
            start, rows = None, 0
        start, end, rows = start or day, day, rows + count
    if start is not None and end is not None:
        yield start, end


def _create_view(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    pattern = str((folder / "????-??-??.parquet").resolve()).replace("'", "''")
    connection.execute(
        f"CREATE OR REPLACE VIEW transaction_features AS SELECT * FROM read_parquet('{pattern}', union_by_name = true)"
    )
