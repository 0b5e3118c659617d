"""Functions of a payment that know three answers: a value, or None where something missing leaves it open.

Kleene's logic, as in SQL: false and unknown is false, true or unknown is true, everything else that meets
unknown is unknown.
"""

import operator
from collections.abc import Callable
from typing import Any

from fraud_platform.decisions.rule_names import Event, Reader, Values


def all_of(parts: tuple[Reader, ...]) -> Reader:
    """`a and b and c`."""

    def read(event: Event, values: Values) -> bool | None:
        answer: bool | None = True
        for part in parts:
            value = part(event, values)
            if value is False:
                return False
            if value is None:
                answer = None
        return answer

    return read


def any_of(parts: tuple[Reader, ...]) -> Reader:
    """`a or b or c`."""

    def read(event: Event, values: Values) -> bool | None:
        answer: bool | None = False
        for part in parts:
            value = part(event, values)
            if value is True:
                return True
            if value is None:
                answer = None
        return answer

    return read


def lifted(compute: Callable[[Any], Any], part: Reader) -> Reader:
    """A function of one value."""

    def read(event: Event, values: Values) -> Any:
        value = part(event, values)
        return None if value is None else compute(value)

    return read


def with_constant(compute: Callable[[Any, Any], Any], left: Reader, right: Any) -> Reader:
    """A function of a value and a constant."""

    def read(event: Event, values: Values) -> Any:
        value = left(event, values)
        return None if value is None else compute(value, right)

    return read


def with_both(compute: Callable[[Any, Any], Any], left: Reader, right: Reader) -> Reader:
    """A function of two values."""

    def read(event: Event, values: Values) -> Any:
        first, second = left(event, values), right(event, values)
        return None if first is None or second is None else compute(first, second)

    return read


def computed(compute: Callable[[float, float], float], left: Reader, right: Reader) -> Reader:
    """A number from two numbers; unknown where it cannot be computed, such as a division by 0."""

    def read(event: Event, values: Values) -> float | None:
        first, second = left(event, values), right(event, values)
        if first is None or second is None:
            return None
        try:
            result = compute(float(first), float(second))
        except ZeroDivisionError:
            return None
        return result if result == result else None  # only NaN is not equal to itself

    return read


def first_known(left: Reader, right: Reader) -> Reader:
    """`a ?? b`: the second where the first is missing."""

    def read(event: Event, values: Values) -> Any:
        value = left(event, values)
        return right(event, values) if value is None else value

    return read


def is_missing(part: Reader) -> Reader:
    """`a == null`: never unknown."""
    return lambda event, values: part(event, values) is None


def negated(part: Reader) -> Reader:
    """`not a`."""
    return lifted(operator.not_, part)
