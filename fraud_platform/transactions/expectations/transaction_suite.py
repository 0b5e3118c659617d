"""The suite of `validated_transactions`, generated from the contract."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa

from fraud_platform.errors import SourceError
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

TABLE = "validated_transactions"
TYPES = from_contract.contract_types(contract.TRANSACTION, day="DATE", event_us="BIGINT")
ALWAYS = frozenset({"day", "event_us", *contract.REQUIRED})
REPEATED_IDS = "ids_repeated_in_table"
OUTLIER_SHARE = "amount_outlier_share"
COMPARED = frozenset({"day", "event_us", "event_time", "event_day", "amount_cents"})
VALUES_AT_ONCE = 5_000_000
"""Great Expectations keeps several copies of each column that it looks at: so many values take about 1 GB."""
DAY_NUMBER = "year({0}) * 10000 + month({0}) * 100 + day({0})"
"""A date as an integer that a person can read in an example: 20180401."""


def check_transactions(
    connection: duckdb.DuckDBPyConnection,
    first: date,
    last: date,
    present: frozenset[str],
    limits: Limits | None = None,
    docs_folder: Path | None = None,
) -> SuiteResult:
    """Check the rows of `validated_transactions` whose day is in [first, last].

    The checks are `required_columns`, `unique_ids`, `amounts`, `event_times`, `formats`,
    `amount_outliers` and, of severity "warn", `volume`. Great Expectations judges all of them;
    DuckDB counts what needs more than the rows of the range: ids that are repeated anywhere in the
    table, amounts beyond the usual, rows per day.

    A check whose column is missing fails. A column of another type is cast where it can be, so that
    the other checks still say something.

    Args:
        present: the contract columns that the source gives; of the others only the column and its
            type are expected. Required columns need not be named.
        docs_folder: where the Data Docs are written; the pages of the run before are replaced.

    Raises:
        SourceError: if `present` names a column that is not in the contract.
        WarehouseError: if the table is missing, or has no column `day`.
    """
    if unknown := present - contract.TRANSACTION_COLUMNS.keys():
        raise SourceError(
            f"Not columns of the contract: {', '.join(sorted(unknown))}. Pass only columns of contract.TRANSACTION."
        )
    suite = _Suite(connection, first, last, present | ALWAYS, limits or Limits())
    outcomes, docs = runner.run(TABLE, suite.batches(), docs_folder)
    return SuiteResult(TABLE, suite.rows, tuple(suite.checks(outcomes)), docs)


def table_expectations(limits: Limits, present: Container[str]) -> Iterator[Expectation]:
    """For one row about the table: types of the columns, repeated ids, share of outliers."""
    for name, type_ in TYPES.items():
        check = "amounts" if name == "amount_cents" else "required_columns"
        yield from_contract.exists(check, name)
        if name in present:
            yield from_contract.has_type(check, name, type_)
    yield from_contract.between("unique_ids", REPEATED_IDS, 0, 0)
    yield from_contract.between("amount_outliers", OUTLIER_SHARE, 0, limits.outlier_share)


def row_expectations(last: date, present: frozenset[str]) -> Iterator[Expectation]:
    """For every row; `event_time` is in microseconds here, `day` and `event_day` are numbers like 20180401."""
    for name in TYPES:
        if name in ALWAYS:
            yield from_contract.not_null("required_columns", name)
    yield Expectation("unique_ids", "expect_column_values_to_be_unique", {"column": "transaction_id"})
    yield from from_contract.formats("amounts", [contract.TRANSACTION_COLUMNS["amount_cents"]])
    yield from_contract.equal("event_times", "event_us", "event_time")
    yield from_contract.equal("event_times", "day", "event_day")
    earliest = _microseconds(date.fromisoformat(contract.EARLIEST_EVENT))
    yield from_contract.between("event_times", "event_us", earliest, _microseconds(last + timedelta(days=1)) - 1)
    formatted = [column for column in contract.TRANSACTION if column.name in present and column.name != "amount_cents"]
    yield from from_contract.formats("formats", formatted)


def volume_expectation(limits: Limits) -> Expectation:
    """For every day."""
    arguments = {
        "column": "share_of_baseline",
        "min_value": 1 / limits.volume_factor,
        "max_value": limits.volume_factor,
    }
    return Expectation("volume", "expect_column_values_to_be_between", arguments, severity="warn")


def _microseconds(day: date) -> int:
    return (day - date(1970, 1, 1)) // timedelta(microseconds=1)


@dataclass(frozen=True)
class _Suite:
    connection: duckdb.DuckDBPyConnection
    first: date
    last: date
    present: frozenset[str]
    limits: Limits

    @cached_property
    def types(self) -> dict[str, str]:
        return from_contract.table_types(self.connection, TABLE)

    @cached_property
    def rows(self) -> int:
        return measures.count_rows(self.connection, TABLE, self.first, self.last)

    @cached_property
    def repeated_ids(self) -> int:
        return measures.repeated_ids(self.connection, TABLE) if "transaction_id" in self.types else 0

    @cached_property
    def outliers(self) -> measures.Outliers:
        if "amount_cents" not in self.types:
            return measures.Outliers(0, 0.0, 0.0)
        currency = "currency" if "currency" in self.types else "NULL"
        return measures.amount_outliers(self.connection, TABLE, self.first, self.last, self.limits, currency)

    @cached_property
    def days(self) -> pa.Table:
        return measures.rows_per_day(self.connection, TABLE, self.first, self.last, self.limits.baseline_days)

    def batches(self) -> Iterator[Batch]:
        """The table as a whole, its rows in groups of columns that are in memory one at a time, and its days."""
        on_rows = list(row_expectations(self.last, self.present))
        absent = {(item.check, name) for item in on_rows for name in _sources(item) if name not in self.types}
        if "amount_cents" not in self.types:
            absent.add(("amount_outliers", "amount_cents"))
        on_table = [
            *table_expectations(self.limits, self.types),
            *(from_contract.exists(check, name) for check, name in sorted(absent)),
        ]
        figures = {REPEATED_IDS: self.repeated_ids, OUTLIER_SHARE: self.outliers.share}
        yield from_contract.table_batch(self.types, figures, on_table)
        for number, names in enumerate(self._column_groups(), start=1):
            expected = tuple(
                item for item in on_rows if names.issuperset(item.columns) and self.types.keys() >= _sources(item)
            )
            yield Batch(f"rows_{number}", self._fetch_rows(names), expected)
        yield Batch("days", self.days, (volume_expectation(self.limits),))

    def checks(self, outcomes: list[Outcome]) -> Iterator[Check]:
        """What the outcomes and the counts come to, in words."""
        rows = f"{self.rows:,} rows"
        optional = len(self.present) - len(ALWAYS)
        yield build_check(
            "required_columns",
            outcomes,
            {"rows": self.rows},
            f"{rows}: every column is there, the required ones without nulls",
        )
        yield build_check(
            "unique_ids",
            outcomes,
            {REPEATED_IDS: self.repeated_ids},
            f"no transaction_id twice, in these {rows} (Great Expectations) and in the whole table (DuckDB)",
        )
        yield build_check(
            "amounts", outcomes, {}, f"{rows}: amounts are integers from 1 to {contract.MAX_AMOUNT_CENTS} minor units"
        )
        yield build_check(
            "event_times", outcomes, {}, f"{rows}: event_us, event_time and day agree and are within {self._range}"
        )
        yield build_check(
            "formats", outcomes, {}, f"{rows}: identifiers and {optional} optional columns are as the contract says"
        )
        found = self.outliers
        yield build_check(
            "amount_outliers",
            outcomes,
            {"outliers": found.count, "share": found.share, "highest_limit_cents": found.limit},
            f"{found.count:,} of {rows} ({found.share:.2%}) have an amount beyond the usual",
            measured="amount_cents" in self.types,
        )
        yield self._volume(outcomes)

    def _volume(self, outcomes: list[Outcome]) -> Check:
        shares = [share for share in self.days["share_of_baseline"].to_pylist() if share is not None]
        if not shares:
            observed, summary = {"days_compared": 0}, "no rows in the days before to compare with: nothing was judged"
        else:
            observed = {"days_compared": len(shares), "lowest_share": min(shares), "highest_share": max(shares)}
            summary = (
                f"{len(shares)} days have {min(shares):.2f} to {max(shares):.2f} times the rows of the days before them"
            )
        return build_check("volume", outcomes, observed, summary, severity="warn", measured=True)

    @property
    def _range(self) -> str:
        return f"{self.first} to {self.last}"

    def _column_groups(self) -> Iterator[frozenset[str]]:
        """What is compared with each other together, the rest so many at a time as memory allows."""
        others = [name for name in TYPES if name in self.present and name in self.types and name not in COMPARED]
        at_once = max(1, VALUES_AT_ONCE // max(self.rows, 1))
        together = max(0, at_once - len(COMPARED))
        yield COMPARED.union(others[:together])
        for start in range(together, len(others), at_once):
            yield frozenset(others[start : start + at_once])

    def _fetch_rows(self, names: frozenset[str]) -> pa.Table:
        reads = {name: from_contract.read_as(name, TYPES[name]) for name in sorted(names & self.types.keys())}
        if "event_time" in reads:
            reads["event_day"] = DAY_NUMBER.format(reads["event_time"])
            reads["event_time"] = from_contract.microseconds(reads["event_time"])
        if "day" in reads:
            reads["day"] = DAY_NUMBER.format(reads["day"])
        columns = ", ".join(f'{expression} AS "{name}"' for name, expression in reads.items())
        query = f"SELECT {columns} FROM {TABLE} WHERE day BETWEEN ? AND ?"
        return self.connection.sql(query, params=[self.first, self.last]).to_arrow_table()


def _sources(expectation: Expectation) -> set[str]:
    """The columns of the table that an expectation's columns are made from."""
    return {"event_time" if name == "event_day" else name for name in expectation.columns}
