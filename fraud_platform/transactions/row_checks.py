"""What a raw row becomes, and everything that can be wrong with it, as SQL over the raw columns.

Generated from the contract and the source, for the column types that the raw data have. Duplicates
need more than one row, and are found in `validation`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from fraud_platform.errors import SourceError
from fraud_platform.transactions import contract
from fraud_platform.transactions.mapping import (
    INTEGERS,
    TIMES,
    ZONED_TIMES,
    Problem,
    amount_problems,
    amount_value,
    as_number,
    as_text,
    literal,
    number_problem,
    quoted,
    shown,
    time_problems,
    time_value,
    translated,
)
from fraud_platform.transactions.source_schema import ROW_NUMBER, Source, TimeColumn

EARLY, LATE = "event_time: too early", "event_time: too late"
OUT_OF_RANGE = (EARLY, LATE)
"""Kinds of rows whose time can be read, and is outside the days of the source."""

RAW_COLUMNS = ("_file", "_row", "_event_time")
"""What landing adds to the columns of the source."""


@dataclass(frozen=True)
class RowMapping:
    """The SQL that maps and checks raw rows whose columns have the given DuckDB types."""

    source: Source
    types: Mapping[str, str]

    @cached_property
    def event_time(self) -> str:
        """TIMESTAMP in UTC, or NULL."""
        time = self.source.event_time
        return time_value(time, quoted(time.column), self.types[time.column])

    @cached_property
    def values(self) -> dict[str, str]:
        """SQL of each column of the contract but event_time, NULL where the source lacks it, then of each attribute."""
        mapped = {
            name: self._value(column) for name, column in contract.TRANSACTION_COLUMNS.items() if name != "event_time"
        }
        for name, attribute in self.source.attributes.items():
            column, type_ = quoted(attribute.column), self.types[attribute.column]
            number = attribute.type == "number"
            mapped[name] = (
                as_number(column, type_, self.source.amount.decimal_mark) if number else as_text(column, type_)
            )
        return mapped

    def _value(self, column: contract.Column) -> str:
        type_ = contract.DUCKDB_TYPES[column.type]
        if column.name == "amount_cents":
            amount = self.source.amount
            return amount_value(amount, quoted(amount.column), self.types[amount.column])
        if column.name not in self.source.columns:
            return f"CAST(NULL AS {type_})"
        raw, raw_type = self._raw(column.name)
        if column.type == "float64":
            return as_number(raw, raw_type, self.source.amount.decimal_mark)
        return translated(as_text(raw, raw_type), self.source.values.get(column.name, {}))

    def _raw(self, name: str) -> tuple[str, str]:
        column = self.source.columns[name]
        return quoted(column), "BIGINT" if column == ROW_NUMBER else self.types[column]

    @cached_property
    def time_problems(self) -> list[Problem]:
        """What can be wrong with the event time, its range included."""
        time = self.source.event_time
        name = "event_time"
        problems = time_problems(name, time, quoted(time.column), self.types[time.column])
        value = self.event_time
        first = max(self.source.first_day.isoformat(), contract.EARLIEST_EVENT)
        written = f"'event_time: ' || strftime({value}, '%Y-%m-%d %H:%M:%S') || "
        early = literal(f" UTC is before first_day {first}")
        problems.append(Problem(EARLY, f"({value}) < TIMESTAMP '{first}'", written + early))
        problems.append(Problem(LATE, f"({value}) >= {self.end}", written + literal(self._late)))
        return problems

    @property
    def end(self) -> str:
        """SQL of the instant from which on events are too late."""
        last = self.source.last_day
        return f"TIMESTAMP '{last}' + INTERVAL 1 DAY" if last else f"TIMESTAMP '{contract.LATEST_EVENT}'"

    @property
    def _late(self) -> str:
        last = self.source.last_day
        return f" UTC is after last_day {last}" if last else f" UTC is not before {contract.LATEST_EVENT}"

    def dated(self, event_time: str) -> str:
        """SQL condition: the event time, given as SQL, is readable and within the days of the source."""
        first = max(self.source.first_day.isoformat(), contract.EARLIEST_EVENT)
        return f"coalesce({event_time} >= TIMESTAMP '{first}' AND {event_time} < {self.end}, false)"

    @cached_property
    def problems(self) -> list[Problem]:
        """What can be wrong with the rest of the row."""
        return list(self._problems())

    def _problems(self) -> Iterator[Problem]:
        mark = self.source.amount.decimal_mark
        for column in contract.TRANSACTION:
            name = column.name
            if name == "amount_cents":
                amount = self.source.amount
                yield from amount_problems(amount, quoted(amount.column), self.types[amount.column])
            elif name == "event_time" or name not in self.source.columns:
                continue
            elif column.type == "float64":
                yield number_problem(name, *self._raw(name), mark)
            elif column.required:
                yield Problem(f"{name}: missing", f"({self.values[name]}) IS NULL", literal(f"{name}: missing"))
            yield from contract_problems(column, self.values[name])
        for name, attribute in self.source.attributes.items():
            if attribute.type == "number":
                yield number_problem(name, quoted(attribute.column), self.types[attribute.column], mark)

    @property
    def original(self) -> str:
        """SQL of the row as read, as JSON."""
        fields = ", ".join(f"{literal(name)}: {quoted(name)}" for name in self.types if name not in RAW_COLUMNS)
        return f"CAST(to_json({{{fields}}}) AS VARCHAR)"


def contract_problems(column: contract.Column, value: str) -> Iterator[Problem]:
    """The pattern, the words and the limits of one column of the contract."""
    name = column.name
    text = shown(f"({value})")
    if column.pattern:
        message = f"{literal(name + ': ')} || {text} || {literal(' does not match ' + column.pattern)}"
        yield Problem(f"{name}: pattern", f"NOT regexp_full_match({value}, {literal(column.pattern)})", message)
    if column.values:
        words = ", ".join(map(literal, column.values))
        message = f"{literal(name + ': ')} || {text} || {literal(' is not one of ' + ', '.join(column.values))}"
        yield Problem(f"{name}: unknown word", f"({value}) NOT IN ({words})", message)
    for limit, sign, word in ((column.minimum, "<", "below"), (column.maximum, ">", "above")):
        if limit is not None:
            bound = f"{limit:.0f}"
            message = f"{literal(name + ': ')} || CAST({value} AS VARCHAR) || {literal(f' is {word} {bound}')}"
            yield Problem(
                f"{name}: {word} {'minimum' if word == 'below' else 'maximum'}", f"({value}) {sign} {bound}", message
            )


def any_of(problems: list[Problem]) -> str:
    """SQL condition: the row has at least one of the problems."""
    return " OR ".join(f"coalesce({problem.condition}, false)" for problem in problems)


def reasons_of(problems: list[Problem]) -> str:
    """SQL of a list with the reason of every problem that the row has."""
    cases = ", ".join(f"CASE WHEN {problem.condition} THEN {problem.message} END" for problem in problems)
    return f"list_filter([{cases}], lambda reason: reason IS NOT NULL)"


def kinds_of(problems: list[Problem]) -> str:
    """SQL of a list with the kind of every problem that the row has."""
    cases = ", ".join(f"CASE WHEN {problem.condition} THEN {literal(problem.kind)} END" for problem in problems)
    return f"list_filter([{cases}], lambda kind: kind IS NOT NULL)"


def check_columns(source: Source, file: str, types: Mapping[str, str]) -> None:
    """Every column that the source names must be there, with a type that fits.

    Raises:
        SourceError: listing every key whose column is missing or unusable.
    """
    columns = [name for name in types if name not in RAW_COLUMNS]
    problems = []
    for key, column in source.used_columns.items():
        if column not in columns:
            near = get_close_matches(column.lower(), [name.lower() for name in columns], 1, 0.6)
            hint = f" Did you mean {next(name for name in columns if name.lower() == near[0])!r}?" if near else ""
            problems.append(f"{key}: {file} has no column {column!r}.{hint}")
    times: list[tuple[str, TimeColumn]] = [("event_time", source.event_time)]
    if source.labels and source.labels.reported_at:
        times.append(("labels.reported_at", source.labels.reported_at))
    for key, time in times:
        type_ = types.get(time.column, "VARCHAR")
        if type_ not in TIMES | ZONED_TIMES | {"VARCHAR"} and time.format == "iso":
            fix = (
                "format: epoch_s (or epoch_ms, epoch_us, epoch_h)"
                if type_ in INTEGERS
                else "the column that holds the time"
            )
            problems.append(f"{key}: column {time.column!r} of {file} holds {type_}, not a time. Say {fix}.")
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        one = (
            f" It has a single column: is `csv.delimiter` {source.csv.delimiter!r} right?"
            if len(columns) == 1 and source.format == "csv"
            else ""
        )
        raise SourceError(
            f"{source.file}: the data do not fit the source:{listed}\n  The file has the columns "
            f"{', '.join(columns)}.{one}"
        )
