"""Expectations that follow from the contract alone, and the SQL that reads a column as the contract has it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from fraud_platform.errors import WarehouseError
from fraud_platform.transactions.contract import DUCKDB_TYPES, Column
from fraud_platform.transactions.expectations.results import Batch, Expectation


def table_types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns of a table with their DuckDB types.

    Raises:
        WarehouseError: if the table is missing, or has no column `day` to choose its rows by.
    """
    try:
        types = {str(row[0]): str(row[1]) for row in connection.execute(f"DESCRIBE {table}").fetchall()}
    except duckdb.CatalogException as error:
        raise WarehouseError(f"There is no table {table}: materialize `{table}` first.") from error
    if "day" not in types:
        raise WarehouseError(f"Table {table} has no column day: drop it and materialize `{table}` again.")
    return types


def contract_types(columns: Iterable[Column], **further: str) -> dict[str, str]:
    """The DuckDB type of each column of the contract, and of further ones."""
    return {**further, **{column.name: DUCKDB_TYPES[column.type] for column in columns}}


def read_as(name: str, type_: str) -> str:
    """SQL that casts a column, NULL where it cannot be; NaN as infinity, because pandas takes NaN for missing."""
    read = f'TRY_CAST("{name}" AS {type_})'
    return f"CASE WHEN isnan({read}) THEN 'infinity'::DOUBLE ELSE {read} END" if type_ == "DOUBLE" else read


def microseconds(expression: str) -> str:
    """SQL for a timestamp as microseconds since 1970; infinite timestamps as the largest or smallest int64."""
    return (
        f"CASE WHEN isfinite({expression}) THEN epoch_us({expression}) "
        f"WHEN {expression} > TIMESTAMP '1970-01-01' THEN {2**63 - 1} "
        f"WHEN {expression} IS NOT NULL THEN {-(2**63 - 1)} END"
    )


def exists(check: str, column: str) -> Expectation:
    return Expectation(check, "expect_column_to_exist", {"column": column})


def has_type(check: str, column: str, type_: str) -> Expectation:
    """For a batch of one row whose values are the names of the types."""
    return Expectation(check, "expect_column_values_to_be_in_set", {"column": column, "value_set": [type_]})


def not_null(check: str, column: str) -> Expectation:
    return Expectation(check, "expect_column_values_to_not_be_null", {"column": column})


def between(check: str, column: str, lowest: float | None, highest: float | None) -> Expectation:
    """Values in [lowest, highest]; None is no limit. Missing values pass."""
    arguments: dict[str, Any] = {"column": column, "min_value": lowest, "max_value": highest}
    return Expectation(check, "expect_column_values_to_be_between", arguments)


def equal(check: str, column: str, other: str) -> Expectation:
    """Two columns agree wherever neither is missing."""
    arguments = {"column_A": column, "column_B": other, "ignore_row_if": "either_value_is_missing"}
    return Expectation(check, "expect_column_pair_values_to_be_equal", arguments)


def formats(check: str, columns: Iterable[Column]) -> Iterator[Expectation]:
    """The pattern, the allowed values and the range that the contract gives for each column."""
    for column in columns:
        if column.pattern is not None:
            # Python's `$` also matches before a final newline, and its `\d` also other scripts' digits.
            arguments: dict[str, Any] = {"column": column.name, "regex": rf"(?a:{column.pattern})\Z"}
            yield Expectation(check, "expect_column_values_to_match_regex", arguments)
        if column.values is not None:
            arguments = {"column": column.name, "value_set": list(column.values)}
            yield Expectation(check, "expect_column_values_to_be_in_set", arguments)
        if column.minimum is not None or column.maximum is not None:
            yield between(check, column.name, column.minimum, column.maximum)


def table_batch(
    types: Mapping[str, str], figures: Mapping[str, int | float | None], expectations: Iterable[Expectation]
) -> Batch:
    """One row about the table as a whole: the type of each column, and figures that DuckDB computed."""
    values: dict[str, list[Any]] = {name: [value] for name, value in {**types, **figures}.items()}
    return Batch("table", pa.table(values), tuple(expectations))
