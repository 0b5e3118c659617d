"""Conditions of rules: a text becomes a function of a payment, checked for names and types when it is loaded.

The library rule-engine parses the text. Its own evaluation takes 5 to 30 µs a rule, and where a value is
missing it decides by accident (`x != 5` holds, `x > 5` raises); so its syntax tree is made into closures,
which know three answers, as in SQL: true, false, and None where a missing value leaves it open.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import numpy as np
from rule_engine import ast

from fraud_platform.decisions import three_values as three
from fraud_platform.decisions.condition_text import ConditionError, Kind, check_text, parse
from fraud_platform.decisions.rule_names import Name, Reader, nearest
from fraud_platform.features.expressions import DAY, HOUR
from fraud_platform.transactions.request import to_microseconds

MAX_DEPTH = 20
"""Operators within operators; a chain of `and` or of `or` counts once."""

MAX_NUMBER = 10**18

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_COMPARISONS = {
    "eq": ("==", operator.eq),
    "ne": ("!=", operator.ne),
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}
_MIRRORED = {"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
_ARITHMETIC = {
    "add": ("+", operator.add),
    "sub": ("-", operator.sub),
    "mul": ("*", operator.mul),
    "tdiv": ("/", operator.truediv),
    "fdiv": ("//", operator.floordiv),
    "mod": ("%", operator.mod),
}
_KIND_WORDS = {"number": "a number", "text": "a text", "truth": "true or false", "time": "a time", "null": "null"}


@dataclass(frozen=True)
class Condition:
    """A condition that can be asked.

    Attributes:
        holds: True, False, or None where a missing value leaves it open; only True is a match.
        names: that it uses.
        lacking: why it can never be asked of payments of this source, a reason for each such name.
    """

    holds: Reader
    names: frozenset[str]
    lacking: tuple[str, ...]


def compile_condition(text: str, names: Mapping[str, Name]) -> Condition:
    """Parse, check and compile a condition.

    Raises:
        ConditionError: saying what is wrong and how to mend it.
    """
    used = check_text(text)
    unknown = sorted(used - names.keys())
    if unknown:
        raise ConditionError(" ".join(f"{name} is not known. {nearest(name, names)}" for name in unknown))
    if not used:
        raise ConditionError("names no column and no feature, so that it says the same of every payment.")
    compiler = _Compiler(names)
    try:
        tree = parse(text, {name: names[name].kind for name in used})
    except ConditionError:
        compiler.truth(parse(text, None))  # says what the library found, with names
        raise
    holds = compiler.truth(tree).read
    return Condition(holds, used, tuple(reason for name in sorted(used) if (reason := names[name].lacking)))


class _Operand(NamedTuple):
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


class _Compiler:
    """Makes nodes of rule-engine's syntax tree into operands."""

    def __init__(self, names: Mapping[str, Name]) -> None:
        self._names = names
        self._depth = 0

    def truth(self, node: object) -> _Operand:
        """A part that has to be true or false."""
        part = self._operand(node)
        if part.kind != "truth":
            raise ConditionError(
                f"{part.text} is {_KIND_WORDS[part.kind]} where true or false is needed. "
                f"Compare it, such as {part.text} {'== 1' if part.kind == 'number' else '== …'}."
            )
        return part

    def _operand(self, node: object) -> _Operand:
        if self._depth >= MAX_DEPTH:
            raise ConditionError(f"has operators more than {MAX_DEPTH} deep. Write several rules.")
        self._depth += 1
        part = self._dispatch(node)
        self._depth -= 1
        return part

    def _dispatch(self, node: object) -> _Operand:
        match node:
            case ast.SymbolExpression():
                name = self._names[node.name]
                return _Operand(name.kind, name.name, name.read, name=name)
            case ast.LogicExpression():
                return self._logic(node)
            case ast.UnaryExpression():
                return self._unary(node)
            case ast.ComparisonExpression():  # and those of order, which inherit from it
                return self._comparison(node)
            case ast.ContainsExpression():
                return self._contains(node)
            case ast.CoalesceExpression():
                return self._coalesce(node)
            case ast.AddExpression() | ast.SubtractExpression() | ast.ArithmeticExpression():
                return self._arithmetic(node)
            case ast.GetAttributeExpression():
                return self._attribute(node)
            case ast.FunctionCallExpression():
                return self._call(node)
            case ast.LiteralExpressionBase():
                return _literal(node)
            case _:
                raise _not_available(node)

    def _logic(self, node: ast.LogicExpression) -> _Operand:
        parts = [self.truth(part) for part in _chain(node, node.type)]
        readers = tuple(part.read for part in parts)
        combined = three.all_of(readers) if node.type == "and" else three.any_of(readers)
        return _Operand("truth", f"({f' {node.type} '.join(part.text for part in parts)})", combined)

    def _unary(self, node: ast.UnaryExpression) -> _Operand:
        if node.type == "not":
            part = self.truth(node.right)
            return _Operand("truth", f"not {part.text}", three.negated(part.read))
        part = self._number(node.right, "-")
        return _Operand("number", f"-{part.text}", three.lifted(operator.neg, part.read))

    def _number(self, node: object, sign: str) -> _Operand:
        part = self._operand(node)
        if part.kind != "number":
            raise ConditionError(f"{part.text} is {_KIND_WORDS[part.kind]}: `{sign}` takes numbers.")
        return part

    def _comparison(self, node: ast.ComparisonExpression) -> _Operand:
        if node.type not in _COMPARISONS:
            raise _not_available(node)
        left, right, kind = self._operand(node.left), self._operand(node.right), node.type
        sign, compare = _COMPARISONS[kind]
        text = f"{left.text} {sign} {right.text}"
        if "null" in (left.kind, right.kind):
            return _missing(left, right, kind, text)
        if left.kind != right.kind:
            raise ConditionError(
                f"`{text}` compares {_KIND_WORDS[left.kind]} with {_KIND_WORDS[right.kind]}, which never are equal."
            )
        if kind not in ("eq", "ne") and left.kind not in ("number", "time"):
            raise ConditionError(f"`{text}`: {_KIND_WORDS[left.kind]} has no order. Use ==, != or `in`.")
        if left.is_constant:
            left, right, compare = right, left, _COMPARISONS[_MIRRORED[kind]][1]
        if right.is_constant:
            return _Operand("truth", text, three.with_constant(compare, left.read, _as_seen_by(left, right.constant)))
        return _Operand("truth", text, three.with_both(compare, left.read, right.read))

    def _contains(self, node: ast.ContainsExpression) -> _Operand:
        member = self._operand(node.member)
        if isinstance(node.container, (ast.ArrayExpression, ast.SetExpression)):
            members = [self._operand(part) for part in node.container.value]
            for part in members:
                if not part.is_constant or part.kind != member.kind:
                    raise ConditionError(
                        f"{part.text} is {_KIND_WORDS[part.kind]} in the list that {member.text}, "
                        f"{_KIND_WORDS[member.kind]}, is looked for in. Give constants of its kind."
                    )
            if not members:
                raise ConditionError(f"the list that {member.text} is looked for in is empty. Give its values.")
            values = frozenset(_as_seen_by(member, part.constant) for part in members)
            text = f"{member.text} in [{', '.join(part.text for part in members)}]"
            return _Operand("truth", text, three.lifted(values.__contains__, member.read))
        container = self._operand(node.container)
        if (member.kind, container.kind) != ("text", "text"):
            raise ConditionError(
                f"`{member.text} in {container.text}`: `in` looks for a value in a list such as [1, 2], "
                "or for a text in a text."
            )
        text = f"{member.text} in {container.text}"
        return _Operand("truth", text, three.with_both(operator.contains, container.read, member.read))

    def _coalesce(self, node: ast.CoalesceExpression) -> _Operand:
        left, right = self._operand(node.left), self._operand(node.right)
        text = f"({left.text} ?? {right.text})"
        if left.kind != right.kind or left.kind == "null":
            raise ConditionError(
                f"`{text}`: what stands in for a missing value has to be of its kind, {_KIND_WORDS[left.kind]}. "
                "`??` binds less than comparisons: write (x ?? 0) > 5."
            )
        return _Operand(left.kind, text, three.first_known(left.read, right.read))

    def _arithmetic(self, node: Any) -> _Operand:
        if node.type not in _ARITHMETIC:
            raise _not_available(node)
        sign, compute = _ARITHMETIC[node.type]
        left, right = self._number(node.left, sign), self._number(node.right, sign)
        return _Operand("number", f"({left.text} {sign} {right.text})", three.computed(compute, left.read, right.read))

    def _attribute(self, node: ast.GetAttributeExpression) -> _Operand:
        part, name = self._operand(node.object), node.name
        if (part.kind, name) not in _ATTRIBUTES:
            fitting = [f".{name}" for kind, name in _ATTRIBUTES if kind == part.kind]
            hint = f"Use {' or '.join(fitting)}." if fitting else f"{_KIND_WORDS[part.kind].capitalize()} has none."
            raise ConditionError(f"{part.text} is {_KIND_WORDS[part.kind]} and has no .{name}. {hint}")
        kind, compute = _ATTRIBUTES[part.kind, name]
        return _Operand(kind, f"{part.text}.{name}", three.lifted(compute, part.read))

    def _call(self, node: ast.FunctionCallExpression) -> _Operand:
        function = node.function
        if not isinstance(function, ast.GetAttributeExpression) or function.name not in _CALLS:
            raise ConditionError(f"functions are not available, but .{'(…), .'.join(_CALLS)}(…) on texts.")
        part, arguments = self._operand(function.object), [self._operand(part) for part in node.arguments]
        if part.kind != "text" or [argument.kind for argument in arguments] != ["text"]:
            raise ConditionError(f"{part.text}.{function.name}(…) is a question to a text, and takes one text.")
        text = f"{part.text}.{function.name}({arguments[0].text})"
        return _Operand("truth", text, three.with_both(_CALLS[function.name], part.read, arguments[0].read))


_ATTRIBUTES: dict[tuple[str, str], tuple[Kind, Callable[[Any], Any]]] = {
    ("time", "hour"): ("number", lambda event_us: event_us // HOUR % 24),
    ("time", "weekday"): ("text", lambda event_us: WEEKDAYS[(event_us // DAY + 3) % 7]),  # 1970 began on a Thursday
    ("text", "length"): ("number", len),
    ("text", "as_lower"): ("text", str.lower),
    ("text", "as_upper"): ("text", str.upper),
}
_CALLS: dict[str, Callable[[str, str], bool]] = {"starts_with": str.startswith, "ends_with": str.endswith}


def _chain(node: object, kind: str) -> list[object]:
    """The parts of `a and b and c`, which is parsed as (a and b) and c."""
    parts: list[object] = []
    while isinstance(node, ast.LogicExpression) and node.type == kind:
        parts.append(node.right)
        node = node.left
    return [node, *reversed(parts)]


def _missing(left: _Operand, right: _Operand, kind: str, text: str) -> _Operand:
    """`a == null` and `a != null`, which are true or false whether or not there is a value."""
    if kind not in ("eq", "ne"):
        raise ConditionError(f"`{text}`: null has no order. A missing value is found by == null or != null.")
    missing = three.is_missing(left.read if right.kind == "null" else right.read)
    return _Operand("truth", text, missing if kind == "eq" else three.negated(missing))


def _not_available(node: object) -> ConditionError:
    what = type(node).__name__.removesuffix("Expression")
    return ConditionError(f"{what} is not available. See docs/rules.md for what a condition may say.")


def _literal(node: Any) -> _Operand:
    match node.value:
        case None:
            return _Operand("null", "null", lambda event, values: None)
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
            raise _not_available(node)


def _constant(kind: Kind, text: str, value: Any) -> _Operand:
    return _Operand(kind, text, lambda event, values: value, constant=value)


def _as_seen_by(part: _Operand, constant: Any) -> Any:
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
