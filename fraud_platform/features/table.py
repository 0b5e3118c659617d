"""The feature table: the batch driver, or Spark, run over days of the warehouse."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_platform.errors import WarehouseError
from fraud_platform.features.batch import compute_aggregates, derive_features
from fraud_platform.features.events import IDENTITY, read_events, rows_per_day
from fraud_platform.features.selection import Catalog
from fraud_platform.features.spark_table import SparkEngine, spark_writers
from fraud_platform.warehouse import day_file, day_files, last_day, remove_other_days, write_files

CHUNK_ROWS = 4_000_000
"""Rows whose aggregates are computed together, some 2 GB of them; the events of the look-back come on top.
A longer chunk reads less look-back twice; row step and Parquet go day by day."""


def materialize_features(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    folder: Path,
    first: date,
    last: date,
    spark: SparkEngine | None = None,
) -> dict[date, int]:
    """Write one Parquet file for every day in [first, last] that has events; remove those that have none.

    All files are replaced, or none. Days without events are no error: a small shop closes on Sundays, and
    the check `volume` warns.

    Args:
        spark: computes in place of this process; the files hold the same rows, to the last bit.

    Returns:
        rows by day.

    Raises:
        WarehouseError: if there are no validated transactions at all.
    """
    last_day(connection, "validated_transactions")  # raises where there are none
    counts = rows_per_day(connection, first, last)
    local = _writers(connection, catalog, folder, counts)
    with closing(spark_writers(connection, catalog, folder, counts, spark) if spark else local) as writers:
        write_files(writers)
    remove_other_days(folder, first, last, counts)
    if day_files(folder, date.min, date.max):
        _create_view(connection, folder)
    return counts


def _writers(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, folder: Path, counts: dict[date, int]
) -> Generator[tuple[Path, Callable[[Path], None]], None, None]:
    """A writer a day; the aggregates of a chunk are computed when its first day is drawn."""
    for start, end in _chunks(counts):
        for day, features in _features_by_day(connection, catalog, start, end):
            yield day_file(folder, day), features.write_parquet


def features_of(connection: duckdb.DuckDBPyConnection, catalog: Catalog, first: date, last: date) -> pl.DataFrame:
    """IDENTITY and the features of the events in [first, last], ascending by (event_us, transaction_id)."""
    days = [features for _, features in _features_by_day(connection, catalog, first, last)]
    if days:
        return pl.concat(days)
    none = np.empty((len(catalog.all_rollings), 0), np.int64)
    return _with_features(read_events(connection, catalog, first, last)[:0], catalog, none)


def _features_by_day(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, first: date, last: date
) -> Iterator[tuple[date, pl.DataFrame]]:
    events = read_events(connection, catalog, first, last)
    history = int((events["day"] < first).sum())
    aggregates = compute_aggregates(events, catalog, history)
    events, begin = events[history:], 0
    for day, rows in events["day"].rle().struct.unnest().select("value", "len").iter_rows():
        yield day, _with_features(events[begin : begin + rows], catalog, aggregates[:, begin : begin + rows])
        begin += rows


def _with_features(events: pl.DataFrame, catalog: Catalog, aggregates: NDArray[np.int64]) -> pl.DataFrame:
    matrix = derive_features(events, aggregates, catalog)
    return pl.concat([events.select(IDENTITY), pl.from_numpy(matrix, schema=catalog.names)], how="horizontal")


def read_features(folder: Path, first: date, last: date) -> pl.DataFrame:
    """The materialized features of the days in [first, last]; no rows for days without events between others.

    Raises:
        WarehouseError: if there are none, or the days were computed with different catalogs.
    """
    files = day_files(folder, first, last)
    if not files:
        before, after = day_files(folder, date.min, first), day_files(folder, last, date.max)
        if before and after:
            return pl.read_parquet(before[-1], n_rows=0)
        raise WarehouseError(
            f"No features from {first} to {last} in {folder}. Materialize `transaction_features` for these days; "
            "if it was, there are no validated transactions in them."
        )
    try:
        return pl.read_parquet(files)
    except pl.exceptions.PolarsError as error:
        raise WarehouseError(
            f"The features from {first} to {last} in {folder} cannot be read together: {error}. "
            "Materialize `transaction_features` for all these days again, with the present catalog."
        ) from error


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
