"""The parts of a condition while it is compiled: what kind of value each has, how it is read, and its literals."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import numpy as np

from fraud_platform.decisions.condition_text import ConditionError, Kind
from fraud_platform.decisions.rule_names import Name, Reader
from fraud_platform.transactions.request import to_microseconds

MAX_NUMBER = 10**18

KIND_WORDS = {"number": "a number", "text": "a text", "truth": "true or false", "time": "a time", "null": "null"}


class Operand(NamedTuple):
    """A part of a condition; `constant` is what a literal stands for."""

    kind: Kind | Literal["null"]
    text: str
    read: Reader
    constant: Any = None
    name: Name | None = None

    @property
    def is_constant(self) -> bool:
        return self.constant is not None

    @property
    def is_input(self) -> bool:
        """Whether it is a model input as it is, float32."""
        return self.name is not None and self.name.column is None


def not_available(node: object) -> ConditionError:
    """For a node of the syntax tree that conditions do without."""
    what = type(node).__name__.removesuffix("Expression")
    return ConditionError(f"{what} is not available. See docs/rules.md for what a condition may say.")


def literal(node: Any) -> Operand:
    """A literal of the syntax tree.

    Raises:
        ConditionError: if conditions do without its kind, or a number is too large.
    """
    match node.value:
        case None:
            return Operand("null", "null", lambda event, values: None)
        case bool():
            return _constant("truth", str(node.value).lower(), node.value)
        case Decimal() if abs(node.value) > MAX_NUMBER:
            raise ConditionError(f"{node.value} is more than anything that is known of a payment.")
        case Decimal():
            return _constant("number", f"{node.value}", float(node.value))
        case str():
            return _constant("text", repr(node.value), node.value)
        case datetime():
            return _constant("time", f'd"{node.value.isoformat()}"', to_microseconds(node.value))
        case _:
            raise not_available(node)


def _constant(kind: Kind, text: str, value: Any) -> Operand:
    return Operand(kind, text, lambda event, values: value, constant=value)


def as_seen_by(part: Operand, constant: Any) -> Any:
    """The constant as it can be compared with the part.

    Raises:
        ConditionError: if the part is a column that never has this value.
    """
    if part.is_input:  # 0.7 as float32 is less than 0.7, and >= 0.7 has to hold for it
        return float(np.float32(constant))
    column = part.name.column if part.name is not None else None
    if column is not None and column.values and constant not in column.values:
        raise ConditionError(f"{part.text} is never {constant!r}. It is one of {', '.join(column.values)}.")
    if column is not None and column.pattern and not re.fullmatch(column.pattern, constant):
        raise ConditionError(f"{part.text} is never {constant!r}: it is {column.meaning}.")
    return constant
