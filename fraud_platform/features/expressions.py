"""What a feature's formula is made of: columns, rolling aggregates, and functions of them.

Nothing is computed here: the fold computes the rolling aggregates, derive the functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fraud_platform.errors import CatalogError

Operation = Literal["count", "sum", "sum_squares", "min", "max", "last", "distinct"]

DISTINCT_LIMIT = 100
"""A distinct count stops here, so that the state of a key that meets a million others stays bounded."""

KNOWN_FRAUD = "known_fraud"
"""The column that is 1 where a fraud was reported within the label delay of its event, else 0."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

STEPS = (
    (MINUTE, SECOND),
    (10 * MINUTE, 10 * SECOND),
    (HOUR, MINUTE),
    (DAY, 15 * MINUTE),
    (7 * DAY, 2 * HOUR),
    (40 * DAY, 6 * HOUR),
    (210 * DAY, DAY),
)
"""How far a window reaches back, at most, and the step that it moves by; each step divides the next."""


def step_of(reach_us: int) -> int:
    """The step, in microseconds, by which a window moves that reaches this far back, delay included.

    Raises:
        CatalogError: for more than 210 days, or not a whole number of steps.
    """
    for longest, step in STEPS:
        if reach_us <= longest:
            if reach_us % step:
                raise CatalogError(f"A window of {reach_us} µs is not a whole number of its steps of {step} µs.")
            return step
    raise CatalogError(
        f"A window reaches back {reach_us / DAY:g} days; the longest reach is {STEPS[-1][0] // DAY} days."
    )


@dataclass(frozen=True)
class Column:
    """A column of the transaction, or KNOWN_FRAUD."""

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
        operation: count, sum, sum_squares, distinct: 0 where there is no event; min, max, last: null there.
            last takes the largest of several values at one instant; distinct counts up to DISTINCT_LIMIT.
        column: what is aggregated, integer-valued (for distinct, text too); None for count.
        span_us: length of the window in microseconds.
        delayed: the window ends one label delay before the event, so that its labels are known.
    """

    entity: tuple[str, ...]
    operation: Operation
    column: "Column | Call | None"
    span_us: int
    delayed: bool = False


class Window(NamedTuple):
    """What a rolling aggregate looks at, in microseconds; `fold` says where it starts and ends."""

    span_us: int
    step_us: int
    delay_us: int

    @property
    def reach_us(self) -> int:
        """From the event back to the start, steps aside."""
        return self.span_us + self.delay_us


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
