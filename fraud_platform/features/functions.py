"""The functions that a formula may call: each one's compiled form, and its form in SQL.

Values are float64, NaN (NULL in SQL) for missing; a missing argument gives a missing result unless
the function says otherwise. Text is a number too: see `columns.text_code`.
"""

import math
from dataclasses import dataclass

from fraud_platform.features.compilation import compiled

EARTH_RADIUS_KM = 6371.0088
"""Mean radius, IUGG."""

_DAY_US = 86_400_000_000

(
    _ADD,
    _SUBTRACT,
    _MULTIPLY,
    _DIVIDE,
    _MINIMUM,
    _LOG1P,
    _SIN_TURN,
    _COS_TURN,
    _IS_MULTIPLE,
    _EQUALS,
    _DIFFERS,
    _BETWEEN,
    _DEVIATION,
    _DISTANCE_KM,
    _MICRO,
    _DAY_FRACTION,
    _WEEKDAY,
) = range(17)


@dataclass(frozen=True)
class Function:
    """One function: its code in `apply`, the number of its arguments, the same in SQL; a flag gives 0 or 1."""

    code: int
    arity: int
    sql: str
    is_flag: bool = False


FUNCTIONS: dict[str, Function] = {
    "add": Function(_ADD, 2, "({0} + {1})"),
    "subtract": Function(_SUBTRACT, 2, "({0} - {1})"),
    "multiply": Function(_MULTIPLY, 2, "({0} * {1})"),
    "divide": Function(_DIVIDE, 2, "({0} / nullif({1}, 0))"),
    "minimum": Function(_MINIMUM, 2, "CASE WHEN {0} > {1} THEN {1} ELSE {0} + 0 * {1} END"),
    "log1p": Function(_LOG1P, 1, "ln(1 + {0})"),
    "sin_turn": Function(_SIN_TURN, 1, "sin(2 * pi() * {0})"),
    "cos_turn": Function(_COS_TURN, 1, "cos(2 * pi() * {0})"),
    "is_multiple": Function(_IS_MULTIPLE, 2, "CAST({0} % {1} = 0 AS INT)", is_flag=True),
    "equals": Function(_EQUALS, 2, "CAST({0} = {1} AS INT)", is_flag=True),
    "differs": Function(_DIFFERS, 2, "CAST({0} <> {1} AS INT)", is_flag=True),
    "between": Function(_BETWEEN, 3, "CAST({0} >= {1} AND {0} < {2} AS INT)", is_flag=True),
    "deviation": Function(
        _DEVIATION,
        3,
        "CASE WHEN {0} >= 2 THEN sqrt(greatest({2} / {0} - ({1} / {0}) * ({1} / {0}), 0)) END",
    ),
    "distance_km": Function(
        _DISTANCE_KM,
        4,
        # The CASE is there because least(NULL, 1) is 1.
        "CASE WHEN {0} + {1} + {2} + {3} IS NOT NULL"
        f" THEN 2 * {EARTH_RADIUS_KM} * asin(sqrt(least(pow(sin(radians({{2}} - {{0}}) / 2), 2)"
        " + cos(radians({0})) * cos(radians({2})) * pow(sin(radians({3} - {1}) / 2), 2), 1))) END",
    ),
    "micro": Function(_MICRO, 1, "floor({0} * 1000000 + 0.5)"),
    "day_fraction": Function(_DAY_FRACTION, 1, f"({{0}} % {_DAY_US} / {_DAY_US})"),
    "weekday": Function(_WEEKDAY, 1, f"((floor({{0}} / {_DAY_US}) + 3) % 7)"),
}
"""The name of each function, as a formula writes it."""


@compiled
def _distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance (haversine), degrees in, kilometres out."""
    across = math.sin(math.radians(other_latitude - latitude) / 2)
    along = math.sin(math.radians(other_longitude - longitude) / 2)
    cosines = math.cos(math.radians(latitude)) * math.cos(math.radians(other_latitude))
    half = across * across + cosines * along * along
    if math.isnan(half):
        return math.nan
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(half, 1.0)))


@compiled
def _deviation(count: float, total: float, squares: float) -> float:
    """Population standard deviation from the moments; missing below two events."""
    if not count >= 2:
        return math.nan
    mean = total / count
    return math.sqrt(max(squares / count - mean * mean, 0.0))


@compiled
def apply(code: int, a: float, b: float, c: float, d: float) -> float:
    """The function with this code; arguments beyond its arity are not looked at."""
    if code == _DIVIDE:  # missing where it would divide by nothing
        return a / b if b != 0 else math.nan
    if code == _SUBTRACT:
        return a - b
    if code == _DEVIATION:
        return _deviation(a, b, c)
    if code == _ADD:
        return a + b
    if code == _MULTIPLY:
        return a * b
    if code == _MICRO:
        return math.floor(a * 1e6 + 0.5) if a == a else math.nan
    if code == _DAY_FRACTION:
        return a % _DAY_US / _DAY_US
    if code == _WEEKDAY:  # 0 for Monday; 1970-01-01 was a Thursday
        return (math.floor(a / _DAY_US) + 3) % 7 if a == a else math.nan
    if code == _DISTANCE_KM:
        return _distance_km(a, b, c, d)
    if code == _LOG1P:
        return math.log1p(a)
    if code == _SIN_TURN:
        return math.sin(2 * math.pi * a)
    if code == _COS_TURN:
        return math.cos(2 * math.pi * a)
    if a != a or b != b:
        return math.nan
    if code == _MINIMUM:
        return min(a, b)
    if code == _EQUALS:
        return 1.0 if a == b else 0.0
    if code == _DIFFERS:
        return 1.0 if a != b else 0.0
    if code == _IS_MULTIPLE:
        return 1.0 if a % b == 0 else 0.0
    if code == _BETWEEN:
        return (1.0 if b <= a < c else 0.0) if c == c else math.nan
    return math.nan
