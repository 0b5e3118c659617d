"""Row validation: good rows become typed rows of `validated_transactions`, bad ones are quarantined with every reason.

DuckDB does all the work in SQL, one run is one transaction, and validating a day again changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from fraud_platform.errors import SourceError
from fraud_platform.transactions.duplicates import COPIES, duplicate_problem, find_duplicates, stale_days
from fraud_platform.transactions.live import live_columns, live_files, live_mapping, live_relation
from fraud_platform.transactions.mapping import FRACTION, as_text, literal, quoted
from fraud_platform.transactions.reading import UNDATED_FILE, unreadable_share
from fraud_platform.transactions.row_checks import RowMapping, any_of, check_columns, kinds_of, reasons_of
from fraud_platform.transactions.source_schema import ROW_NUMBER, Source
from fraud_platform.warehouse import columns_of, create_table, day_files, replace_days, transaction

QUARANTINE: dict[str, str] = {
    "day": "DATE",
    "source_file": "VARCHAR",
    "source_row": "BIGINT",
    "transaction_id": "VARCHAR",
    "reasons": "VARCHAR[]",
    "original": "VARCHAR",
}
"""Columns of quarantined_transactions and quarantined_labels. `day` is NULL where the row has none;
`original` is the row as read, as JSON, or the raw line where it was no CSV."""

FEWEST_AMOUNTS = 3
"""Amounts that must be there before their fractions say something about the unit."""


@dataclass(frozen=True)
class Validated:
    """What a validation run did.

    Attributes:
        accepted, quarantined: rows per day of the range; days without rows are absent.
        undated: quarantined rows without a day, whatever the range was.
        reasons: quarantined rows per kind of reason; a row counts once for each kind that it has.
        revalidated: later days that were validated again, because an id of theirs turned up earlier.
        copies: rows of the range, per day, whose transaction came both live and in a file, and is the other row.
        unreadable_share: lines that are no rows and rows without a readable time, among the rows of the files
            that the range is from, as far as these were landed; exact once all their days were.
    """

    accepted: dict[date, int]
    quarantined: dict[date, int]
    undated: int
    reasons: dict[str, int]
    revalidated: tuple[date, ...] = ()
    copies: dict[date, int] = field(default_factory=dict)
    unreadable_share: float = 0.0

    @property
    def quarantined_share(self) -> float:
        """Bad rows among the dated rows of the range; 0 where there are none."""
        bad = sum(self.quarantined.values())
        return bad / total if (total := bad + sum(self.accepted.values())) else 0.0


def validate_transactions(
    connection: duckdb.DuckDBPyConnection, source: Source, folder: Path, first: date, last: date
) -> Validated:
    """Replace the days [first, last] of `validated_transactions` and `quarantined_transactions`.

    Args:
        folder: the raw day files that `reading.land` wrote, and those of `live` below it.

    Of rows that share a transaction_id the first good one by (event time, file, row) is kept, over all
    days: an id that was accepted on an earlier day is a duplicate, unless one of the two came live and the
    other in a file (see `duplicates`). Rows without a day are quarantined as a whole, every run, and are not
    compared for duplicates.

    Raises:
        SourceError: the raw columns do not fit the source, or `amount.unit` is plainly wrong.
    """
    with transaction(connection):
        _create_tables(connection, source)
        reasons = _validate_days(connection, source, folder, first, last)
        undated = _quarantine_undated(connection, folder / UNDATED_FILE, reasons)
        revalidated = _revalidate_later_days(connection, source, folder, last)
        for table in ("mapped_rows", "first_rows", "flagged_rows", "copied_rows", "bad_rows"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    accepted, quarantined, copies = (
        _rows_per_day(connection, table, first, last)
        for table in ("validated_transactions", "quarantined_transactions", "transaction_copies")
    )
    unreadable = unreadable_share(connection, folder, day_files(folder, first, last))
    return Validated(accepted, quarantined, undated, reasons, revalidated, copies, unreadable)


def validated_columns(source: Source) -> dict[str, str]:
    """Columns of validated_transactions with their DuckDB types, in order."""
    return {"day": "DATE", "event_us": "BIGINT", "live": "BOOLEAN"} | live_columns(source)


def empty_select(columns: Mapping[str, str]) -> str:
    """A SELECT with these columns and no rows."""
    return (
        f"SELECT {', '.join(f'CAST(NULL AS {type_}) AS {quoted(name)}' for name, type_ in columns.items())} WHERE false"
    )


def _create_tables(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    for table, columns in (
        ("validated_transactions", validated_columns(source)),
        ("quarantined_transactions", QUARANTINE),
        ("transaction_copies", COPIES),
    ):
        create_table(connection, table, columns)


def _rows_per_day(connection: duckdb.DuckDBPyConnection, table: str, first: date, last: date) -> dict[date, int]:
    select = f"SELECT day, count(*) FROM {table} WHERE day BETWEEN ? AND ? GROUP BY day ORDER BY day"
    return dict(connection.execute(select, [first, last]).fetchall())


def raw_relation(connection: duckdb.DuckDBPyConnection, paths: list[Path]) -> tuple[str, dict[str, str]]:
    """SQL of the raw rows of several day files, and the types of their columns."""
    relation = (
        f"read_parquet([{', '.join(literal(str(path)) for path in paths)}], union_by_name=true, "
        "hive_partitioning=false)"
    )
    return relation, columns_of(connection, f"SELECT * FROM {relation}")


@dataclass(frozen=True)
class _Part:
    """Raw rows of one origin: SQL that gives them, and what they mean."""

    live: bool
    relation: str
    mapping: RowMapping


def _parts(connection: duckdb.DuckDBPyConnection, source: Source, folder: Path, first: date, last: date) -> list[_Part]:
    """The rows of the source's files, and those that came live, where there are any."""
    parts: list[_Part] = []
    if paths := day_files(folder, first, last):
        relation, types = raw_relation(connection, paths)
        check_columns(source, str(folder), types)
        parts.append(_Part(False, relation, RowMapping(source, types)))
    if paths := live_files(folder, first, last):
        relation, types = live_relation(connection, source, paths)
        parts.append(_Part(True, relation, RowMapping(live_mapping(source), types)))
    return parts


def _validate_days(
    connection: duckdb.DuckDBPyConnection, source: Source, folder: Path, first: date, last: date
) -> dict[str, int]:
    """Replace the days of the tables, and count the reasons by kind."""
    parts = _parts(connection, source, folder, first, last)
    if not parts:
        replace_days(connection, "validated_transactions", empty_select(validated_columns(source)), first, last)
        replace_days(connection, "quarantined_transactions", empty_select(QUARANTINE), first, last)
        replace_days(connection, "transaction_copies", empty_select(COPIES), first, last)
        return {}
    _map_rows(connection, parts)
    _check_unit(connection, source)
    _find_bad_rows(connection, parts, first)
    columns = ", ".join(quoted(name) for name in validated_columns(source))
    good = (
        f"SELECT {columns} FROM mapped_rows m ANTI JOIN bad_rows b ON _file = b.source_file AND _row = b.source_row "
        "ANTI JOIN copied_rows c ON _file = c.source_file AND _row = c.source_row"
    )
    replace_days(connection, "validated_transactions", good, first, last)
    for table, columns, rows in (
        ("quarantined_transactions", QUARANTINE, "bad_rows"),
        ("transaction_copies", COPIES, "copied_rows"),
    ):
        replace_days(connection, table, f"SELECT {', '.join(columns)} FROM {rows}", first, last)
    return dict(
        connection.execute(
            "SELECT unnest(kinds) AS kind, count(*) FROM bad_rows GROUP BY kind ORDER BY 2 DESC, 1"
        ).fetchall()
    )


def _map_rows(connection: duckdb.DuckDBPyConnection, parts: list[_Part]) -> None:
    """`mapped_rows`: every row typed, with `_bad` where something is wrong with the row alone."""
    rows = " UNION ALL BY NAME ".join(map(_mapped, parts))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE mapped_rows AS {rows}")


def _mapped(part: _Part) -> str:
    mapping, types = part.mapping, validated_columns(part.mapping.source)
    values = [f"TRY_CAST({value} AS {types[name]}) AS {quoted(name)}" for name, value in mapping.values.items()]
    fraction = next((problem.condition for problem in mapping.problems if problem.kind == FRACTION), "false")
    return f"""SELECT _file, _row, {part.live} AS live, CAST(_event_time AS DATE) AS day,
            epoch_us(_event_time) AS event_us, _event_time AS event_time,
            {", ".join(values)}, {any_of(mapping.problems)} AS _bad, coalesce({fraction}, false) AS _fraction
        FROM {part.relation}"""


def _check_unit(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    if source.amount.unit != "minor":
        return
    counted = (
        "SELECT count(*) FILTER (_fraction), count(*) FILTER (_fraction OR amount_cents IS NOT NULL) "
        "FROM mapped_rows WHERE NOT live"
    )
    fractions, amounts = connection.execute(counted).fetchone() or (0, 0)
    if amounts >= FEWEST_AMOUNTS and 2 * fractions > amounts:
        raise SourceError(
            f"{source.file}: amount.unit: is minor, but {fractions} of {amounts} values of "
            f"{source.amount.column!r} have a fraction. "
            "Set `unit: major`."
        )


def _find_bad_rows(connection: duckdb.DuckDBPyConnection, parts: list[_Part], first: date) -> None:
    """`bad_rows`: the columns of the quarantine and `kinds`, for rows that are bad alone or repeat an id.

    In several statements: in one, DuckDB joins the raw rows before it knows that few of them are bad.
    """
    find_duplicates(connection, first)
    rows = " UNION ALL BY NAME ".join(
        f"SELECT {_bad_columns(part.mapping)} FROM (FROM flagged_rows WHERE _bad_live = {part.live}) "
        f"JOIN {part.relation} ON _file = _bad_file AND _row = _bad_row"
        for part in parts
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE bad_rows AS {rows}")


def _bad_columns(mapping: RowMapping) -> str:
    """What a bad row looks like in quarantine. The checks read the raw columns, whose names may be anything."""
    problems = [*mapping.problems, duplicate_problem()]
    return (
        "_bad_day AS day, _file AS source_file, _row AS source_row, _bad_id AS transaction_id, "
        f"{reasons_of(problems)} AS reasons, {mapping.original} AS original, {kinds_of(problems)} AS kinds"
    )


def _quarantine_undated(connection: duckdb.DuckDBPyConnection, path: Path, reasons: dict[str, int]) -> int:
    """Replace all quarantined rows without a day by those of the file; adds to the counts in `reasons`."""
    connection.execute("DELETE FROM quarantined_transactions WHERE day IS NULL")
    if not path.exists():
        return 0
    file = f"read_parquet({literal(str(path))})"
    (count,) = connection.execute(
        f"""INSERT INTO quarantined_transactions BY NAME
        SELECT CAST(NULL AS DATE) AS day, _file AS source_file, _row AS source_row,
        _transaction_id AS transaction_id, _reasons AS reasons, _original AS original FROM {file}"""
    ).fetchone() or (0,)
    for kind, rows in connection.execute(
        f"SELECT unnest(_kinds) AS kind, count(*) FROM {file} GROUP BY kind ORDER BY kind"
    ).fetchall():
        reasons[kind] = reasons.get(kind, 0) + rows
    return int(count)


def _revalidate_later_days(
    connection: duckdb.DuckDBPyConnection, source: Source, folder: Path, last: date
) -> tuple[date, ...]:
    """Validate again the later days whose duplicates are others now: the order of runs does not matter."""
    done: list[date] = []
    after = last
    while (day := _stale_day(connection, folder, after)) is not None:
        _validate_days(connection, source, folder, day, day)
        done.append(day)
        after = day
    return tuple(done)


def _stale_day(connection: duckdb.DuckDBPyConnection, folder: Path, after: date) -> date | None:
    """The first later day with raw rows whose duplicates or copies are others now."""
    days = stale_days(connection, after)
    return next((day for day in days if day_files(folder, day, day) or live_files(folder, day, day)), None)


def identifier(source: Source, types: Mapping[str, str]) -> str:
    """SQL of the transaction id of a raw row."""
    column = source.columns["transaction_id"]
    return as_text(quoted(column), "BIGINT" if column == ROW_NUMBER else types[column])
