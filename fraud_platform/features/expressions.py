"""What a feature's formula is made of: columns, rolling aggregates, and functions of them.

Nothing is computed here: the fold computes the rolling aggregates, derive the functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Operation = Literal["count", "sum", "sum_squares", "min", "max", "last"]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_STEPS = (
    (MINUTE, SECOND),
    (10 * MINUTE, 10 * SECOND),
    (HOUR, MINUTE),
    (DAY, 15 * MINUTE),
    (7 * DAY, 2 * HOUR),
    (30 * DAY, 6 * HOUR),
)


def step_of(span_us: int) -> int:
    """The step, in microseconds, by which a window of this span moves.

    Each step divides the next, so that buckets of a short step add up to those of a longer one.

    Raises:
        ValueError: for a span over 30 days.
    """
    for longest, step in _STEPS:
        if span_us <= longest:
            return step
    raise ValueError(f"A window of {span_us / DAY:g} days is longer than the longest, 30 days.")


@dataclass(frozen=True)
class Column:
    """A column of the transaction, or `known_fraud` (1 where a fraud was reported within the label delay)."""

    name: str


@dataclass(frozen=True)
class Call:
    """A function of `derive` applied to formulas or constants, row by row."""

    function: str
    arguments: tuple["Expression | float | str", ...]


@dataclass(frozen=True)
class Rolling:
    """An aggregate of an integer column over the earlier events of an entity.

    Attributes:
        entity: the columns whose values together are the key.
        operation: count, sum, sum_squares: 0 where there is no event; min, max, last: null there.
        column: what is aggregated, integer-valued; None for count.
        span_us: length of the window in microseconds.
        delayed: the window ends one label delay before the event, so that its labels are known.
    """

    entity: tuple[str, ...]
    operation: Operation
    column: "Column | Call | None"
    span_us: int
    delayed: bool = False

    @property
    def step_us(self) -> int:
        return step_of(self.span_us)


Expression = Column | Call | Rolling


def walk(expression: "Expression | float | str") -> Iterator[Expression]:
    """The expression and everything below it, parents first."""
    if not isinstance(expression, (Column, Call, Rolling)):
        return
    yield expression
    if isinstance(expression, Call):
        for argument in expression.arguments:
            yield from walk(argument)
    elif isinstance(expression, Rolling) and expression.column is not None:
        yield from walk(expression.column)


def columns_of(expression: Expression) -> frozenset[str]:
    """Every transaction column that the expression reads, keys included."""
    names: set[str] = set()
    for part in walk(expression):
        if isinstance(part, Column):
            names.add(part.name)
        elif isinstance(part, Rolling):
            names.update(part.entity)
    return frozenset(names)
