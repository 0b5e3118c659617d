"""The catalog as a person reads it: one row a feature, in words."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from fraud_platform.features.expressions import (
    DAY,
    HOUR,
    KNOWN_FRAUD,
    MINUTE,
    SECOND,
    Call,
    Column,
    Expression,
    Rolling,
    walk,
)
from fraud_platform.features.functions import FUNCTIONS
from fraud_platform.features.selection import Catalog
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

FeatureType = Literal["flag", "integer", "real"]

_UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1, "µs"))
_INTEGER_COLUMNS = frozenset({"event_us", KNOWN_FRAUD})


class Description(NamedTuple):
    """One feature in words.

    Attributes:
        entity: whose earlier events it looks at, such as "customer × merchant"; "row" where it looks at none.
        span: the lengths of its windows, such as "1 d, 30 d"; empty where it has none.
        delay: how old an event must be to be seen, such as "7 d"; empty where it sees them at once.
        type: flag (0 or 1), integer or real.
    """

    name: str
    meaning: str
    entity: str
    span: str
    delay: str
    type: FeatureType


def describe(catalog: Catalog) -> list[Description]:
    """Every feature of the catalog, in its order."""
    rows: list[Description] = []
    for feature in catalog.features:
        rollings = [part for part in walk(feature.formula) if isinstance(part, Rolling)]
        windows = [catalog.window(rolling) for rolling in rollings]
        rows.append(
            Description(
                feature.name,
                feature.meaning,
                ", ".join(dict.fromkeys(_entity_words(rolling.entity) for rolling in rollings)) or "row",
                ", ".join(map(duration, sorted({window.span_us for window in windows}))),
                ", ".join(map(duration, sorted({window.delay_us for window in windows} - {0}))),
                type_of(feature.formula),
            )
        )
    return rows


def table(rows: list[Description]) -> list[str]:
    """The rows under their headings, as lines of text; the meaning is last, where its length harms no column."""
    order = ("name", "type", "entity", "span", "delay", "meaning")
    return aligned([order, *([getattr(row, column) for column in order] for row in rows)])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells, as many in each line, as lines of text whose columns begin at the same place."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def duration(microseconds: int) -> str:
    """A length of time in the largest unit that gives a whole number: "30 d", "15 m"."""
    size, unit = next((size, unit) for size, unit in _UNITS if microseconds % size == 0)
    return f"{microseconds // size} {unit}"


def type_of(formula: Expression | float | str) -> FeatureType:
    """What the values of a formula are."""
    if isinstance(formula, Rolling):
        return "integer"
    if isinstance(formula, Column):
        column = TRANSACTION_COLUMNS.get(formula.name)
        whole = formula.name in _INTEGER_COLUMNS or (column is not None and column.type == "int64")
        return "integer" if whole else "real"
    if isinstance(formula, Call):
        is_flag = FUNCTIONS[formula.function].is_flag or all(type_of(part) == "flag" for part in formula.arguments)
        return "flag" if is_flag else "real"
    return "real"


def _entity_words(entity: tuple[str, ...]) -> str:
    return " × ".join(name.removesuffix("_id").replace("_", " ") for name in entity)
