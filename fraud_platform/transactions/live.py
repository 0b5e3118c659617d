"""What came through the service, as raw rows beside the source's own: transactions in contract columns, and labels.

Their day files lie in the folder `live` below the source's. A transaction is filed by the day of its event; a
label by the day on which it was reported, since its transaction may never come.
"""

from datetime import date
from pathlib import Path

import duckdb

from fraud_platform.transactions import contract
from fraud_platform.transactions.mapping import literal, quoted
from fraud_platform.transactions.source_schema import MAPPABLE, AmountColumn, AttributeColumn, Source, TimeColumn
from fraud_platform.warehouse import columns_of, day_files

LIVE = "live"

FEEDBACK_COLUMNS: dict[str, str] = (
    {"day": "DATE"}
    | {column.name: contract.DUCKDB_TYPES[column.type] for column in contract.LABEL}
    | {"reported_by": "VARCHAR", "sequence": "BIGINT"}
)
"""Columns of feedback_labels; `day` is the day of the report, `sequence` the place in the store's outbox."""


def live_columns(source: Source) -> dict[str, str]:
    """Columns of live_transactions with their DuckDB types, in order; those that a transaction lacks are NULL."""
    columns = {"day": "DATE", "event_us": "BIGINT"}
    columns |= {column.name: contract.DUCKDB_TYPES[column.type] for column in contract.TRANSACTION}
    return columns | {name: "DOUBLE" if a.type == "number" else "VARCHAR" for name, a in source.attributes.items()}


def live_mapping(source: Source) -> Source:
    """The mapping of live rows: every column is called and written as the contract has it, whatever the source does."""
    return source.model_copy(
        update={
            "format": "parquet",
            "first_day": date.fromisoformat(contract.EARLIEST_EVENT),
            "last_day": None,
            "event_time": TimeColumn(column="event_time"),
            "amount": AmountColumn(column="amount_cents", unit="minor"),
            "columns": {name: name for name in MAPPABLE},
            "values": {},
            "attributes": {name: AttributeColumn(column=name, type=a.type) for name, a in source.attributes.items()},
            "labels": None,
        }
    )


def live_files(folder: Path, first: date = date.min, last: date = date.max) -> list[Path]:
    """The day files of live rows for the days in [first, last], in order of day.

    Args:
        folder: the source's own raw files, of transactions or of labels.
    """
    return day_files(folder / LIVE, first, last)


def live_relation(
    connection: duckdb.DuckDBPyConnection, source: Source, paths: list[Path]
) -> tuple[str, dict[str, str]]:
    """SQL of the live transactions of several day files in the shape of raw rows, and the types of their columns.

    An attribute that the source was given later is NULL in older rows.
    """
    present = columns_of(connection, f"SELECT * FROM {_read(paths)}")
    absent = {name: type_ for name, type_ in live_columns(source).items() if name not in present}
    added = "".join(f"CAST(NULL AS {type_}) AS {quoted(name)}, " for name, type_ in absent.items())
    relation = (
        f"(SELECT * EXCLUDE (file_row_number), {added}{_numbered('day')}, event_time AS _event_time "
        f"FROM {_read(paths)})"
    )
    return relation, columns_of(connection, f"SELECT * FROM {relation}")


def live_labels(paths: list[Path]) -> str:
    """SQL of the labels of several day files, with `_file` and `_row`."""
    return f"(SELECT * EXCLUDE (file_row_number), {_numbered('day')} FROM {_read(paths)})"


def _numbered(day: str) -> str:
    """SQL of `_file` and `_row` of a row that was read from the day file of `day`."""
    return f"'{LIVE}/' || strftime({day}, '%Y-%m-%d') || '.parquet' AS _file, file_row_number + 1 AS _row"


def _read(paths: list[Path]) -> str:
    files = ", ".join(literal(str(path)) for path in paths)
    return f"read_parquet([{files}], union_by_name=true, hive_partitioning=false, file_row_number=true)"
