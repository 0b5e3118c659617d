"""Row validation: good rows become typed rows of `validated_transactions`, bad ones are quarantined with every reason.

DuckDB does all the work in SQL, one run is one transaction, and validating a day again changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from fraud_platform.errors import SourceError
from fraud_platform.transactions import contract
from fraud_platform.transactions.mapping import FRACTION, Problem, as_text, literal, quoted
from fraud_platform.transactions.reading import UNDATED_FILE, unreadable_share
from fraud_platform.transactions.row_checks import RowMapping, any_of, check_columns, kinds_of, reasons_of
from fraud_platform.transactions.source_schema import ROW_NUMBER, Source
from fraud_platform.warehouse import day_file, day_files, replace_days, transaction

DUPLICATE = "transaction_id: duplicate"
MARK = " is a duplicate; the first is of "
"""By which the reason of a duplicate is recognised in quarantine."""

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
        unreadable_share: lines that are no rows and rows without a readable time, among the rows of the files
            that the range is from, as far as these were landed; exact once all their days were.
    """

    accepted: dict[date, int]
    quarantined: dict[date, int]
    undated: int
    reasons: dict[str, int]
    revalidated: tuple[date, ...] = ()
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
        folder: the raw day files that `reading.land` wrote.

    Of rows that share a transaction_id the first good one by (event time, file, row) is kept, over all
    days: an id that was accepted on an earlier day is a duplicate. Rows without a day are quarantined as
    a whole, every run, and are not compared for duplicates.

    Raises:
        SourceError: the raw columns do not fit the source, or `amount.unit` is plainly wrong.
    """
    with transaction(connection):
        _create_tables(connection, source)
        reasons = _validate_days(connection, source, folder, first, last)
        undated = _quarantine_undated(connection, folder / UNDATED_FILE, reasons)
        revalidated = _revalidate_later_days(connection, source, folder, last)
        for table in ("mapped_rows", "flagged_rows", "bad_rows"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    accepted = _rows_per_day(connection, "validated_transactions", first, last)
    quarantined = _rows_per_day(connection, "quarantined_transactions", first, last)
    unreadable = unreadable_share(connection, folder, day_files(folder, first, last))
    return Validated(accepted, quarantined, undated, reasons, revalidated, unreadable)


def validated_columns(source: Source) -> dict[str, str]:
    """Columns of validated_transactions with their DuckDB types, in order."""
    columns = {"day": "DATE", "event_us": "BIGINT"}
    columns |= {column.name: contract.DUCKDB_TYPES[column.type] for column in contract.TRANSACTION}
    return columns | {name: "DOUBLE" if a.type == "number" else "VARCHAR" for name, a in source.attributes.items()}


def create_table(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str]) -> None:
    """Create a table unless it exists. (Not AS an empty SELECT: see `warehouse.replace_days`.)"""
    listed = ", ".join(f"{quoted(name)} {type_}" for name, type_ in columns.items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({listed})")


def empty_select(columns: Mapping[str, str]) -> str:
    """A SELECT with these columns and no rows."""
    return (
        f"SELECT {', '.join(f'CAST(NULL AS {type_}) AS {quoted(name)}' for name, type_ in columns.items())} WHERE false"
    )


def _create_tables(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    for table, columns in (
        ("validated_transactions", validated_columns(source)),
        ("quarantined_transactions", QUARANTINE),
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
    return relation, {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def _validate_days(
    connection: duckdb.DuckDBPyConnection, source: Source, folder: Path, first: date, last: date
) -> dict[str, int]:
    """Replace the days of both tables, and count the reasons by kind."""
    paths = day_files(folder, first, last)
    if not paths:
        replace_days(connection, "validated_transactions", empty_select(validated_columns(source)), first, last)
        replace_days(connection, "quarantined_transactions", empty_select(QUARANTINE), first, last)
        return {}
    relation, types = raw_relation(connection, paths)
    check_columns(source, str(folder), types)
    mapping = RowMapping(source, types)
    _map_rows(connection, mapping, relation)
    _check_unit(connection, source)
    _find_bad_rows(connection, mapping, relation, first)
    columns = ", ".join(quoted(name) for name in validated_columns(source))
    good = (
        f"SELECT {columns} FROM mapped_rows m ANTI JOIN bad_rows b ON m._file = b.source_file AND m._row = b.source_row"
    )
    bad = f"SELECT {', '.join(QUARANTINE)} FROM bad_rows"
    replace_days(connection, "validated_transactions", good, first, last)
    replace_days(connection, "quarantined_transactions", bad, first, last)
    return dict(
        connection.execute(
            "SELECT unnest(kinds) AS kind, count(*) FROM bad_rows GROUP BY kind ORDER BY 2 DESC, 1"
        ).fetchall()
    )


def _map_rows(connection: duckdb.DuckDBPyConnection, mapping: RowMapping, relation: str) -> None:
    """`mapped_rows`: every row typed, with `_bad` where something is wrong with the row alone."""
    types = validated_columns(mapping.source)
    values = [f"TRY_CAST({value} AS {types[name]}) AS {quoted(name)}" for name, value in mapping.values.items()]
    fraction = next((problem.condition for problem in mapping.problems if problem.kind == FRACTION), "false")
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE mapped_rows AS
        SELECT _file, _row, CAST(_event_time AS DATE) AS day, epoch_us(_event_time) AS event_us,
            _event_time AS event_time,
            {", ".join(values)}, {any_of(mapping.problems)} AS _bad, coalesce({fraction}, false) AS _fraction
        FROM {relation}"""
    )


def _check_unit(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    if source.amount.unit != "minor":
        return
    counted = (
        "SELECT count(*) FILTER (_fraction), count(*) FILTER (_fraction OR amount_cents IS NOT NULL) FROM mapped_rows"
    )
    fractions, amounts = connection.execute(counted).fetchone() or (0, 0)
    if amounts >= FEWEST_AMOUNTS and 2 * fractions > amounts:
        raise SourceError(
            f"{source.file}: amount.unit: is minor, but {fractions} of {amounts} values of "
            f"{source.amount.column!r} have a fraction. "
            "Set `unit: major`."
        )


def _find_bad_rows(connection: duckdb.DuckDBPyConnection, mapping: RowMapping, relation: str, first: date) -> None:
    """`bad_rows`: the columns of the quarantine and `kinds`, for rows that are bad alone or repeat an id.

    In two statements: in one, DuckDB joins the raw rows before it knows that few of them are bad.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE flagged_rows AS
        WITH earlier AS (
            SELECT transaction_id, min(event_us) AS event_us FROM validated_transactions
            WHERE day < DATE '{first}' AND transaction_id IN (SELECT transaction_id FROM mapped_rows)
            GROUP BY transaction_id
        ), repeated AS (
            SELECT transaction_id FROM mapped_rows GROUP BY transaction_id HAVING count(*) > 1
        ), candidates AS (
            SELECT _file, _row, transaction_id, event_us, _bad FROM mapped_rows
            WHERE transaction_id IN (SELECT transaction_id FROM repeated)
                OR transaction_id IN (SELECT transaction_id FROM earlier)
        ), kept AS (
            SELECT transaction_id, event_us, '' AS _file, 0 AS _row FROM earlier
            UNION ALL
            SELECT transaction_id, (least_row).event_us, (least_row)._file, (least_row)._row FROM (
                SELECT transaction_id, min({{event_us: event_us, _file: _file, _row: _row}}) AS least_row
                FROM candidates ANTI JOIN earlier USING (transaction_id) WHERE NOT _bad GROUP BY transaction_id)
        ), duplicates AS (
            SELECT c._file, c._row, k.event_us AS kept_us FROM candidates c JOIN kept k USING (transaction_id)
            WHERE (c.event_us, c._file, c._row) > (k.event_us, k._file, k._row)
        )
        SELECT m._file AS _bad_file, m._row AS _bad_row, m.day AS _bad_day, m.transaction_id AS _bad_id,
            d.kept_us AS _kept_us
        FROM mapped_rows m LEFT JOIN duplicates d ON m._file = d._file AND m._row = d._row
        WHERE m._bad OR d.kept_us IS NOT NULL"""
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE bad_rows AS
        SELECT {_bad_columns(mapping)} FROM flagged_rows JOIN {relation} ON _file = _bad_file AND _row = _bad_row"""
    )


def _duplicate_reason(transaction_id: str, kept_us: str) -> str:
    return (
        f"'transaction_id: ' || {transaction_id} || '{MARK}' || strftime(make_timestamp({kept_us}), "
        "'%Y-%m-%d %H:%M:%S')"
    )


def _bad_columns(mapping: RowMapping) -> str:
    """What a bad row looks like in quarantine. The checks read the raw columns, whose names may be anything."""
    duplicate = Problem(
        DUPLICATE,
        "_kept_us IS NOT NULL",
        _duplicate_reason("_bad_id", "_kept_us"),
    )
    problems = [*mapping.problems, duplicate]
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
    """The first later day with raw rows that has an accepted id repeated, or a duplicate of another first."""
    stale = connection.execute(
        f"""SELECT DISTINCT day FROM validated_transactions WHERE day > DATE '{after}' AND transaction_id IN (
            SELECT transaction_id FROM validated_transactions WHERE day <= DATE '{after}')
        UNION
        SELECT DISTINCT q.day FROM quarantined_transactions q LEFT JOIN validated_transactions v USING (transaction_id)
            WHERE q.day > DATE '{after}' AND len(list_filter(q.reasons, lambda reason: contains(reason, '{MARK}'))) > 0
            AND NOT coalesce(list_contains(q.reasons, {_duplicate_reason("v.transaction_id", "v.event_us")}), false)
        ORDER BY day"""
    ).fetchall()
    return next((day for (day,) in stale if day_file(folder, day).exists()), None)


def identifier(source: Source, types: Mapping[str, str]) -> str:
    """SQL of the transaction id of a raw row."""
    column = source.columns["transaction_id"]
    return as_text(quoted(column), "BIGINT" if column == ROW_NUMBER else types[column])
