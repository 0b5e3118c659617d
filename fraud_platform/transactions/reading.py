"""Land raw data: every row of the source in the file of its UTC event day, columns as they were read.

Rows that have no day (unreadable time, outside the source's days, lines that are no CSV) are kept in
`undated.parquet`. What rows mean and whether they are good is decided later, in `validation`.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from fraud_platform.errors import SourceError, UnreadableData, WarehouseError
from fraud_platform.transactions.mapping import literal
from fraud_platform.transactions.row_checks import OUT_OF_RANGE
from fraud_platform.transactions.source_files import Known, SourceFile, find_files, read_manifest, write_manifest
from fraud_platform.transactions.source_schema import ROW_NUMBER, Source
from fraud_platform.transactions.staging import UNDATED, Staged, stage_csv, stage_parquet
from fraud_platform.warehouse import day_file, day_files, remove_other_days, write_files

MEMORY_LIMIT = "2GB"
"""What DuckDB may hold in memory while landing; the rest waits in the scratch folder."""

FEWEST_ROWS = 3
"""Rows that must be there before they say something about the mapping."""

UNDATED_FILE = "undated.parquet"
MANIFEST_FILE = "files.json"


@dataclass(frozen=True)
class Landed:
    """What a landing run wrote.

    Attributes:
        rows: rows written per day; days of the range without rows are absent.
        undated: rows in undated.parquet, those of earlier runs included.
        files: names of the files that were read.
        seconds: how long it took.
    """

    rows: dict[date, int]
    undated: int
    files: tuple[str, ...]
    seconds: float

    @property
    def total(self) -> int:
        """Rows written."""
        return sum(self.rows.values())


def land(source: Source, folder: Path, first: date, last: date, scratch: Path) -> Landed:
    """Write `<folder>/YYYY-MM-DD.parquet` for the days in [first, last], and `<folder>/undated.parquet`.

    A day file holds the columns as read (text from CSV), `_file`, `_row` (from 1, the header not
    counted, blank lines left out) and `_event_time` (TIMESTAMP, UTC), ordered by the last and the first
    two of these. A run replaces the days that it is asked for, all of them or none; a day without rows
    loses its file. `undated.parquet` is complete for the files that the source has now. Of days that are
    none of the source's nothing is read.

    Raises:
        SourceError: the data do not fit the source's columns.
        UnreadableData: a file is missing, empty, damaged or may not be read.
        WarehouseError: the disk is full, or may not be written.
    """
    started = time.perf_counter()
    if not source.has_days(first, last):
        undated = folder / UNDATED_FILE
        return Landed({}, pq.read_metadata(undated).num_rows if undated.exists() else 0, (), 0.0)
    first, last = max(first, source.first_day), min(last, source.last_day or last)
    if source.format == "simulator":
        rows, undated, names = _land_simulated(source, folder, first, last), 0, ("simulator",)
    else:
        rows, undated, names = _land_files(source, folder, (first, last), scratch)
    remove_other_days(folder, first, last, rows)
    return Landed(rows, undated, names, time.perf_counter() - started)


@contextmanager
def _scratch_database(scratch: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A DuckDB file of its own that spills to disk, gone afterwards. One landing at a time has it."""
    folder = scratch / "landing"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        lock = os.open(scratch, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system gives it back when a process dies, however it dies
            shutil.rmtree(folder, ignore_errors=True)  # of a landing that was killed
            folder.mkdir()
            connection = duckdb.connect(str(folder / "landing.duckdb"))
            try:
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
                connection.execute(f"SET temp_directory = {literal(str(folder / 'spill'))}")
                yield connection, folder
            finally:
                connection.close()
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
    except (OSError, duckdb.IOException, duckdb.TransactionException) as error:
        raise WarehouseError(
            f"Cannot land raw data by way of {folder}: {error}. Free space, or correct the permissions, and run "
            "again; the files of earlier runs are as they were."
        ) from error


def _land_files(
    source: Source, folder: Path, days: tuple[date, date], scratch: Path
) -> tuple[dict[date, int], int, tuple[str, ...]]:
    files = find_files(source)
    if source.columns["transaction_id"] == ROW_NUMBER and len(files) > 1:
        raise SourceError(
            f"{source.file}: columns.transaction_id: {ROW_NUMBER} is unique within one file only, "
            f"and the source has {len(files)}. "
            "Name a column that holds ids."
        )
    remembered = read_manifest(folder / MANIFEST_FILE, source) if (folder / UNDATED_FILE).exists() else {}
    with _scratch_database(scratch) as (connection, place):
        connection.execute(f"CREATE TABLE undated ({UNDATED})")
        staged: list[Staged] = []
        manifest: dict[str, Known] = {}
        kept: list[str] = []
        empty = 0
        for number, file in enumerate(files):
            status = file.path.stat()
            known = remembered.get(file.name)
            if known and (known.size, known.mtime_ns) != (status.st_size, status.st_mtime_ns):
                known = None
            if known and (source.format == "parquet" or not known.overlaps(*days)):
                kept.append(file.name)
            if known and not known.overlaps(*days):
                manifest[file.name] = known
                continue
            table = _stage(connection, source, file, f"file_{number}", days, known is not None, len(files) > 1, place)
            if table is None:
                empty += 1
                continue
            staged.append(table)
            if known:
                manifest[file.name] = known
            elif table.looked_through:
                manifest[file.name] = Known(
                    status.st_size,
                    status.st_mtime_ns,
                    *(day.isoformat() if day else None for day in (table.first, table.last)),
                )
        if empty == len(files):
            raise UnreadableData(
                f"{source.file}: path: {source.path!r} has no rows. Give a file with data, or correct the path."
            )
        for table in staged:
            _refuse_unreadable(connection, source, table, folder)
        _keep_earlier_undated(connection, folder / UNDATED_FILE, kept)
        rows, undated = _write(connection, source, folder, days, staged, manifest)
    return rows, undated, tuple(table.file.name for table in staged)


def _stage(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    file: SourceFile,
    table: str,
    days: tuple[date, date],
    known: bool,
    several: bool,
    place: Path,
) -> Staged | None:
    try:
        if source.format == "parquet":
            return stage_parquet(connection, source, file, table, days, look_through=not known)
        return stage_csv(connection, source, file, table, days, everything=several and not known, scratch=place / table)
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        raise UnreadableData(
            f"{file.path}: cannot be read as {source.format}: {error}. Check the file, and "
            f"event_time.format and zone in {source.file}."
        ) from error


def _refuse_unreadable(connection: duckdb.DuckDBPyConnection, source: Source, table: Staged, folder: Path) -> None:
    """A file of which no row at all has a readable time is a mistake in the mapping, and not a file of bad rows."""
    (dated,) = connection.execute(f"SELECT count(*) FROM {table.table}").fetchone() or (0,)
    known_to_hold_none = table.first is None if table.looked_through else not day_files(folder, date.min, date.max)
    if dated or not known_to_hold_none:
        return
    rows, unreadable, reason = connection.execute(
        f"""SELECT count(*), count(*) FILTER (NOT list_has_any(_kinds, {list(OUT_OF_RANGE)})), min_by(_reasons[1], _row)
        FROM undated WHERE _file = ?""",
        [table.file.name],
    ).fetchone() or (0, 0, None)
    if unreadable >= FEWEST_ROWS and unreadable == rows:
        raise SourceError(
            f"{table.file.path}: not one of the rows that were looked at ({rows:,}) has a readable time. The first "
            f"says {reason}. Correct event_time.column, event_time.format or csv.delimiter in {source.file}."
        )


def _keep_earlier_undated(connection: duckdb.DuckDBPyConnection, path: Path, names: list[str]) -> None:
    """Files that were not read through again keep their undated rows of an earlier run."""
    if names:
        connection.execute(
            f"INSERT INTO undated SELECT * FROM read_parquet({literal(str(path))}) WHERE _file IN ?", [names]
        )


def _write(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    folder: Path,
    days: tuple[date, date],
    staged: list[Staged],
    manifest: Mapping[str, Known],
) -> tuple[dict[date, int], int]:
    """Write the day files, the undated rows and, last, the manifest."""
    rows: dict[date, int] = {}
    tables: dict[date, list[str]] = {}
    for table in (entry.table for entry in staged):
        per_day = f"SELECT CAST(_event_time AS DATE), count(*) FROM {table} GROUP BY 1 ORDER BY 1"
        for day, count in connection.execute(per_day).fetchall():
            if days[0] <= day <= days[1]:
                rows[day] = rows.get(day, 0) + count
                tables.setdefault(day, []).append(table)
    (undated,) = connection.execute("SELECT count(*) FROM undated").fetchone() or (0,)

    def copy(select: str) -> Callable[[Path], None]:
        return lambda target: _copy(connection, select, target)

    writers: list[tuple[Path, Callable[[Path], None]]] = []
    for day in sorted(rows):
        within = f"WHERE _event_time >= TIMESTAMP '{day}' AND _event_time < TIMESTAMP '{day + timedelta(days=1)}'"
        union = " UNION ALL BY NAME ".join(f"SELECT * FROM {table} {within}" for table in tables[day])
        columns = "SELECT * EXCLUDE (_file, _row, _event_time), _file, _row, _event_time"
        writers.append((day_file(folder, day), copy(f"{columns} FROM ({union}) ORDER BY _event_time, _file, _row")))
    writers.append((folder / UNDATED_FILE, copy("SELECT * FROM undated ORDER BY _file, _row")))
    writers.append((folder / MANIFEST_FILE, lambda target: write_manifest(target, source, manifest)))
    write_files(writers)
    return rows, undated


def _copy(connection: duckdb.DuckDBPyConnection, select: str, target: Path) -> None:
    connection.execute(f"COPY ({select}) TO {literal(str(target))} (FORMAT parquet)")


def _land_simulated(source: Source, folder: Path, first: date, last: date) -> dict[date, int]:
    """Simulate each day and write it the same way. Nothing simulated is undated."""
    from fraud_platform.transactions.simulator import SimulatorConfig, simulate_day

    config = SimulatorConfig.model_validate(source.simulator or {})
    rows: dict[date, int] = {}

    def write(day: date) -> Callable[[Path], None]:
        def simulate(target: Path) -> None:
            frame = simulate_day(config, day)
            rows[day] = frame.height
            connection = duckdb.connect()
            try:
                connection.register("simulated", frame.to_arrow())
                numbered = (
                    "SELECT *, 'simulator' AS _file, row_number() OVER () AS _row, CAST(event_time AS "
                    "TIMESTAMP) AS _event_time FROM simulated"
                )
                _copy(connection, f"SELECT * FROM ({numbered}) ORDER BY _event_time, _row", target)
            finally:
                connection.close()

        return simulate

    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    write_files((day_file(folder, day), write(day)) for day in days)
    for day in [day for day, count in rows.items() if not count]:
        del rows[day]
        day_file(folder, day).unlink()
    return rows


def unreadable_share(connection: duckdb.DuckDBPyConnection, folder: Path, paths: list[Path]) -> float:
    """Undated rows that are not outside the source's days, among all rows of the files that day files are from.

    A file has at least as many rows as the highest row number that was seen of it.
    """
    undated = folder / UNDATED_FILE
    if not paths or not undated.exists():
        return 0.0
    files = ", ".join(literal(str(path)) for path in paths)
    unreadable, rows = connection.execute(
        f"""WITH dated AS (
            SELECT _file, max(_row) AS rows FROM read_parquet([{files}], union_by_name=true) GROUP BY _file
        ), undated AS (
            SELECT _file, max(_row) AS rows, count(*) FILTER (NOT list_has_any(_kinds, {list(OUT_OF_RANGE)})) AS n
            FROM read_parquet({literal(str(undated))}) GROUP BY _file
        )
        SELECT sum(n), sum(greatest(dated.rows, undated.rows)) FROM dated LEFT JOIN undated USING (_file)"""
    ).fetchone() or (0, 0)
    return float(unreadable or 0) / rows if rows else 0.0
