"""The text of a condition: its limits, what is refused before anything reads it, and its syntax tree.

The grammar is that of the library rule-engine. It computes what consists of constants while it parses, so
whatever could take long (regular expressions, powers, shifts, exponents, conversions) is refused before.
"""

import re
from collections.abc import Mapping
from typing import Literal

from rule_engine import Context, DataType, Rule
from rule_engine.ast import ExpressionBase
from rule_engine.errors import EngineError, RuleSyntaxError

Kind = Literal["number", "text", "truth", "time"]

MAX_CHARACTERS = 1000
MAX_BRACKETS = 10
"""Brackets within brackets."""

ATTRIBUTES = ("hour", "weekday", "length", "as_lower", "as_upper", "starts_with", "ends_with")
"""What may stand behind a dot."""

KEYWORDS = frozenset({"and", "or", "not", "in", "null", "true", "false"})

_TYPES = {"number": DataType.FLOAT, "text": DataType.STRING, "time": DataType.DATETIME, "truth": DataType.BOOLEAN}
_TEXT = re.compile(r"""(?:(?<![A-Za-z0-9_$])[rsbdt])?(?P<quote>["'])(?:[^\\\n]|\\.)*?(?P=quote)""")
_NAME = re.compile(r"(?<![\w.$])[A-Za-z_]\w*")
_REFUSED = (
    (r"=~|!~", "a regular expression may take for ever on some payment. Use .starts_with(…), .ends_with(…) or `in`"),
    (r"#", "a comment does not belong into a condition. Write it into `why`"),
    (r"\$", "functions and variables with $ are not available. Write the condition with names and operators"),
    (r"&&", "and is written `and`"),
    (r"\|\|", "or is written `or`"),
    (r"(?<![=!<>])=(?!=)", "equality is written `==`"),
    (r"<>", "inequality is written `!=`"),
    (r"!(?!=)", "negation is written `not`"),
    (r"\*\*|<<|>>|\^|&|\|", "powers and operators on bits are not available"),
    (r"(?<!\?)\?(?!\?)", "`… ? … : …` is not available. Write two rules, or use `and`, `or`"),
    (r"[\d.][eE][+-]?\d", "write the number with all its digits"),
    (r"\d_\d", "write the number without `_`"),
    (r"\b(?:for|if)\b", "`for` and `if` are not available. Use `and`, `or`, `in`"),
    (r"\bis\b", "a missing value is found by `== null` or `!= null`"),
    (r"\b(?:AND|OR|NOT|IN|NULL|TRUE|FALSE|True|False|None)\b", "and, or, not, in, null, true, false are written small"),
    (r"\b(?:inf|nan)\b", "inf and nan are no values of a payment. A missing value is found by `== null`"),
)


class ConditionError(Exception):
    """What is wrong with a condition, and how to mend it."""


def check_text(text: str) -> frozenset[str]:
    """The names that a condition uses.

    Raises:
        ConditionError: if it is too long, too deep, or uses what is refused.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"has {len(text)} characters, and {MAX_CHARACTERS} are allowed. Write several rules.")
    bare = _TEXT.sub(" \0 ", text)
    if open_quote := re.search("[\"'].*", bare):
        raise ConditionError(f"has a text without an end at {open_quote[0][:20]!r}. Close the quotes.")
    for pattern, message in _REFUSED:
        if found := re.search(pattern, bare):
            raise ConditionError(f"{found[0]!r} cannot be used: {message}.")
    depth = 0
    for character in bare:
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_BRACKETS:
            raise ConditionError(f"has brackets more than {MAX_BRACKETS} deep. Write several rules.")
    attributes = re.findall(r"\.\s*([A-Za-z_]\w*)", bare)
    if unknown := [name for name in attributes if name not in ATTRIBUTES]:
        raise ConditionError(f".{unknown[0]} is not available. Use one of .{', .'.join(ATTRIBUTES)}.")
    return frozenset(_NAME.findall(bare)) - KEYWORDS


def parse(text: str, kinds: Mapping[str, Kind] | None) -> ExpressionBase:
    """The syntax tree of a condition that `check_text` passed.

    Args:
        kinds: of every name, which the library then checks too; None: it checks constants alone.

    Raises:
        ConditionError: if it cannot be parsed, or the library finds wrong types.
    """
    types = None if kinds is None else {name: _TYPES[kind] for name, kind in kinds.items()}
    context = Context(type_resolver=types, default_timezone="utc")
    try:
        return Rule(text, context).statement.expression
    except RuleSyntaxError as error:
        raise ConditionError(_where(text, error)) from error
    except (EngineError, ArithmeticError, ValueError, TypeError) as error:
        said = getattr(error, "message", None) or str(error)
        raise ConditionError(f"a constant or its type does not fit its operator ({said}). Correct it.") from error
    except RecursionError as error:
        raise ConditionError("is nested too deeply. Write several rules.") from error


def _where(text: str, error: RuleSyntaxError) -> str:
    if error.token is None:
        return "ends too early. Complete it, and close what was opened."
    rest = text[error.token.lexpos :].split("\n")[0]
    if re.match(r"[<>]=?", rest) and re.search(r"[<>]", text[: error.token.lexpos]):
        return f"cannot be read from {rest[:20]!r} on. Between two bounds is written `a > 1 and a < 5`."
    return f"cannot be read from {rest[:20]!r} on. See docs/rules.md for what a condition may say."
