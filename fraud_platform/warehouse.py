"""The DuckDB file and the day-partitioned Parquet folders: atomic replacement of whole days.

A writer either replaces all the days it was asked to replace or changes nothing.
"""

import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq

from fraud_platform.errors import WarehouseError


@contextmanager
def connect(database: Path, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the DuckDB file in UTC and close it whatever happens.

    Raises:
        WarehouseError: if the file is locked by another process, is not there to be read, or the disk fails.
    """
    if read_only and not database.exists():
        raise WarehouseError(f"There is no {database} yet. Materialize `validated_transactions` first.")
    try:
        if not read_only:
            database.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(str(database), read_only=read_only)
    except (duckdb.Error, OSError) as error:
        raise WarehouseError(f"Cannot open {database}: {error}. {_fix_of(str(error))}") from error
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException) as error:
        raise WarehouseError(
            f"Reading or writing for {database} failed: {error}. Free space, or mend what the message names, "
            "and run again; what was committed before is kept."
        ) from error
    finally:
        connection.close()


def _fix_of(message: str) -> str:
    """What to do when DuckDB does not open a file."""
    if "Could not set lock" in message:
        return "Close the other process (a notebook, the DuckDB shell, a second run) and run again."
    if "different configuration" in message:
        return "This process has it open already, for reading or for writing only: close that connection first."
    if "not a valid DuckDB database file" in message:
        return "Something else wrote it: move it away, and materialize `validated_transactions` again."
    return "Check FRAUD_WAREHOUSE, the permissions, and the space on its disk."


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing: commit on success, roll back on any exception."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A COMMIT that failed has rolled back by itself, and a database that broke takes no ROLLBACK:
        # the first error is the one to tell.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


def replace_days(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    select: str,
    first: date,
    last: date,
) -> int:
    """Replace the rows of `table` whose `day` is in [first, last] by the rows of `select`.

    The table is created from the select's columns where it does not exist, and gains the columns
    that it lacks. Call it inside `transaction`.

    Returns:
        The number of rows inserted.
    """
    create_table(connection, table, columns_of(connection, select))
    connection.execute(f"DELETE FROM {table} WHERE day BETWEEN ? AND ?", [first, last])
    ((inserted,),) = connection.execute(f"INSERT INTO {table} BY NAME {select}").fetchall()
    return int(inserted)


def create_table(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> None:
    """Create a table unless it exists, and give it the columns (name to DuckDB type) that it lacks."""
    # Not CREATE TABLE AS … LIMIT 0: in DuckDB 2.0 rows inserted in the same transaction then escape every filter.
    listed = ", ".join(f"{_quoted(name)} {type_}" for name, type_ in columns.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({listed})")
    present = columns_of(connection, f"SELECT * FROM {table}")
    for name, type_ in columns.items():
        if name not in present:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {_quoted(name)} {type_}")


def columns_of(connection: duckdb.DuckDBPyConnection, select: str) -> dict[str, str]:
    """The columns that a SELECT gives, in order, with their DuckDB types."""
    return {name: type_ for name, type_, *_ in connection.execute(f"DESCRIBE {select}").fetchall()}


def has_table(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether there is a table, or a view, of this name."""
    named = "SELECT 1 FROM information_schema.tables WHERE table_name = ?"
    return bool(connection.execute(named, [table]).fetchall())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


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


def rows_in_table(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """All rows of a table, whatever their day."""
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)


def rows_in_folder(folder: Path) -> int:
    """All rows of the day files of a folder, from what the files say of themselves."""
    return sum(rows_by_day(day_files(folder, date.min, date.max)).values())


def rows_by_day(paths: Iterable[Path]) -> dict[date, int]:
    """The rows of each of these day files, from what the files say of themselves."""
    return {date.fromisoformat(path.stem): pq.read_metadata(path).num_rows for path in paths}


def day_file(folder: Path, day: date) -> Path:
    """Where the rows of one day lie: `<folder>/2018-04-01.parquet`."""
    return folder / f"{day.isoformat()}.parquet"


def day_files(folder: Path, first: date, last: date) -> list[Path]:
    """The files that exist for the days in [first, last], in order of day."""
    low, high = day_file(folder, first).name, day_file(folder, last).name
    return sorted(path for path in folder.glob("????-??-??.parquet") if low <= path.name <= high)


def take_back_days(connection: duckdb.DuckDBPyConnection, table: str, folder: Path, key: Sequence[str]) -> int:
    """Insert what the day files of a table hold and the table lacks, as after the loss of the DuckDB file.

    Only the days whose numbers of rows differ are read. Call it inside `transaction`.

    Args:
        key: the columns by which a row is told from another.

    Returns:
        The number of rows inserted.
    """
    held, written = _rows_of_days(connection, table, folder)
    differing = [day for day, rows in sorted(written.items()) if rows != held.get(day)]
    files = ", ".join(_literal(day_file(folder, day)) for day in differing)
    if not files:
        return 0
    select = f"SELECT * FROM read_parquet([{files}], union_by_name=true, hive_partitioning=false)"
    create_table(connection, table, columns_of(connection, select))
    keys = ", ".join(map(_quoted, key))
    ((inserted,),) = connection.execute(
        f"INSERT INTO {table} BY NAME SELECT f.* FROM ({select}) f ANTI JOIN {table} USING ({keys})"
    ).fetchall()
    return int(inserted)


def write_grown_days(
    connection: duckdb.DuckDBPyConnection, table: str, folder: Path, order: Sequence[str]
) -> dict[date, int]:
    """Write the day files of a table whose rows are only ever added, where the table has more rows than the file.

    Returns:
        rows of the days that were written.
    """
    sort = ", ".join(map(_quoted, order))

    def copy(day: date) -> Callable[[Path], object]:
        select = f"SELECT * FROM {table} WHERE day = DATE '{day}' ORDER BY {sort}"
        return lambda target: connection.execute(f"COPY ({select}) TO {_literal(target)} (FORMAT parquet)")

    held, written = _rows_of_days(connection, table, folder)
    grown = {day: rows for day, rows in sorted(held.items()) if rows > written.get(day, 0)}
    write_files((day_file(folder, day), copy(day)) for day in grown)
    return grown


def _rows_of_days(
    connection: duckdb.DuckDBPyConnection, table: str, folder: Path
) -> tuple[dict[date, int], dict[date, int]]:
    """The rows of each day in the table and in its day files."""
    held = dict(connection.execute(f"SELECT day, count(*) FROM {table} GROUP BY day").fetchall())
    return held, rows_by_day(day_files(folder, date.min, date.max))


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def remove_other_days(folder: Path, first: date, last: date, kept: Container[date]) -> None:
    """Remove the files of the days in [first, last] that have no rows any more."""
    for path in day_files(folder, first, last):
        if date.fromisoformat(path.stem) not in kept:
            path.unlink()


def write_files(writers: Iterable[tuple[Path, Callable[[Path], object]]]) -> None:
    """Write several files so that each appears complete and none appears before all were written.

    Each writer is given a temporary path beside its target, and is called as soon as it is drawn. A
    process that dies while writing leaves only temporary files (`*.partial`), which nobody reads and
    the next call overwrites.

    Raises:
        WarehouseError: if the disk is full, or may not be written.
    """
    written: list[tuple[Path, Path]] = []
    try:
        for target, write in writers:
            partial = target.with_name(target.name + ".partial")
            written.append((partial, target))
            _write_partial(partial, write)
        for partial, target in written:
            os.replace(partial, target)
    finally:
        for partial, _ in written:
            partial.unlink(missing_ok=True)


def _write_partial(partial: Path, write: Callable[[Path], object]) -> None:
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
    except (OSError, duckdb.IOException, pl.exceptions.ComputeError) as error:
        raise WarehouseError(
            f"Cannot write {partial}: {error}. Free space, or correct the permissions, and run again; "
            "the files of earlier runs are as they were."
        ) from error
