"""What DuckDB counts for the suites: figures that need more than the rows of the range, or only a few numbers.

Every result is fetched to its end: DuckDB refuses the next query on a connection before that.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import duckdb
import pyarrow as pa

from fraud_platform.transactions.expectations.results import Limits


@dataclass(frozen=True)
class Outliers:
    """Amounts of the range above the limit of their currency; `limit` is the highest of those, in minor units."""

    count: int
    share: float
    limit: float


def count_rows(connection: duckdb.DuckDBPyConnection, table: str, first: date, last: date) -> int:
    """Rows whose day is in [first, last]."""
    query = f"SELECT count(*) FROM {table} WHERE day BETWEEN ? AND ?"
    return int(connection.execute(query, [first, last]).fetchall()[0][0])


def repeated_ids(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Rows of the whole table whose transaction_id another row has too, less one for each such id."""
    query = f"SELECT count(transaction_id) - count(DISTINCT transaction_id) FROM {table}"
    return int(connection.execute(query).fetchall()[0][0])


def amount_outliers(
    connection: duckdb.DuckDBPyConnection, table: str, first: date, last: date, limits: Limits, currency: str = "''"
) -> Outliers:
    """Amounts beyond `median + outlier_spreads · max(interquartile range, median)` of their currency.

    Median and quartiles are those of the `baseline_days` before the range, so that a range whose
    every amount is a hundred times too large is found; with fewer than `baseline_rows` amounts
    there, those of the range itself, which finds what happened to less than a quarter of it. The
    median in the maximum keeps a source of near-constant amounts (IQR 0) from calling every larger
    payment an outlier. A lognormal with sigma up to 2 has under 4 % beyond ten spreads.

    Args:
        currency: SQL of the currency; amounts in minor units of different currencies do not compare.
    """
    query = f"""
        WITH amounts AS (
            SELECT
                day < $first AS before, coalesce({currency}, '') AS currency,
                TRY_CAST(amount_cents AS BIGINT) AS amount
            FROM {table} WHERE day BETWEEN $start AND $last AND TRY_CAST(amount_cents AS BIGINT) IS NOT NULL
        ), spreads AS (
            SELECT currency, before, count(*) AS n, quantile_cont(amount, [0.25, 0.5, 0.75]) AS q
            FROM amounts GROUP BY ALL
        ), chosen AS (
            SELECT currency, arg_max(q, before) AS q FROM spreads WHERE NOT before OR n >= $least GROUP BY currency
        ), bounds AS (
            SELECT currency, q[2] + $spreads * greatest(q[3] - q[1], q[2]) AS bound FROM chosen
        )
        SELECT count(*) FILTER (amount > bound), count(*), max(bound)
        FROM amounts JOIN bounds USING (currency) WHERE NOT before
    """
    parameters = {
        "first": first,
        "start": first - timedelta(days=limits.baseline_days),
        "last": last,
        "least": limits.baseline_rows,
        "spreads": limits.outlier_spreads,
    }
    count, amounts, bound = connection.execute(query, parameters).fetchall()[0]
    return Outliers(int(count), count / amounts if amounts else 0.0, float(bound or 0.0))


def rows_per_day(
    connection: duckdb.DuckDBPyConnection, table: str, first: date, last: date, baseline_days: int
) -> pa.Table:
    """Every day of [first, last], also one without rows, against the days before it.

    Returns:
        Columns day (text), rows, baseline (mean rows of those of the `baseline_days` before it that
        have any; null where none has) and share_of_baseline.
    """
    query = f"""
        WITH counted AS (
            SELECT day, count(*) AS rows FROM {table} WHERE day BETWEEN $start AND $last GROUP BY day
        ), calendar AS (
            SELECT unnest(generate_series($start::DATE, $last::DATE, INTERVAL 1 DAY))::DATE AS day
        ), compared AS (
            SELECT day, coalesce(rows, 0) AS rows,
                avg(rows) OVER (ORDER BY day ROWS BETWEEN {int(baseline_days)} PRECEDING AND 1 PRECEDING) AS baseline
            FROM calendar LEFT JOIN counted USING (day)
        )
        SELECT CAST(day AS VARCHAR) AS day, rows, baseline, rows / baseline AS share_of_baseline
        FROM compared WHERE day >= $first ORDER BY compared.day
    """
    parameters = {"first": first, "start": first - timedelta(days=baseline_days), "last": last}
    return connection.sql(query, params=parameters).to_arrow_table()


@dataclass(frozen=True)
class Matured:
    """Events old enough to have been labelled, and the frauds among them."""

    days: int
    events: int
    frauds: int

    @property
    def rate(self) -> float:
        """Frauds per event; 0 where there are no events."""
        return self.frauds / self.events if self.events else 0.0


def matured_events(
    connection: duckdb.DuckDBPyConnection, labels: str, events: str, as_of: datetime, delay_days: int, days: int
) -> Matured:
    """The events of the last `days` days that were at least `delay_days` old at `as_of`.

    A fraud is an event whose latest label reported before `as_of` says so; of two labels reported
    at the same instant, the one that says fraud.
    """
    query = f"""
        WITH matured AS (
            SELECT transaction_id, day FROM {events}
            WHERE event_time < $as_of - to_days($delay) AND event_time >= $as_of - to_days($delay + $days)
        ), labels AS (
            SELECT transaction_id, TRY_CAST(is_fraud AS BOOLEAN) AS verdict, TRY_CAST(reported_at AS TIMESTAMP) AS known
            FROM {labels}
        ), verdicts AS (
            SELECT transaction_id, arg_max(verdict, (known, verdict)) AS is_fraud
            FROM labels WHERE known < $as_of GROUP BY transaction_id
        )
        SELECT count(DISTINCT day), count(*), count(*) FILTER (is_fraud)
        FROM matured LEFT JOIN verdicts USING (transaction_id)
    """
    parameters = {"as_of": as_of, "delay": delay_days, "days": days}
    day_count, events, frauds = connection.execute(query, parameters).fetchall()[0]
    return Matured(int(day_count), int(events), int(frauds))
