"""The catalog as one SQL statement: what the fold is checked against, and what a team runs that wants SQL.

Text only: nothing is executed here. The statement is made from the catalog alone and shares no code with the
fold, so the two can disagree, which is what makes it an oracle.

A window without a delay is the sum of two frames over integers: the whole steps before the step that the
event falls into, and this present step, strictly before the event. A delayed window ends where a step ends
and is one frame. Spark wants constants in frames, so the start of an event's step is a column.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fraud_platform.features.expressions import DISTINCT_LIMIT, KNOWN_FRAUD, Call, Column, Expression, Rolling, walk
from fraud_platform.features.functions import FUNCTIONS
from fraud_platform.features.listing import duration
from fraud_platform.features.selection import Catalog
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

Dialect = Literal["duckdb", "spark"]

_IDENTITY = ("transaction_id", "event_us")
_INTEGERS = ("event_us", "amount_cents", KNOWN_FRAUD)
"""What a formula does with them is exact, or a division, which gives DOUBLE in both dialects."""

_LARGEST_EXACT = 2**53


def aggregates_sql(catalog: Catalog, dialect: Dialect, events: str = "events") -> str:
    """One SELECT of `transaction_id` and a BIGINT for each rolling aggregate, called as `aggregate_names` says.

    An aggregate is NULL where the key is null, and min, max and last where the window has no value. A sum
    that leaves the range of BIGINT fails the statement.

    Args:
        events: a relation with the columns of `catalog.columns`, `transaction_id` (unique), `event_us`
            (BIGINT) and `known_fraud` (BIGINT, 0 or 1). It must reach back `catalog.look_back_us`.
    """
    return _Writer(catalog, dialect).aggregates(events)


def features_sql(catalog: Catalog, dialect: Dialect, events: str = "events") -> str:
    """One SELECT of `transaction_id`, `event_us` and a DOUBLE for each feature, NULL where it is missing.

    Args:
        events: as for `aggregates_sql`.
    """
    return _Writer(catalog, dialect).features(events)


def warehouse_features_sql(
    catalog: Catalog,
    dialect: Dialect,
    transactions: str = "validated_transactions",
    labels: str = "validated_labels",
) -> str:
    """`features_sql` from the two tables of the warehouse: the labels that were known in time are worked out too.

    In Spark, timestamps without a zone are read in the session's time zone, which must then be UTC.
    """
    writer = _Writer(catalog, dialect)
    return writer.features("events", writer.known_events(transactions, labels))


def aggregate_names(catalog: Catalog) -> dict[Rolling, str]:
    """The column of each rolling aggregate, such as `customer_id_merchant_id__last__event_us__30d`."""

    def name(rolling: Rolling) -> str:
        window = catalog.window(rolling)
        column = [] if rolling.column is None else [_words(rolling.column)]
        delay = [f"delayed_{_span(window.delay_us)}"] if rolling.delayed else []
        return "__".join(["_".join(rolling.entity), rolling.operation, *column, _span(window.span_us), *delay])

    return dict(zip(catalog.all_rollings, _unique(map(name, catalog.all_rollings)), strict=True))


@dataclass(frozen=True)
class _Writer:
    """Writes the statements of one catalog in one dialect."""

    catalog: Catalog
    dialect: Dialect

    @cached_property
    def aggregate_names(self) -> dict[Rolling, str]:
        return aggregate_names(self.catalog)

    @cached_property
    def row_parts(self) -> dict[Expression, str]:
        """What is computed from the row alone and is aggregated or used more than once, parts of parts first."""
        parts = [part for feature in self.catalog.features for part in walk(feature.formula)]
        uses = Counter(part for part in parts if isinstance(part, Call))
        uses.update(rolling.column for rolling in self.aggregate_names if isinstance(rolling.column, Call))
        shared = [part for part in uses if uses[part] > 1 and not any(isinstance(p, Rolling) for p in walk(part))]
        shared.sort(key=lambda part: len(list(walk(part))))
        return dict(zip(shared, _unique(map(_words, shared)), strict=True))

    def aggregates(self, events: str) -> str:
        select = _select(["transaction_id", *self.aggregate_names.values()], self.joined)
        return self.statement("rolling aggregates", self.aggregation(events), select)

    def features(self, events: str, before: dict[str, str] | None = None) -> str:
        """A part that is a feature already is called by its name: both dialects know the columns before a column."""
        named = {**self.row_parts, **self.aggregate_names}
        columns: list[str] = []
        for feature in self.catalog.features:
            name = self.quoted(feature.name)
            columns.append(f"CAST({self.formula(feature.formula, named)} AS DOUBLE) AS {name}")
            if isinstance(feature.formula, Call):
                named.setdefault(feature.formula, name)
        parts = {**(before or {}), **self.aggregation(events)}
        return self.statement(f"{len(columns)} features", parts, _select([*_IDENTITY, *columns], self.joined))

    def statement(self, what: str, parts: dict[str, str], select: str) -> str:
        ctes = ",\n".join(f"{name} AS (\n{_indented(body)}\n)" for name, body in parts.items())
        return f"""\
-- The {what} of catalog {self.catalog.fingerprint} for fraud detection in payments, for {self.dialect}.
-- Written from the catalog by `fraud-platform features sql`: change that, and write this again.
-- A window starts at the last step boundary at or before t - delay - span, in integer microseconds. It ends
-- just before t or, where there is a delay, just before the last step boundary at or before t - delay. So no
-- payment sees itself, or anything at its own instant. What is missing is NULL, never NaN.
WITH {ctes}
{select}
"""

    def known_events(self, transactions: str, labels: str) -> dict[str, str]:
        """The events with `known_fraud`: the verdict of the latest label reported within the label delay."""
        microseconds = "epoch_us" if self.dialect == "duckdb" else "unix_micros"
        columns = [f"t.{self.quoted(name)}" for name in self.columns if name != KNOWN_FRAUD]
        known = f"""\
SELECT
    l.transaction_id,
    max_by(l.is_fraud, (l.reported_at, l.is_fraud)) AS is_fraud -- of several labels at one instant, fraud wins
FROM {labels} AS l
JOIN {transactions} AS t ON t.transaction_id = l.transaction_id
WHERE {microseconds}(l.reported_at) <= t.event_us + {self.catalog.label_delay_us}
GROUP BY l.transaction_id"""
        joined = f"FROM {transactions} AS t\nLEFT JOIN known AS k ON k.transaction_id = t.transaction_id"
        known_fraud = f"CAST(coalesce(k.is_fraud, false) AS BIGINT) AS {KNOWN_FRAUD}"
        return {"known": known, "events": _select([*columns, known_fraud], joined)}

    def aggregation(self, events: str) -> dict[str, str]:
        """The common table expressions up to the aggregates of each entity, which `joined` puts together."""
        steps = sorted({self.catalog.window(rolling).step_us for rolling in self.aggregate_names})
        inputs = ["*", *(f"event_us - event_us % {step} AS {_step(step)}" for step in steps)]
        aggregated = {rolling.column for rolling in self.aggregate_names}
        named: dict[Expression, str] = {}
        for part, name in self.row_parts.items():
            formula = self.formula(part, named)
            inputs.append(f"{f'CAST({formula} AS BIGINT)' if part in aggregated else formula} AS {name}")
            named[part] = name
        return {
            "payments": _select(map(self.as_read, self.columns), f"FROM {events}"),
            "inputs": _select(inputs, "FROM payments"),
            **{_relation(entity): self.by_entity(entity) for entity in self.catalog.rollings},
        }

    @property
    def joined(self) -> str:
        joins = [f"LEFT JOIN {_relation(entity)} USING (transaction_id)" for entity in self.catalog.rollings]
        return "\n".join(["FROM inputs", *joins])

    def by_entity(self, entity: tuple[str, ...]) -> str:
        """Null keys are left out, or they would be one huge partition; the join gives their events NULL."""
        windows: dict[str, str] = {}
        aggregates = ["transaction_id"]
        for rolling in self.catalog.rollings[entity]:
            frames = self.frames(rolling)
            windows |= frames
            aggregates.append(f"{self.aggregate(rolling, list(frames))} AS {self.aggregate_names[rolling]}")
        present = " AND ".join(f"{name} IS NOT NULL" for name in entity)
        named = ",\n".join(f"{name} AS ({frame})" for name, frame in windows.items())
        return _select(aggregates, f"FROM inputs\nWHERE {present}\nWINDOW\n{_indented(named)}")

    def frames(self, rolling: Rolling) -> dict[str, str]:
        """The frames that together are the window, by name, in order of time."""
        window = self.catalog.window(rolling)
        key, step, span = ", ".join(rolling.entity), _step(window.step_us), _span(window.span_us)
        steps = f"PARTITION BY {key} ORDER BY {step} RANGE BETWEEN"
        if window.delay_us:
            name = f"delayed_{_span(window.delay_us)}_{span}"
            return {name: f"{steps} {window.reach_us} PRECEDING AND {window.delay_us + 1} PRECEDING"}
        if rolling.operation == "distinct" and self.dialect == "duckdb":
            # The counts of two frames do not add up, and sets were nine times slower than a frame that varies.
            start = f"({window.span_us} + event_us - {step}) PRECEDING"
            return {f"whole_{span}": f"PARTITION BY {key} ORDER BY event_us RANGE BETWEEN {start} AND 1 PRECEDING"}
        present = f"PARTITION BY {key}, {step} ORDER BY event_us RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
        earlier = f"{steps} {window.span_us} PRECEDING AND 1 PRECEDING"
        return {f"earlier_steps_{span}": earlier, f"present_{step}": present}

    def aggregate(self, rolling: Rolling, frames: list[str]) -> str:
        """The aggregate over each frame, put together; frames are in order of time."""
        operation, column = rolling.operation, rolling.column
        value = "*" if column is None else self.formula(column, self.row_parts)

        def over(function: str) -> list[str]:
            return [f"{function}({value}) OVER {frame}" for frame in frames]

        match operation:
            case "count":
                return " + ".join(over("count"))
            case "sum" | "sum_squares":
                value = value if operation == "sum" else f"{value} * {value}"
                return f"CAST({' + '.join(f'coalesce({part}, 0)' for part in over('sum'))} AS BIGINT)"
            case "min" | "max":
                return _together("least" if operation == "min" else "greatest", over(operation))
            case "last" if column == Column("event_us"):  # the latest instant is the largest
                return _together("greatest", over("max"))
            case "last":  # of several at one instant the largest
                pair = f"struct_pack(t := event_us, v := {value})"
                if self.dialect == "spark":
                    pair = f"struct(event_us AS t, {value} AS v)"
                value = f"CASE WHEN {value} IS NOT NULL THEN {pair} END"
                return _together("coalesce", [f"({part}).v" for part in reversed(over("max"))])
            case "distinct" if self.dialect == "spark":  # which has no DISTINCT in windows
                size = f"size({_together('array_union', over('collect_set'))})"
                return f"CAST(least({size}, {DISTINCT_LIMIT}) AS BIGINT)"
            case "distinct":
                value = f"DISTINCT {value}"
                return f"least({over('count')[0]}, {DISTINCT_LIMIT})"

    def formula(self, part: Expression | float | str, named: Mapping[Expression, str]) -> str:
        """A formula, its parts that have a name already called by it."""
        if isinstance(part, str):
            return _text(part, self.dialect)
        if not isinstance(part, (Column, Call, Rolling)):
            return _number(part)
        if isinstance(part, Rolling) or part in named:
            return named[part]
        if isinstance(part, Column):
            return self.column(part.name)
        return FUNCTIONS[part.function].sql.format(*(self.formula(argument, named) for argument in part.arguments))

    def quoted(self, name: str) -> str:
        """A name outside of the statement: only a source's own can be a word of the language."""
        if name not in self.catalog.attributes:
            return name
        return f"`{name}`" if self.dialect == "spark" else f'"{name}"'

    def column(self, name: str) -> str:
        """A column's name inside of the statement, where no attribute can take the name of something else."""
        return f"attribute_{name}" if name in self.catalog.attributes else name

    @property
    def columns(self) -> list[str]:
        return [*_IDENTITY, *sorted(self.catalog.columns - {*_IDENTITY})]

    def as_read(self, name: str) -> str:
        """A column as formulas read it, NaN as missing."""
        column = TRANSACTION_COLUMNS.get(name)
        if column is not None and column.type == "string":
            return name
        if name in _INTEGERS:
            return f"CAST({name} AS BIGINT) AS {name}"
        return f"nullif(CAST({self.quoted(name)} AS DOUBLE), CAST('NaN' AS DOUBLE)) AS {self.column(name)}"


def _text(text: str, dialect: Dialect) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'") if dialect == "spark" else text.replace("'", "''")
    return f"'{escaped}'"


def _number(value: float) -> str:
    """The number exactly. 0.25 would be a decimal, whose quotients Spark rounds; 0.25e0 is a double."""
    if value == int(value) and abs(value) < _LARGEST_EXACT:
        return str(int(value))
    return repr(value) if "e" in repr(value) else f"{value!r}e0"


def _words(part: Expression | float | str) -> str:
    """A formula as a name: `minimum_amount_cents_10000000`."""
    if isinstance(part, Column):
        return part.name
    words = [part.function, *map(_words, part.arguments)] if isinstance(part, Call) else [str(part)]
    return re.sub(r"[^a-z0-9]+", "_", "_".join(words).lower()).strip("_")


def _unique(names: Iterable[str]) -> Iterator[str]:
    """The names; one that was there before gets a number."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}_{seen[name]}"


def _relation(entity: tuple[str, ...]) -> str:
    return f"by_{'_and_'.join(entity)}"


def _step(step_us: int) -> str:
    return f"step_{_span(step_us)}"


def _span(microseconds: int) -> str:
    return duration(microseconds).replace(" ", "").replace("µ", "u")


def _together(function: str, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{function}({', '.join(parts)})"


def _select(columns: Iterable[str], source: str) -> str:
    return "SELECT\n" + _indented(",\n".join(columns)) + "\n" + source


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
