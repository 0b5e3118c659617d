"""Reading the events of the warehouse in the shape that features are computed from."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import duckdb
import polars as pl
import pyarrow as pa

from fraud_platform.features.expressions import DAY
from fraud_platform.features.selection import Catalog

IDENTITY = ("transaction_id", "event_us", "day", "customer_id", "amount_cents")
"""The columns that stand before the features in every feature table."""

TABLE_COLUMNS = frozenset({"event_us", "known_fraud"})

RUN_ROWS = 2_000_000
"""Rows that are sorted together."""

_BATCH_ROWS = 100_000


class Tables(NamedTuple):
    """Names of the tables, or views, that hold events and labels in the columns of the validated ones."""

    transactions: str = "validated_transactions"
    labels: str = "validated_labels"


VALIDATED = Tables()


def read_events(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    first: date,
    last: date,
    known_before: datetime | None = None,
    tables: Tables = VALIDATED,
) -> pl.DataFrame:
    """The validated events whose day is in [first, last], and those before that their features need.

    `known_fraud` is 1 where the latest label reported within the label delay of the event says
    fraud (of several at one instant, fraud wins). A label that came later changes no feature, in
    training as in serving.

    Args:
        known_before: labels reported from this moment on are left out; default: none are.
        tables: where events and labels are, if not in the validated tables alone.

    Returns:
        the columns of `catalog.columns` and of IDENTITY, ascending by (event_us, transaction_id).
    """
    reach = first - timedelta(days=-(-catalog.look_back_us // DAY))
    # In runs of days: sorting them one after the other takes a part of the memory of sorting them together.
    runs = [
        _select(connection, catalog, start, end, known_before, tables).order("event_us, transaction_id").pl()
        for start, end in _runs(connection, reach, last, tables)
    ]
    return pl.concat(runs)


def rows_per_day(
    connection: duckdb.DuckDBPyConnection, first: date, last: date, tables: Tables = VALIDATED
) -> dict[date, int]:
    """The validated events of each day in [first, last] that has any, in order of day."""
    per_day = f"SELECT day, count(*) FROM {tables.transactions} WHERE day BETWEEN ? AND ? GROUP BY day ORDER BY day"
    return dict(connection.execute(per_day, [first, last]).fetchall())


def _runs(
    connection: duckdb.DuckDBPyConnection, first: date, last: date, tables: Tables
) -> Iterator[tuple[date, date]]:
    """The days in [first, last], in runs of about RUN_ROWS rows; one run at least."""
    start, rows = first, 0
    for day, count in rows_per_day(connection, first, last, tables).items():
        rows += count
        if rows >= RUN_ROWS and day < last:
            yield start, day
            start, rows = day + timedelta(days=1), 0
    yield start, last


def stream_events(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, first: date, last: date
) -> pa.RecordBatchReader:
    """The events of `read_events` in no order, a batch at a time: they need not fit in memory."""
    reach = first - timedelta(days=-(-catalog.look_back_us // DAY))
    return _select(connection, catalog, reach, last).to_arrow_reader(_BATCH_ROWS)


def _select(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    first: date,
    last: date,
    known_before: datetime | None = None,
    tables: Tables = VALIDATED,
) -> duckdb.DuckDBPyRelation:
    """The events whose day is in [first, last]."""
    before = datetime.max if known_before is None else known_before.astimezone(UTC).replace(tzinfo=None)
    names = dict.fromkeys((*IDENTITY, *sorted(catalog.columns - TABLE_COLUMNS)))
    columns = ", ".join(f't."{name}"' for name in names)
    return connection.sql(
        f"""
        WITH events AS (SELECT * FROM {tables.transactions} WHERE day BETWEEN $first AND $last),
        known AS (
            SELECT l.transaction_id, arg_max(l.is_fraud, (l.reported_at, l.is_fraud)) AS is_fraud
            FROM {tables.labels} l JOIN events t USING (transaction_id)
            WHERE epoch_us(l.reported_at) <= t.event_us + $delay AND l.reported_at < $before
            GROUP BY l.transaction_id
        )
        SELECT {columns}, coalesce(k.is_fraud, false)::BIGINT AS known_fraud
        FROM events t LEFT JOIN known k USING (transaction_id)
        """,
        params={"first": first, "last": last, "delay": catalog.label_delay_us, "before": before},
    )
