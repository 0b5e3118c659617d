"""Conditions of rules: a text becomes a function of a payment, checked for names and types when it is loaded.

The library rule-engine parses the text. Its own evaluation takes 5 to 30 µs a rule, and where a value is
missing it decides by accident (`x != 5` holds, `x > 5` raises); so its syntax tree is made into closures,
which know three answers, as in SQL: true, false, and None where a missing value leaves it open.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rule_engine import ast

from fraud_platform.decisions import three_values as three
from fraud_platform.decisions.condition_text import ConditionError, Kind, check_text, parse
from fraud_platform.decisions.operands import KIND_WORDS, Operand, as_seen_by, literal, not_available
from fraud_platform.decisions.rule_names import Name, Reader, nearest
from fraud_platform.features.expressions import DAY, HOUR

MAX_DEPTH = 20
"""Operators within operators; a chain of `and` or of `or` counts once."""

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


@dataclass(frozen=True)
class Condition:
    """A condition that can be asked.

    Attributes:
        holds: True, False, or None where a missing value leaves it open; only True is a match.
        names: that it uses.
        lacking: the columns that it needs, sorted, and the source does not give: then it is never asked.
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
    return Condition(holds, used, tuple(sorted({column for name in used for column in names[name].lacking})))


class _Compiler:
    """Makes nodes of rule-engine's syntax tree into operands."""

    def __init__(self, names: Mapping[str, Name]) -> None:
        self._names = names
        self._depth = 0

    def truth(self, node: object) -> Operand:
        """A part that has to be true or false."""
        part = self._operand(node)
        if part.kind != "truth":
            raise ConditionError(
                f"{part.text} is {KIND_WORDS[part.kind]} where true or false is needed. "
                f"Compare it, such as {part.text} {'== 1' if part.kind == 'number' else '== …'}."
            )
        return part

    def _operand(self, node: object) -> Operand:
        if self._depth >= MAX_DEPTH:
            raise ConditionError(f"has operators more than {MAX_DEPTH} deep. Write several rules.")
        self._depth += 1
        part = self._dispatch(node)
        self._depth -= 1
        return part

    def _dispatch(self, node: object) -> Operand:
        match node:
            case ast.SymbolExpression():
                name = self._names[node.name]
                return Operand(name.kind, name.name, name.read, name=name)
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
                return literal(node)
            case _:
                raise not_available(node)

    def _logic(self, node: ast.LogicExpression) -> Operand:
        parts = [self.truth(part) for part in _chain(node, node.type)]
        readers = tuple(part.read for part in parts)
        combined = three.all_of(readers) if node.type == "and" else three.any_of(readers)
        return Operand("truth", f"({f' {node.type} '.join(part.text for part in parts)})", combined)

    def _unary(self, node: ast.UnaryExpression) -> Operand:
        if node.type == "not":
            part = self.truth(node.right)
            return Operand("truth", f"not {part.text}", three.negated(part.read))
        part = self._number(node.right, "-")
        return Operand("number", f"-{part.text}", three.lifted(operator.neg, part.read))

    def _number(self, node: object, sign: str) -> Operand:
        part = self._operand(node)
        if part.kind != "number":
            raise ConditionError(f"{part.text} is {KIND_WORDS[part.kind]}: `{sign}` takes numbers.")
        return part

    def _comparison(self, node: ast.ComparisonExpression) -> Operand:
        if node.type not in _COMPARISONS:
            raise not_available(node)
        left, right, kind = self._operand(node.left), self._operand(node.right), node.type
        sign, compare = _COMPARISONS[kind]
        text = f"{left.text} {sign} {right.text}"
        if "null" in (left.kind, right.kind):
            return _missing(left, right, kind, text)
        if left.kind != right.kind:
            raise ConditionError(
                f"`{text}` compares {KIND_WORDS[left.kind]} with {KIND_WORDS[right.kind]}, which never are equal."
            )
        if kind not in ("eq", "ne") and left.kind not in ("number", "time"):
            raise ConditionError(f"`{text}`: {KIND_WORDS[left.kind]} has no order. Use ==, != or `in`.")
        if left.is_constant:
            left, right, compare = right, left, _COMPARISONS[_MIRRORED[kind]][1]
        if right.is_constant:
            return Operand("truth", text, three.with_constant(compare, left.read, as_seen_by(left, right.constant)))
        return Operand("truth", text, three.with_both(compare, left.read, right.read))

    def _contains(self, node: ast.ContainsExpression) -> Operand:
        member = self._operand(node.member)
        if isinstance(node.container, (ast.ArrayExpression, ast.SetExpression)):
            members = [self._operand(part) for part in node.container.value]
            for part in members:
                if not part.is_constant or part.kind != member.kind:
                    raise ConditionError(
                        f"{part.text} is {KIND_WORDS[part.kind]} in the list that {member.text}, "
                        f"{KIND_WORDS[member.kind]}, is looked for in. Give constants of its kind."
                    )
            if not members:
                raise ConditionError(f"the list that {member.text} is looked for in is empty. Give its values.")
            values = frozenset(as_seen_by(member, part.constant) for part in members)
            text = f"{member.text} in [{', '.join(part.text for part in members)}]"
            return Operand("truth", text, three.lifted(values.__contains__, member.read))
        container = self._operand(node.container)
        if (member.kind, container.kind) != ("text", "text"):
            raise ConditionError(
                f"`{member.text} in {container.text}`: `in` looks for a value in a list such as [1, 2], "
                "or for a text in a text."
            )
        text = f"{member.text} in {container.text}"
        return Operand("truth", text, three.with_both(operator.contains, container.read, member.read))

    def _coalesce(self, node: ast.CoalesceExpression) -> Operand:
        left, right = self._operand(node.left), self._operand(node.right)
        text = f"({left.text} ?? {right.text})"
        if left.kind != right.kind or left.kind == "null":
            raise ConditionError(
                f"`{text}`: what stands in for a missing value has to be of its kind, {KIND_WORDS[left.kind]}. "
                "`??` binds less than comparisons: write (x ?? 0) > 5."
            )
        return Operand(left.kind, text, three.first_known(left.read, right.read))

    def _arithmetic(self, node: Any) -> Operand:
        if node.type not in _ARITHMETIC:
            raise not_available(node)
        sign, compute = _ARITHMETIC[node.type]
        left, right = self._number(node.left, sign), self._number(node.right, sign)
        return Operand("number", f"({left.text} {sign} {right.text})", three.computed(compute, left.read, right.read))

    def _attribute(self, node: ast.GetAttributeExpression) -> Operand:
        part, name = self._operand(node.object), node.name
        if (part.kind, name) not in _ATTRIBUTES:
            fitting = [f".{name}" for kind, name in _ATTRIBUTES if kind == part.kind]
            hint = f"Use {' or '.join(fitting)}." if fitting else f"{KIND_WORDS[part.kind].capitalize()} has none."
            raise ConditionError(f"{part.text} is {KIND_WORDS[part.kind]} and has no .{name}. {hint}")
        kind, compute = _ATTRIBUTES[part.kind, name]
        return Operand(kind, f"{part.text}.{name}", three.lifted(compute, part.read))

    def _call(self, node: ast.FunctionCallExpression) -> Operand:
        function = node.function
        if not isinstance(function, ast.GetAttributeExpression) or function.name not in _CALLS:
            raise ConditionError(f"functions are not available, but .{'(…), .'.join(_CALLS)}(…) on texts.")
        part, arguments = self._operand(function.object), [self._operand(part) for part in node.arguments]
        if part.kind != "text" or [argument.kind for argument in arguments] != ["text"]:
            raise ConditionError(f"{part.text}.{function.name}(…) is a question to a text, and takes one text.")
        text = f"{part.text}.{function.name}({arguments[0].text})"
        return Operand("truth", text, three.with_both(_CALLS[function.name], part.read, arguments[0].read))


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


def _missing(left: Operand, right: Operand, kind: str, text: str) -> Operand:
    """`a == null` and `a != null`, which are true or false whether or not there is a value."""
    if kind not in ("eq", "ne"):
        raise ConditionError(f"`{text}`: null has no order. A missing value is found by == null or != null.")
    missing = three.is_missing(left.read if right.kind == "null" else right.read)
    return Operand("truth", text, missing if kind == "eq" else three.negated(missing))
