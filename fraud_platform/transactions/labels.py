"""Labels: what was reported about fraud, and when it became known.

A label counts from its `reported_at` on, never before: who reads labels says as of which moment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import duckdb

from fraud_platform.transactions import contract
from fraud_platform.transactions.live import FEEDBACK_COLUMNS, live_files, live_labels
from fraud_platform.transactions.mapping import Problem, as_text, literal, quoted, shown, time_problems, time_value
from fraud_platform.transactions.row_checks import (
    RAW_COLUMNS,
    any_of,
    check_columns,
    contract_problems,
    kinds_of,
    reasons_of,
)
from fraud_platform.transactions.source_schema import ROW_NUMBER, Labels, Source
from fraud_platform.transactions.validation import QUARANTINE, empty_select, identifier, raw_relation, validated_columns
from fraud_platform.warehouse import (
    create_table,
    day_file,
    day_files,
    remove_other_days,
    replace_days,
    transaction,
    write_files,
)

LABEL_COLUMNS: dict[str, str] = {"day": "DATE"} | {
    column.name: contract.DUCKDB_TYPES[column.type] for column in contract.LABEL
}
"""Columns of validated_labels; `day` is the day of the labelled event."""


@dataclass(frozen=True)
class ValidatedLabels:
    """What a validation run of labels did: rows per day of the event, and bad labels per kind of reason."""

    accepted: dict[date, int]
    quarantined: dict[date, int]
    reasons: dict[str, int]


def land_labels(source: Source, raw_transactions: Path, folder: Path, first: date, last: date) -> dict[date, int]:
    """Cut the label columns out of the raw transactions into `<folder>/YYYY-MM-DD.parquet`, by day of the event.

    A file holds the source's transaction id and label columns as read, `_file`, `_row` and `_event_time`.

    Returns:
        Rows per day; empty where the source has no labels.
    """
    rows: dict[date, int] = {}
    connection = duckdb.connect()
    try:
        writers: list[tuple[Path, Callable[[Path], None]]] = []
        for path in day_files(raw_transactions, first, last) if source.labels else ():
            relation, types = raw_relation(connection, [path])
            check_columns(source, str(path), types)
            (rows[date.fromisoformat(path.stem)],) = connection.execute(
                f"SELECT count(*) FROM {relation}"
            ).fetchone() or (0,)
            columns = ", ".join(map(quoted, dict.fromkeys([*_columns(source), *RAW_COLUMNS])))
            writers.append(
                (
                    day_file(folder, date.fromisoformat(path.stem)),
                    partial(_copy, connection, f"SELECT {columns} FROM {relation}"),
                )
            )
        write_files(writers)
    finally:
        connection.close()
    remove_other_days(folder, first, last, rows)
    return rows


def _columns(source: Source) -> list[str]:
    used = source.used_columns
    names = [column for key, column in used.items() if key.startswith("labels.")]
    identifier_column = source.columns["transaction_id"]
    return names if identifier_column == ROW_NUMBER else [identifier_column, *names]


def _copy(connection: duckdb.DuckDBPyConnection, select: str, target: Path) -> None:
    connection.execute(f"COPY ({select}) TO {literal(str(target))} (FORMAT parquet)")


def validate_labels(
    connection: duckdb.DuckDBPyConnection, source: Source, folder: Path, first: date, last: date
) -> ValidatedLabels:
    """Replace the days [first, last] of `validated_labels` and `quarantined_labels`.

    With `labels.reported_at` every row that has a report becomes a label, fraud or not; rows without a
    report have no label yet. Without it only frauds become labels, reported `delay_days` after the event:
    an event that is older than the delay and has no label counts as legitimate, so that rows for the
    other 99 % would say nothing. Bad labels (no usable id, unreadable verdict, unreadable report time,
    reported before the event) are quarantined with every reason; the same label twice is one label.

    A label that came through the service belongs to the day of its validated transaction, and waits until
    there is one. Of those reported before the event (a verdict on a payment that was still on its way) the
    last counts, from the event on.

    Args:
        folder: the raw label files that `land_labels` wrote, and those of `live` below it.
    """
    with transaction(connection):
        create_table(connection, "validated_labels", LABEL_COLUMNS)
        create_table(connection, "quarantined_labels", QUARANTINE)
        parts: list[str] = []
        if source.labels and (paths := day_files(folder, first, last)):
            parts.append(_judged(source, source.labels, *raw_relation(connection, paths)))
        if paths := live_files(folder):
            create_table(connection, "validated_transactions", validated_columns(source))
            parts.append(_judged_live(paths, first, last))
        good, bad = empty_select(LABEL_COLUMNS), empty_select(QUARANTINE)
        if parts:
            rows = " UNION ALL BY NAME ".join(parts)
            connection.execute(f"CREATE OR REPLACE TEMP TABLE judged_labels AS {rows}")
            good = (
                f"SELECT DISTINCT {', '.join(LABEL_COLUMNS)} FROM judged_labels WHERE reasons IS NULL "
                "ORDER BY day, transaction_id, reported_at"
            )
            bad = f"SELECT {', '.join(QUARANTINE)} FROM judged_labels WHERE reasons IS NOT NULL"
        replace_days(connection, "validated_labels", good, first, last)
        replace_days(connection, "quarantined_labels", bad, first, last)
        kinds = "SELECT unnest(kinds) AS kind, count(*) FROM judged_labels GROUP BY kind ORDER BY 2 DESC, 1"
        reasons = dict(connection.execute(kinds).fetchall()) if parts else {}
        connection.execute("DROP TABLE IF EXISTS judged_labels")
    per_day = "SELECT day, count(*) FROM {} WHERE day BETWEEN ? AND ? GROUP BY day ORDER BY day"
    accepted, quarantined = (
        dict(connection.execute(per_day.format(table), [first, last]).fetchall())
        for table in ("validated_labels", "quarantined_labels")
    )
    return ValidatedLabels(accepted, quarantined, reasons)


def _judged(source: Source, labels: Labels, relation: str, types: dict[str, str]) -> str:
    """SQL of every label that the source reports, typed, with the reasons why it is bad or NULL."""
    verdict, problems = _verdict(labels, types)
    id_sql = identifier(source, types)
    problems = [*contract_problems(contract.LABEL[0], id_sql), *problems]
    problems.insert(0, Problem("transaction_id: missing", f"({id_sql}) IS NULL", "'transaction_id: missing'"))
    reported = f"(_event_time + INTERVAL {labels.delay_days} DAY)"
    wanted = f"coalesce({verdict}, true)"
    if labels.reported_at is not None:
        column, type_ = quoted(labels.reported_at.column), types[labels.reported_at.column]
        reported = time_value(labels.reported_at, column, type_)
        problems += time_problems("reported_at", labels.reported_at, column, type_, required=False)
        early = (
            f"'reported_at: ' || CAST({reported} AS VARCHAR) || ' is before the event at ' || "
            "CAST(_event_time AS VARCHAR)"
        )
        problems.append(Problem("reported_at: before the event", f"({reported}) < _event_time", early))
        wanted = f"({as_text(column, type_)}) IS NOT NULL"
    fraud_type = "CAST(NULL AS VARCHAR)"
    if labels.fraud_type is not None:
        fraud_type = (
            f"CASE WHEN {verdict} THEN {as_text(quoted(labels.fraud_type.column), types[labels.fraud_type.column])} END"
        )
    original = ", ".join(f"{literal(name)}: {quoted(name)}" for name in types if name not in RAW_COLUMNS)
    return f"""SELECT _file AS source_file, _row AS source_row, CAST(_event_time AS DATE) AS day,
            {id_sql} AS transaction_id, {verdict} AS is_fraud, {reported} AS reported_at,
            {literal(labels.source)} AS source, {fraud_type} AS fraud_type, {_judgement(problems, original)}
        FROM {relation} WHERE {wanted}"""


def _judged_live(paths: list[Path], first: date, last: date) -> str:
    """SQL of the labels of the days' transactions that came through the service, as `_judged`."""
    problems = [problem for column in contract.LABEL for problem in contract_problems(column, quoted(column.name))]
    original = ", ".join(f"{literal(name)}: {quoted(name)}" for name in FEEDBACK_COLUMNS)
    return f"""SELECT _file AS source_file, _row AS source_row, event_day AS day, transaction_id, is_fraud,
            greatest(reported_at, event_time) AS reported_at, source,
            CASE WHEN is_fraud THEN fraud_type END AS fraud_type, {_judgement(problems, original)}
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY transaction_id, reported_at <= event_time ORDER BY reported_at DESC, is_fraud DESC
            ) AS _age
            FROM {live_labels(paths)} JOIN (
                SELECT transaction_id, day AS event_day, event_time FROM validated_transactions
                WHERE day BETWEEN DATE '{first}' AND DATE '{last}'
            ) USING (transaction_id)
        ) WHERE reported_at > event_time OR _age = 1"""


def _judgement(problems: list[Problem], original: str) -> str:
    """SQL of `reasons`, `kinds` and `original`, NULL where the label is good."""
    columns = {"reasons": reasons_of(problems), "kinds": kinds_of(problems)}
    columns["original"] = f"CAST(to_json({{{original}}}) AS VARCHAR)"
    return ", ".join(f"CASE WHEN {any_of(problems)} THEN {value} END AS {name}" for name, value in columns.items())


def _verdict(labels: Labels, types: dict[str, str]) -> tuple[str, list[Problem]]:
    """SQL of the verdict (NULL where unreadable) and what can be wrong with it."""
    part = labels.is_fraud
    text = as_text(quoted(part.column), types[part.column])
    word = f"lower(regexp_replace({text}, '^(\\d+)\\.0+$', '\\1'))"
    fraud = ", ".join(literal(value.lower()) for value in part.fraud_values)
    legitimate = part.legitimate
    otherwise = (
        "false" if legitimate is None else f"CASE WHEN {word} IN ({', '.join(map(literal, legitimate))}) THEN false END"
    )
    verdict = f"(CASE WHEN {text} IS NULL THEN NULL WHEN {word} IN ({fraud}) THEN true ELSE {otherwise} END)"
    expected = f" is neither fraud ({', '.join(part.fraud_values)}) nor legitimate ({', '.join(legitimate or ())})"
    return verdict, [
        Problem("is_fraud: missing", f"{text} IS NULL", "'is_fraud: missing'"),
        Problem(
            "is_fraud: unreadable",
            f"{text} IS NOT NULL AND {verdict} IS NULL",
            f"'is_fraud: ' || {shown(text)} || {literal(expected)}",
        ),
    ]
