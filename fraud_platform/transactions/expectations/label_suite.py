"""The suite of `validated_labels`, generated from the contract."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa

from fraud_platform.transactions import contract
from fraud_platform.transactions.expectations import from_contract, measures, runner
from fraud_platform.transactions.expectations.results import (
    Batch,
    Check,
    Expectation,
    Limits,
    Outcome,
    SuiteResult,
    build_check,
)

TABLE = "validated_labels"
EVENTS = "validated_transactions"
TYPES = from_contract.contract_types(contract.LABEL, day="DATE")
FRAUD_RATE = "fraud_rate"


def check_labels(
    connection: duckdb.DuckDBPyConnection,
    first: date,
    last: date,
    label_delay_days: int,
    as_of: datetime | None = None,
    limits: Limits | None = None,
    docs_folder: Path | None = None,
) -> SuiteResult:
    """Check the labels of events whose day is in [first, last], and those whose event is not known (day NULL).

    The checks are `label_columns`, `labels_after_events` and `fraud_rate`. The fraud rate is that of
    the matured events: those of the last `fraud_rate_days` days that were at least the label delay
    old at `as_of`. An event's verdict is its latest label reported before `as_of`; an event without
    one counts as legitimate. With too few days or events the check passes and says why.

    Args:
        as_of: naive, UTC; default: the end of the day `last`.
        docs_folder: where the Data Docs are written; the pages of the run before are replaced.

    Raises:
        WarehouseError: if one of the two tables is missing, or has no column `day`.
    """
    from_contract.table_types(connection, EVENTS)
    known_at = as_of or datetime.combine(last + timedelta(days=1), time.min)
    suite = _Suite(connection, first, last, label_delay_days, known_at, limits or Limits())
    outcomes, docs = runner.run(TABLE, suite.batches(), docs_folder)
    return SuiteResult(TABLE, suite.rows.num_rows, tuple(suite.checks(outcomes)), docs)


def table_expectations(limits: Limits, present: Container[str]) -> Iterator[Expectation]:
    """For one row about the table: types of the columns, and the fraud rate (null where it is not judged)."""
    for name, type_ in TYPES.items():
        yield from_contract.exists("label_columns", name)
        if name in present:
            yield from_contract.has_type("label_columns", name, type_)
    yield from_contract.between("fraud_rate", FRAUD_RATE, limits.fraud_rate_lowest, limits.fraud_rate_highest)


def row_expectations() -> Iterator[Expectation]:
    """For every label; times are in microseconds, `event_us` is null where the event is not known."""
    for column in contract.LABEL:
        if column.required:
            yield from_contract.not_null("label_columns", column.name)
    yield from from_contract.formats("label_columns", contract.LABEL)
    arguments = {
        "column_A": "reported_at",
        "column_B": "event_us",
        "or_equal": True,
        "ignore_row_if": "either_value_is_missing",
    }
    yield Expectation("labels_after_events", "expect_column_pair_values_a_to_be_greater_than_b", arguments)


@dataclass(frozen=True)
class _Suite:
    connection: duckdb.DuckDBPyConnection
    first: date
    last: date
    delay_days: int
    as_of: datetime
    limits: Limits

    @cached_property
    def types(self) -> dict[str, str]:
        return from_contract.table_types(self.connection, TABLE)

    @cached_property
    def rows(self) -> pa.Table:
        return self._fetch_rows()

    @cached_property
    def matured(self) -> measures.Matured | None:
        """None where a column that the rate needs is missing."""
        if not {"transaction_id", "is_fraud", "reported_at"} <= self.types.keys():
            return None
        return measures.matured_events(
            self.connection, TABLE, EVENTS, self.as_of, self.delay_days, self.limits.fraud_rate_days
        )

    def batches(self) -> Iterator[Batch]:
        """The table as a whole, and the labels."""
        on_rows = list(row_expectations())
        unanswerable = {(item.check, name) for item in on_rows for name in self._missing(item)}
        if self.matured is None:
            unanswerable |= {
                ("fraud_rate", name) for name in ("transaction_id", "is_fraud", "reported_at") if name not in self.types
            }
        on_table = [
            *table_expectations(self.limits, self.types),
            *(from_contract.exists(*pair) for pair in sorted(unanswerable)),
        ]
        yield from_contract.table_batch(self.types, {FRAUD_RATE: self._judged_rate}, on_table)
        yield Batch("rows", self.rows, tuple(item for item in on_rows if not self._missing(item)))

    def checks(self, outcomes: list[Outcome]) -> Iterator[Check]:
        """What the outcomes and the counts come to, in words."""
        labels = f"{self.rows.num_rows:,} labels"
        known = self.rows.num_rows - self.rows["event_us"].null_count
        yield build_check(
            "label_columns",
            outcomes,
            {"labels": self.rows.num_rows},
            f"{labels}: every column is there and as the contract says",
        )
        yield build_check(
            "labels_after_events",
            outcomes,
            {"labels_with_event": known, "labels_without_event": self.rows.num_rows - known},
            f"none of the {known:,} labels whose event is known was reported before it",
        )
        yield self._fraud_rate(outcomes)

    def _fraud_rate(self, outcomes: list[Outcome]) -> Check:
        found = self.matured or measures.Matured(0, 0, 0)
        observed = {
            "matured_days": found.days,
            "matured_events": found.events,
            "frauds": found.frauds,
            "rate": found.rate,
        }
        if self._judged_rate is None:
            summary = (
                f"not judged: {found.events:,} matured events on {found.days} days, fewer than "
                f"{self.limits.fraud_rate_least_events:,} events or {self.limits.fraud_rate_least_days} days"
            )
        else:
            summary = f"{found.frauds:,} of {found.events:,} matured events ({found.rate:.2%}) are frauds"
        return build_check("fraud_rate", outcomes, observed, summary, measured=self._judged_rate is not None)

    @property
    def _judged_rate(self) -> float | None:
        found = self.matured
        if (
            found is None
            or found.days < self.limits.fraud_rate_least_days
            or found.events < self.limits.fraud_rate_least_events
        ):
            return None
        return found.rate

    def _missing(self, expectation: Expectation) -> list[str]:
        return [name for name in expectation.columns if name != "event_us" and name not in self.types]

    def _fetch_rows(self) -> pa.Table:
        reads = {name: from_contract.read_as(name, type_) for name, type_ in TYPES.items() if name in self.types}
        if "reported_at" in reads:
            reads["reported_at"] = from_contract.microseconds(reads["reported_at"])
        columns = ", ".join(f'{expression} AS "{name}"' for name, expression in reads.items() if name != "day")
        event = "NULL::BIGINT"
        if "transaction_id" in self.types:
            event = f"(SELECT min(event_us) FROM {EVENTS} e WHERE e.transaction_id = l.transaction_id)"
        query = f"SELECT {columns}, {event} AS event_us FROM (FROM {TABLE} WHERE day BETWEEN ? AND ? OR day IS NULL) l"
        return self.connection.sql(query, params=[self.first, self.last]).to_arrow_table()
