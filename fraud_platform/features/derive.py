"""The shared row step: every function that a formula may call, vectorised, written once.

Batch, Spark and online all evaluate formulas here, on arrays of any length. Values are float64
with NaN for missing; text columns are object arrays with None for missing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError
from fraud_platform.features.expressions import Call, Column, Expression, Rolling
from fraud_platform.features.fold import NULL

Array = NDArray[Any]

EARTH_RADIUS_KM = 6371.0088
"""Mean radius, IUGG."""

_DAY_US = 86_400_000_000


def _missing(text: Array) -> NDArray[np.bool_]:
    return np.array([word is None for word in text], bool)


def _differs(left: Array, right: Array) -> Array:
    return np.where(_missing(left) | _missing(right), np.nan, np.not_equal(left, right).astype(np.float64))


def _is_one_of(text: Array, *words: str) -> Array:
    matches = np.zeros(text.shape, bool)
    for word in words:
        matches |= np.equal(text, word).astype(bool)
    return np.where(_missing(text), np.nan, matches)


def _divide(numerator: Array, denominator: Array) -> Array:
    return numerator / np.where(np.equal(denominator, 0), np.nan, denominator)


def _deviation(count: Array, total: Array, squares: Array) -> Array:
    """Population standard deviation from the moments; missing below two events."""
    mean = _divide(total, count)
    variance = _divide(squares, count) - mean * mean
    return np.where(count >= 2, np.sqrt(np.maximum(variance, 0.0)), np.nan)


def _distance_km(latitude: Array, longitude: Array, other_latitude: Array, other_longitude: Array) -> Array:
    """Great-circle distance (haversine), degrees in, kilometres out."""
    phi, other_phi = np.radians(latitude), np.radians(other_latitude)
    half = np.sin((other_phi - phi) / 2) ** 2
    half = half + np.cos(phi) * np.cos(other_phi) * np.sin(np.radians(other_longitude - longitude) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))


def _day_fraction(event_us: Array) -> Array:
    return np.mod(event_us, _DAY_US) / _DAY_US


def _weekday(event_us: Array) -> Array:
    """0 for Monday; 1970-01-01 was a Thursday."""
    return np.mod(np.floor_divide(event_us, _DAY_US) + 3, 7)


def _between(value: Array, low: float, high: float) -> Array:
    return np.where(np.isnan(value), np.nan, (value >= low) & (value < high))


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "divide": _divide,
    "minimum": np.minimum,
    "log1p": np.log1p,
    "sin_turn": lambda fraction: np.sin(2 * np.pi * fraction),
    "cos_turn": lambda fraction: np.cos(2 * np.pi * fraction),
    "is_multiple": lambda value, of: np.equal(np.mod(value, of), 0).astype(np.float64),
    "equals": lambda value, other: np.where(np.isnan(value), np.nan, np.equal(value, other)),
    "between": _between,
    "differs": _differs,
    "is_one_of": _is_one_of,
    "deviation": _deviation,
    "distance_km": _distance_km,
    "micro": lambda degrees: np.round(degrees * 1e6),
    "day_fraction": _day_fraction,
    "weekday": _weekday,
}
"""The name of each function, as a formula writes it."""


def to_float(aggregate: NDArray[np.int64]) -> NDArray[np.float64]:
    """int64 with NULL to float64 with NaN."""
    return np.where(aggregate == NULL, np.nan, aggregate.astype(np.float64))


def to_int(values: Array) -> NDArray[np.int64]:
    """Integer-valued float64 with NaN to int64 with NULL."""
    missing = np.isnan(values)
    return np.where(missing, NULL, np.where(missing, 0.0, values).astype(np.int64))


class Derivation:
    """Evaluates formulas over one set of rows; a part that several formulas share is computed once.

    Args:
        columns: transaction columns by name, each (n,): numbers as float64, text as object.
        aggregates: the rolling aggregates that the formulas use, each int64 (n,).
    """

    def __init__(self, columns: Mapping[str, Array], aggregates: Mapping[Rolling, NDArray[np.int64]]) -> None:
        self._columns = columns
        self._aggregates = aggregates
        self._known: dict[Expression, Array] = {}

    def evaluate(self, expression: Expression) -> Array:
        """The formula's value for every row: float64 (n,), NaN where it is missing.

        Raises:
            CatalogError: for a function that does not exist.
        """
        known = self._known.get(expression)
        if known is None:
            with np.errstate(invalid="ignore"):
                known = self._known[expression] = self._compute(expression)
        return known

    def _compute(self, expression: Expression) -> Array:
        if isinstance(expression, Column):
            return self._columns[expression.name]
        if isinstance(expression, Rolling):
            return to_float(self._aggregates[expression])
        function = FUNCTIONS.get(expression.function)
        if function is None:
            raise CatalogError(
                f"No function is called {expression.function!r}. There are: {', '.join(sorted(FUNCTIONS))}."
            )
        return function(*(self._argument(argument) for argument in expression.arguments))

    def _argument(self, argument: Expression | float | str) -> Any:
        return self.evaluate(argument) if isinstance(argument, (Call, Column, Rolling)) else argument
