"""Draft a source's YAML file from a sample of its data, saying where it guessed."""

import json
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from fraud_platform.errors import UnreadableData
from fraud_platform.transactions import contract
from fraud_platform.transactions.column_guess import (
    FRAUD_TYPE,
    SampledColumn,
    TimeGuess,
    channel_words,
    decimal_mark,
    decimals_seen,
    guess_amount,
    guess_columns,
    guess_label,
    guess_time,
    named,
)
from fraud_platform.transactions.csv_text import open_bytes, prepare
from fraud_platform.transactions.mapping import as_text, literal, quoted, time_value
from fraud_platform.transactions.source_schema import RESERVED, CsvOptions, TimeColumn
from fraud_platform.transactions.staging import csv_relation

SAMPLE_ROWS = 5_000
START_BYTES = 2**20


def draft_source(file: Path) -> str:
    """The YAML text of a source for one CSV, gzipped CSV or Parquet file.

    Everything is guessed from the names, types and first rows of the columns; the days come from all
    rows. What could not be guessed is a line to fill in, and columns without a guess are attributes in
    comments.

    Raises:
        UnreadableData: the file is missing, empty, or neither CSV nor Parquet.
    """
    if not file.is_file():
        raise UnreadableData(f"{file}: there is no such file. Give one CSV, CSV.gz or Parquet file to draft from.")
    with TemporaryDirectory() as scratch:
        connection = duckdb.connect()
        try:
            connection.execute("SET TimeZone = 'UTC'")
            options, relation = _open(file, Path(scratch))
            columns = _sample(connection, file, relation)
            time = guess_time(columns)
            days = _days(connection, relation, columns, time) if time else None
        except duckdb.Error as error:
            raise UnreadableData(
                f"{file}: cannot be read: {str(error).splitlines()[0]}. Give a CSV or Parquet file."
            ) from error
        finally:
            connection.close()
    return "\n".join(_render(file, options, columns, time, days)) + "\n"


def _open(file: Path, scratch: Path) -> tuple[CsvOptions | None, str]:
    """How the file is cut (None for Parquet), and the SQL that reads it."""
    with file.open("rb") as start:
        if start.read(4) == b"PAR1":
            return None, f"read_parquet({literal(str(file))}, hive_partitioning=false)"
    try:
        with open_bytes(file) as opened:
            head = opened.read(START_BYTES)
    except (OSError, EOFError) as error:
        raise UnreadableData(f"{file}: cannot be read: {error}. Give a CSV, CSV.gz or Parquet file.") from error
    options = _csv_options(head)
    prepared = prepare(file, options, scratch)
    if prepared is None:
        raise UnreadableData(f"{file}: has no rows to draft from. Give a file with a header and some data.")
    return options, csv_relation(prepared, options)


def _csv_options(head: bytes) -> CsvOptions:
    """The delimiter is the mark that cuts the header into most fields and occurs in the first rows as often."""
    try:
        head.decode("utf-8")
        encoding = "utf-8"
    except UnicodeDecodeError as error:
        encoding = "utf-8" if error.start > len(head) - 4 else "latin-1"
    lines = [re.sub(r'"[^"]*"', "", line) for line in head.decode("latin-1").splitlines()[:20] if line.strip()]

    def evidence(mark: str) -> tuple[float, int]:
        counts = [line.count(mark) for line in lines]
        return (
            sum(count == counts[0] for count in counts) / len(counts) if counts and counts[0] else 0.0,
            counts[0] if counts else 0,
        )

    delimiter = max((",", ";", "\t", "|"), key=lambda mark: (evidence(mark)[1] > 0, *evidence(mark)))
    return CsvOptions(delimiter=delimiter, encoding=encoding)  # type: ignore[arg-type]


def _sample(connection: duckdb.DuckDBPyConnection, file: Path, relation: str) -> list[SampledColumn]:
    types = [(row[0], row[1]) for row in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()]
    texts = ", ".join(as_text(quoted(name), type_) for name, type_ in types)
    rows = connection.execute(f"SELECT {texts} FROM {relation} LIMIT {SAMPLE_ROWS}").fetchall()
    if not rows:
        raise UnreadableData(f"{file}: has no rows to draft from. Give a file with a header and some data.")
    return [
        SampledColumn(name, type_, values) for (name, type_), values in zip(types, zip(*rows, strict=True), strict=True)
    ]


def _days(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[SampledColumn], time: TimeGuess
) -> tuple[date, date] | None:
    column = TimeColumn(column=time.column, format=time.format, origin=date.fromisoformat(time.origin or "1970-01-01"))
    type_ = next(sampled.type for sampled in columns if sampled.name == time.column)
    value = time_value(column, quoted(time.column), type_)
    extent = (
        f"SELECT CAST(min(t) AS DATE), CAST(max(t) AS DATE) FROM (SELECT {value} AS t FROM {relation}) "
        f"WHERE t >= TIMESTAMP '{contract.EARLIEST_EVENT}'"
    )
    first, last = connection.execute(extent).fetchone() or (None, None)
    return (first, last) if first and last else None


def _word(text: str) -> str:
    """A text as YAML, quoted where it must be."""
    plain = re.fullmatch(r"[A-Za-z_][\w/-]*", text) and text.lower() not in {
        "true",
        "false",
        "null",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
    }
    return text if plain else json.dumps(text, ensure_ascii=False)


def _render(
    file: Path,
    options: CsvOptions | None,
    columns: Sequence[SampledColumn],
    time: TimeGuess | None,
    days: tuple[date, date] | None,
) -> list[str]:
    mark = decimal_mark(columns)
    guessed = guess_columns(columns)
    amount = guess_amount(columns)
    lines = [
        f"# Drafted from {file.name}. Check every line marked GUESS, complete every line marked FILL IN.",
        f"description: {_word('Transactions of ' + file.name)}",
        f"format: {'csv' if options else 'parquet'}",
        f"path: {_word(str(file))}",
    ]
    if options:
        lines.append(f"csv: {{delimiter: {json.dumps(options.delimiter)}, quote: '\"', encoding: {options.encoding}}}")
    first, last = days or (None, None)
    lines.append(f"first_day: {first}" if first else "# first_day:   # FILL IN: the UTC day of the first event")
    lines.append(f"last_day: {last}   # leave it out where data will go on arriving" if last else "# last_day:")
    lines += _time_lines(time)
    lines += _amount_lines(amount, mark)
    lines += _column_lines(columns, guessed)
    used = {*guessed.values(), *([time.column] if time else []), *([amount.name] if amount else [])}
    label_lines, label_columns = _label_lines(columns)
    rest = [column for column in columns if column.name not in used | label_columns]
    return [*lines, *_attribute_lines(rest), *label_lines]


def _time_lines(time: TimeGuess | None) -> list[str]:
    if time is None:
        return ["# event_time: {column: ..., format: iso, zone: UTC}   # FILL IN: no column of times was found"]
    origin = f", origin: {time.origin}" if time.origin else ""
    note = f"   # {time.note}" if time.note else ""
    return [f"event_time: {{column: {_word(time.column)}, format: {_word(time.format)}, zone: UTC{origin}}}{note}"]


def _amount_lines(amount: SampledColumn | None, mark: str) -> list[str]:
    if amount is None:
        return ["# amount: {column: ..., unit: major, decimals: 2}   # FILL IN: no column of amounts was found"]
    mark = mark if amount.type == "VARCHAR" else "."
    seen = decimals_seen(amount, mark)
    minor = seen == 0 and re.search(r"cents|minor", amount.name.lower()) is not None
    note = "" if seen or minor else "   # GUESS: whole numbers; say `unit: minor` if they are cents"
    unit = "minor" if minor else "major"
    return [
        f"amount: {{column: {_word(amount.name)}, unit: {unit}, decimals: {max(2, seen)},"
        f' decimal_mark: "{mark}"}}{note}'
    ]


def _column_lines(columns: Sequence[SampledColumn], guessed: dict[str, str]) -> list[str]:
    lines = ["columns:   # GUESS: by name; contract column on the left, column of the file on the right"]
    by_name = {column.name: column for column in columns}
    if "transaction_id" not in guessed:
        lines.append(
            "  transaction_id: _row   # GUESS: no unique id was found; the number of the row serves, for one file"
        )
    if "customer_id" not in guessed:
        lines.append("  # customer_id: ...   # FILL IN: the account or card holder")
    lines += [f"  {name}: {_word(guessed[name])}" for name in contract.TRANSACTION_COLUMNS if name in guessed]
    if "channel" in guessed and (words := channel_words(by_name[guessed["channel"]])):
        pairs = ", ".join(f"{_word(word)}: {meaning}" for word, meaning in words.items())
        lines += ["values:", f"  channel: {{{pairs}}}   # GUESS"]
    return lines


def _attribute_lines(rest: Sequence[SampledColumn]) -> list[str]:
    if not rest:
        return []
    lines = [
        "# Columns without a place in the contract. Uncomment those that a model or an analyst may want.",
        "# attributes:",
    ]
    taken = set(RESERVED)
    for column in rest:
        base = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name).lower()).strip("_")
        name = base = base if base[:1].isalpha() else f"column_{base}"
        number = 1
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        lines.append(f"#   {name}: {{column: {_word(column.name)}, type: {'number' if column.is_number else 'text'}}}")
    return lines


def _label_lines(columns: Sequence[SampledColumn]) -> tuple[list[str], set[str]]:
    label = guess_label(columns)
    if label is None:
        return ["# labels:   # no label column was found", "#   is_fraud: {column: ..., fraud_values: ['1']}"], set()
    column, words = label
    fraud_type = named(columns, FRAUD_TYPE, lambda sampled: sampled.name != column.name)
    lines = [
        "labels:",
        f"  is_fraud: {{column: {_word(column.name)}, fraud_values: {json.dumps(words)}}}",
    ]
    if fraud_type is not None:
        lines.append(f"  fraud_type: {{column: {_word(fraud_type.name)}}}")
    lines.append("  delay_days: 7   # GUESS: after so many days an unreported event counts as legitimate")
    lines.append("  source: chargeback   # GUESS: chargeback, analyst, customer or simulated")
    return lines, {column.name, *([fraud_type.name] if fraud_type else [])}
