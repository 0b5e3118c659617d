"""The DuckDB file and the day-partitioned Parquet folders: atomic replacement of whole days.

A writer either replaces all the days it was asked to replace or changes nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb

from fraud_platform.errors import WarehouseError


@contextmanager
def connect(database: Path, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the DuckDB file in UTC and close it whatever happens.

    Raises:
        WarehouseError: if the file is locked by another process, or is not there to be read.
    """
    if not read_only:
        database.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(str(database), read_only=read_only)
    except duckdb.IOException as error:
        raise WarehouseError(
            f"Cannot open {database}: {error}. If another process holds it (a notebook, the DuckDB shell), "
            "close that; if the file is missing, materialize `validated_transactions` first."
        ) from error
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing: commit on success, roll back on any exception."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def replace_days(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    select: str,
    first: date,
    last: date,
    also_delete: str | None = None,
) -> int:
    """Replace the rows of `table` whose `day` is in [first, last] by the rows of `select`.

    The table is created from the select's columns where it does not exist, and gains the columns
    that it lacks. Call it inside `transaction`.

    Args:
        also_delete: a further SQL condition; rows that meet it are deleted too.

    Returns:
        The number of rows inserted.
    """
    columns = [(name, type_) for name, type_, *_ in connection.execute(f"DESCRIBE {select}").fetchall()]
    # Not CREATE TABLE AS … LIMIT 0: in DuckDB 2.0 rows inserted in the same transaction then escape every filter.
    listed = ", ".join(f'"{name}" {type_}' for name, type_ in columns)
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({listed})")
    present = {row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()}
    for name, type_ in columns:
        if name not in present:
            connection.execute(f'ALTER TABLE {table} ADD COLUMN "{name}" {type_}')
    condition = f" OR ({also_delete})" if also_delete else ""
    connection.execute(f"DELETE FROM {table} WHERE day BETWEEN ? AND ?{condition}", [first, last])
    ((inserted,),) = connection.execute(f"INSERT INTO {table} BY NAME {select}").fetchall()
    return int(inserted)


def last_day(connection: duckdb.DuckDBPyConnection, table: str) -> date:
    """The last day that a table has rows for.

    Raises:
        WarehouseError: if the table is missing or empty.
    """
    try:
        ((day,),) = connection.execute(f"SELECT max(day) FROM {table}").fetchall()
    except duckdb.CatalogException as error:
        raise WarehouseError(f"There is no table {table} yet. Materialize `{table}` first.") from error
    if day is None:
        raise WarehouseError(f"{table} has no rows. Materialize `{table}` for days that have data.")
    return day


def day_file(folder: Path, day: date) -> Path:
    """Where the rows of one day lie: `<folder>/2018-04-01.parquet`."""
    return folder / f"{day.isoformat()}.parquet"


def day_files(folder: Path, first: date, last: date) -> list[Path]:
    """The files that exist for the days in [first, last], in order of day."""
    low, high = day_file(folder, first).name, day_file(folder, last).name
    return sorted(path for path in folder.glob("????-??-??.parquet") if low <= path.name <= high)


def write_files(writers: Iterable[tuple[Path, Callable[[Path], None]]]) -> None:
    """Write several files so that each appears complete and none appears before all were written.

    Each writer is given a temporary path beside its target. A process that dies while writing
    leaves only temporary files (`*.partial`), which the next call overwrites.
    """
    written: list[tuple[Path, Path]] = []
    try:
        for target, write in writers:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".partial")
            written.append((partial, target))
            write(partial)
        for partial, target in written:
            os.replace(partial, target)
    finally:
        for partial, _ in written:
            partial.unlink(missing_ok=True)
