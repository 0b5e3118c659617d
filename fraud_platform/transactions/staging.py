"""Read one file of a source into a scratch DuckDB database: the rows of some days, and the rows without a day."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

from fraud_platform.errors import SourceError, UnreadableData
from fraud_platform.transactions.csv_text import CsvFile, prepare
from fraud_platform.transactions.mapping import as_text, literal, quoted
from fraud_platform.transactions.row_checks import RAW_COLUMNS, RowMapping, check_columns, kinds_of, reasons_of
from fraud_platform.transactions.source_files import SourceFile
from fraud_platform.transactions.source_schema import ROW_NUMBER, CsvOptions, Source

REJECTIONS = {
    "TOO MANY COLUMNS": "line: too many fields",
    "MISSING COLUMNS": "line: too few fields",
    "UNQUOTED VALUE": "line: broken quote",
    "INVALID ENCODING": "line: not valid text",
}

UNDATED = "_file VARCHAR, _row BIGINT, _transaction_id VARCHAR, _reasons VARCHAR[], _kinds VARCHAR[], _original VARCHAR"
"""The columns of undated.parquet."""


@dataclass(frozen=True)
class Staged:
    """A file in the scratch database.

    Attributes:
        table: its rows of the wanted days: the columns as read, then `_file`, `_row`, `_event_time`.
        first, last: the days of its first and last event, where the whole file was looked at.
        looked_through: whether the whole file was looked at; then its undated rows were added to `undated`.
    """

    file: SourceFile
    table: str
    first: date | None
    last: date | None
    looked_through: bool


def stage_csv(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    file: SourceFile,
    table: str,
    days: tuple[date, date],
    everything: bool,
    scratch: Path,
) -> Staged | None:
    """Stage a CSV file, whose lines are all read whatever days are wanted. None where it has no rows.

    Args:
        everything: keep all days, so that the days that the file holds become known.
    """
    prepared = prepare(file.path, source.csv, scratch)
    if prepared is None:
        return None
    types = dict.fromkeys(prepared.columns, "VARCHAR")
    mapping = _mapping(source, file, types)
    wanted = "true" if everything else f"(NOT {mapping.dated('_event_time')} OR {_within('_event_time', days)})"
    # row_number() over the rows as they come counts accepted rows; _renumber then makes room for the rejected ones.
    # The window also keeps the filter from being pushed down, which would compute the time several times.
    timed = f"SELECT *, {mapping.event_time} AS _event_time FROM {csv_relation(prepared, source.csv)}"
    scan = f"SELECT * EXCLUDE (_event_time), {literal(file.name)} AS _file, row_number() OVER () AS _row, _event_time"
    connection.execute(f"CREATE TABLE {table}_all AS SELECT * FROM ({scan} FROM ({timed})) WHERE {wanted}")
    _keep_rejected(connection, prepared, file)
    _renumber(connection, f"{table}_all")
    _keep_undated(connection, mapping, f"{table}_all")
    connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {table}_all WHERE {mapping.dated('_event_time')}")
    first, last = _extent(connection, table) if everything else (None, None)
    return Staged(file, table, first, last, everything)


def csv_relation(prepared: CsvFile, options: CsvOptions) -> str:
    """SQL that reads a CSV file as text; nothing is left for DuckDB to detect, and rejected lines are kept."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in prepared.columns)
    return (
        f"read_csv({literal(str(prepared.readable))}, auto_detect=false, header=true, columns={{{columns}}}, "
        f"delim={literal(options.delimiter)}, quote={literal(options.quote)}, escape={literal(options.quote)}, "
        f"encoding={literal(options.encoding)}, strict_mode=true, null_padding=false, "
        "store_rejects=true, rejects_limit=0)"
    )


def _keep_rejected(connection: duckdb.DuckDBPyConnection, prepared: CsvFile, file: SourceFile) -> None:
    """Put each rejected line into `undated` once; a line that was taken out beforehand keeps its text and reason."""
    taken_out = "SELECT NULL::BIGINT AS row, NULL::VARCHAR AS reason, NULL::VARCHAR AS raw LIMIT 0"
    if prepared.broken is not None:
        columns = "{row: 'BIGINT', reason: 'VARCHAR', raw: 'VARCHAR'}"
        taken_out = (
            f"SELECT * FROM read_json({literal(str(prepared.broken))}, format='newline_delimited', columns={columns})"
        )
    cases = " ".join(f"WHEN {literal(kind)} THEN {literal(reason)}" for kind, reason in REJECTIONS.items())
    hint = literal(f" (the header has {len(prepared.columns)})")
    connection.execute("DROP TABLE IF EXISTS rejected")
    connection.execute(
        f"""CREATE TABLE rejected AS
        WITH per_line AS (
            SELECT line - 1 AS row, any_value(csv_line) AS raw,
                list_sort(list(DISTINCT CASE CAST(error_type AS VARCHAR) {cases}
                    ELSE 'line: ' || lower(CAST(error_type AS VARCHAR)) END)) AS kinds
            FROM reject_errors GROUP BY line
        )
        SELECT per_line.row, coalesce(t.raw, per_line.raw) AS raw,
            CASE WHEN t.row IS NULL THEN per_line.kinds ELSE [t.reason] END AS kinds
        FROM per_line LEFT JOIN ({taken_out}) t USING (row)"""
    )
    connection.execute(
        f"""INSERT INTO undated SELECT {literal(file.name)}, row, NULL,
            list_transform(kinds, lambda kind: kind || CASE WHEN kind LIKE 'line: too %' THEN {hint} ELSE '' END),
            kinds, raw FROM rejected"""
    )
    connection.execute("DELETE FROM reject_errors")
    connection.execute("DELETE FROM reject_scans")


def _renumber(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Turn the number among the accepted rows into the number of the row in the file."""
    (rejected,) = connection.execute("SELECT count(*) FROM rejected").fetchone() or (0,)
    if not rejected:
        return
    # The i-th rejected line, at row r, has r - i accepted rows before it: every later one moves by i.
    shifts = (
        "SELECT row - i AS after, max(i) AS shift FROM (SELECT row, row_number() OVER (ORDER BY row) AS "
        "i FROM rejected) GROUP BY after"
    )
    connection.execute(
        f"""CREATE TABLE renumbered AS SELECT t.* REPLACE (t._row + coalesce(s.shift, 0) AS _row)
        FROM {table} t ASOF LEFT JOIN ({shifts}) s ON t._row > s.after"""
    )
    connection.execute(f"DROP TABLE {table}")
    connection.execute(f"ALTER TABLE renumbered RENAME TO {table}")


def stage_parquet(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    file: SourceFile,
    table: str,
    days: tuple[date, date],
    look_through: bool,
) -> Staged | None:
    """Stage the rows of the wanted days of a Parquet file. None where it has no rows.

    Args:
        look_through: also read the time of every row, for the rows without a day and the days that the file holds.

    Raises:
        UnreadableData: not a Parquet file, or a damaged one.
    """
    path = literal(str(file.path))
    try:
        (count,) = connection.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({path})").fetchone() or (0,)
        types = {
            row[0]: row[1]
            for row in connection.execute(
                f"DESCRIBE SELECT * FROM read_parquet({path}, hive_partitioning=false)"
            ).fetchall()
        }
    except duckdb.Error as error:
        raise UnreadableData(
            f"{file.path}: is not a Parquet file, or is damaged: {str(error).splitlines()[0]}. Give "
            "a complete Parquet file, or say `format: csv`."
        ) from error
    if not count:
        return None
    mapping = _mapping(source, file, types)
    names = ", ".join(map(quoted, types))
    scan = (
        f"SELECT {names}, {literal(file.name)} AS _file, file_row_number + 1 AS _row, "
        f"{mapping.event_time} AS _event_time "
    )
    scan += f"FROM read_parquet({path}, file_row_number=true, hive_partitioning=false)"
    pushed = _pushed_down(source, types[source.event_time.column], days)
    connection.execute(
        f"CREATE TABLE {table} AS {scan} WHERE {pushed} AND {mapping.dated(mapping.event_time)} AND "
        f"{_within(mapping.event_time, days)}"
    )
    first, last = None, None
    if look_through:
        connection.execute(f"CREATE VIEW {table}_all AS {scan}")
        _keep_undated(connection, mapping, f"{table}_all")
        first, last = _extent(connection, f"(SELECT _event_time FROM {table}_all WHERE {mapping.dated('_event_time')})")
    return Staged(file, table, first, last, look_through)


def _pushed_down(source: Source, type_: str, days: tuple[date, date]) -> str:
    """A coarser condition on the bare column, by which row groups are left out; local times are within a day of UTC."""
    if type_ not in ("TIMESTAMP", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP_S"):
        return "true"
    column = quoted(source.event_time.column)
    low, high = days[0] - timedelta(days=1), days[1] + timedelta(days=2)
    return f"{column} >= TIMESTAMP '{low}' AND {column} < TIMESTAMP '{high}'"


def _mapping(source: Source, file: SourceFile, types: dict[str, str]) -> RowMapping:
    taken = [name for name in types if name in RAW_COLUMNS]
    if taken:
        raise SourceError(f"{file.path}: the column name {taken[0]!r} is taken by the platform. Rename it in the file.")
    check_columns(source, str(file.path), types)
    return RowMapping(source, types)


def _within(event_time: str, days: tuple[date, date]) -> str:
    return f"({event_time} >= TIMESTAMP '{days[0]}' AND {event_time} < TIMESTAMP '{days[1]}' + INTERVAL 1 DAY)"


def _keep_undated(connection: duckdb.DuckDBPyConnection, mapping: RowMapping, table: str) -> None:
    undated = f"{table} WHERE NOT {mapping.dated('_event_time')}"
    if not connection.execute(f"SELECT 1 FROM {undated} LIMIT 1").fetchall():
        return  # the statement below takes DuckDB a fifth of a second to plan
    problems = [*mapping.time_problems, *mapping.problems]
    identifier = mapping.source.columns["transaction_id"]
    text = as_text(quoted(identifier), "BIGINT" if identifier == ROW_NUMBER else mapping.types[identifier])
    connection.execute(
        f"""INSERT INTO undated
        SELECT _file, _row, {text}, {reasons_of(problems)}, {kinds_of(problems)}, {mapping.original}
        FROM {undated}"""
    )


def _extent(connection: duckdb.DuckDBPyConnection, rows: str) -> tuple[date | None, date | None]:
    found = connection.execute(
        f"SELECT CAST(min(_event_time) AS DATE), CAST(max(_event_time) AS DATE) FROM {rows}"
    ).fetchone()
    return found or (None, None)
