"""The names that a condition may use: the model's inputs and the columns of the transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fraud_platform.decisions.condition_text import Kind
from fraud_platform.features.catalog import FEATURES
from fraud_platform.features.selection import Catalog
from fraud_platform.transactions.contract import REQUIRED, TRANSACTION, Column

Event = Mapping[str, Any]
"""A transaction's columns, with `event_us`."""

Values = Sequence[float]
"""The model's inputs in the catalog's order; NaN where one is missing."""

Reader = Callable[[Event, Values], Any]
"""A value of a payment, None where it is missing."""

_KINDS: dict[str, Kind] = {"string": "text", "int64": "number", "float64": "number", "timestamp": "time"}


@dataclass(frozen=True)
class Name:
    """What a name stands for.

    Attributes:
        column: of the contract; None for a model input.
        lacking: the columns that it needs and this source does not give.
    """

    name: str
    kind: Kind
    read: Reader
    column: Column | None = None
    lacking: tuple[str, ...] = ()


def names_of(catalog: Catalog) -> dict[str, Name]:
    """Every name, those that the source lacks included."""
    given = {*catalog.columns_given, *REQUIRED}
    found = {column.name: _column(column, given) for column in TRANSACTION}
    places = {name: place for place, name in enumerate(catalog.names)}
    for name in dict.fromkeys([*(feature.name for feature in FEATURES), *catalog.names]):
        found[name] = Name(name, "number", _input(places.get(name, 0)), lacking=catalog.dropped.get(name, ()))
    return found


def nearest(word: str, names: Mapping[str, Name]) -> str:
    """A sentence that helps whoever wrote a name that there is not."""
    near = get_close_matches(word.lower(), names, 1, 0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return "Use a column of the contract or a feature (`fraud-platform features list`)."


def _column(column: Column, given: set[str]) -> Name:
    lacking = () if column.name in given else (column.name,)
    read = _event_us if column.type == "timestamp" else _field(column.name)
    return Name(column.name, _KINDS[column.type], read, column, lacking)


def _event_us(event: Event, values: Values) -> int:
    return event["event_us"]


def _field(name: str) -> Reader:
    def read(event: Event, values: Values) -> Any:
        return event.get(name)

    return read


def _input(place: int) -> Reader:
    def read(event: Event, values: Values) -> float | None:
        value = values[place]
        return value if value == value else None  # only NaN is not equal to itself

    return read
