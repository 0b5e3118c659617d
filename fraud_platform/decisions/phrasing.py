"""Sentences with blanks, and how numbers are put into them: money, counts, shares, durations, distances, times.

A blank is {name:format}, and {name*7/30:format} is a number times 7 and divided by 30. What stands in [brackets] is
left out where one of its blanks has no value.

>>> fill("{count:purchases} in the last hour[; usual is {all/720:usual}][ ({sum:money})]", {"count": 12, "all": 750})
'12 purchases in the last hour; usual is 1'
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from fraud_platform.features.expressions import DISTINCT_LIMIT

_BLANK = re.compile(r"\{(\w+)((?:[*/]\d+)*):(\w+)\}")
_PART = re.compile(r"\[([^\]]*)\]|([^\[]+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATIONS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
_CHANNELS = {"in_person": "in person", "atm": "at a cash machine", "phone": "over the phone", "transfer": "by transfer"}

Facts = Mapping[str, float | str | None]


class _Part(NamedTuple):
    """A stretch of a sentence: literal texts and, between them, blanks of (name, factor, format)."""

    texts: tuple[str, ...]
    blanks: tuple[tuple[str, float, str], ...]
    may_be_left_out: bool


def fill(sentence: str, facts: Facts) -> str:
    """The sentence with its blanks filled, its first letter a capital.

    A blank without a value says "unknown" where it is not in brackets.
    """
    filled = "".join(_filled(part, facts) for part in _parts(sentence))
    return filled[:1].upper() + filled[1:]


def blanks(sentence: str) -> list[tuple[str, str, bool]]:
    """The (name, format, whether it may be left out) of each blank."""
    return [(name, form, part.may_be_left_out) for part in _parts(sentence) for name, _, form in part.blanks]


@cache
def _parts(sentence: str) -> tuple[_Part, ...]:
    found: list[_Part] = []
    for match in _PART.finditer(sentence):
        text = match[0] if match[1] is None else match[1]
        pieces = _BLANK.split(text)  # text, name, factor, format, text …
        named = zip(pieces[1::4], map(_factor, pieces[2::4]), pieces[3::4], strict=True)
        found.append(_Part(tuple(pieces[::4]), tuple(named), match[1] is not None))
    return tuple(found)


def _factor(text: str) -> float:
    factor = 1.0
    for sign, number in re.findall(r"([*/])(\d+)", text):
        factor = factor * float(number) if sign == "*" else factor / float(number)
    return factor


def _filled(part: _Part, facts: Facts) -> str:
    words = [part.texts[0]]
    for (name, factor, form), text in zip(part.blanks, part.texts[1:], strict=True):
        value = facts.get(name)
        if value is None:
            if part.may_be_left_out:
                return ""
            words += ["unknown", text]
        else:
            words += [FORMATS[form](value if isinstance(value, str) or factor == 1.0 else value * factor), text]
    return "".join(words)


def money(cents: float) -> str:
    """
    >>> money(129900.0), money(5.0)
    ('1,299.00', '0.05')
    """
    return f"{cents / 100:,.2f}"


def percent(share: float) -> str:
    """
    >>> percent(0.083), percent(0.5), percent(0.0001), percent(0.999), percent(1.0)
    ('8.3 %', '50 %', 'less than 0.1 %', 'more than 99 %', '100 %')
    """
    if 0.0 < share < 0.001:
        return "less than 0.1 %"
    if 0.99 < share < 1.0:
        return "more than 99 %"
    return f"{_short(share * 100)} %"


def duration(seconds: float) -> str:
    """
    >>> duration(0.4), duration(1.0), duration(100.0), duration(180.0), duration(5400.0), duration(86400.0 * 9)
    ('less than a second', '1 second', '100 seconds', '3 minutes', '90 minutes', '9 days')
    """
    if seconds < 1.0:
        return "less than a second"
    unit, size = next((unit, size) for unit, size in _DURATIONS if seconds >= 2 * size or size == 1)
    return _counted(seconds / size, unit, f"{unit}s")


def kilometres(distance: float) -> str:
    """
    >>> kilometres(0.2), kilometres(4.24), kilometres(1234.5)
    ('less than 1 km', '4.2 km', '1,234 km')
    """
    return "less than 1 km" if distance < 1.0 else f"{_short(distance)} km"


def speed(kilometres_a_second: float) -> str:
    """
    >>> speed(0.25), speed(0.0001)
    ('900 km/h', 'less than 1 km/h')
    """
    return f"{kilometres(kilometres_a_second * 3600)}/h"


def times(ratio: float) -> str:
    """
    >>> times(14.2), times(1.04), times(0.5), times(0.001)
    ('14 times', '1.0 times', '0.5 times', 'less than 0.1 times')
    """
    if ratio < 0.1:
        return "less than 0.1 times"
    return f"{ratio:,.0f} times" if ratio >= 9.95 else f"{ratio:.1f} times"


def spreads(deviations: float) -> str:
    """
    >>> spreads(5.23), spreads(-0.8)
    ('5.2 times the usual spread above', '0.8 times the usual spread below')
    """
    return f"{times(abs(deviations))} the usual spread {'above' if deviations > 0 else 'below'}"


def usual(count: float) -> str:
    """What a count is on average.

    >>> usual(0.0), usual(0.3), usual(1.0), usual(1.44), usual(37.2)
    ('none', 'less than 1', '1', '1.4', '37')
    """
    if 0.0 < count < 0.95:
        return "less than 1"
    return _short(count) if count else "none"


def clock(event_us: float) -> str:
    """
    >>> clock(3 * 3_600_000_000 + 12 * 60_000_000), clock(12 * 3_600_000_000)
    ('03:12 UTC, at night', '12:00 UTC')
    """
    moment = _moment(event_us)
    return f"{moment:%H:%M} UTC{', at night' if moment.hour < 6 else ''}"


def weekday(event_us: float) -> str:
    """
    >>> weekday(0)
    'Thursday'
    """
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return days[_moment(event_us).weekday()]


def quarter(event_us: float) -> str:
    """
    >>> quarter(20 * 3_600_000_000)
    '18:00 and 24:00 UTC'
    """
    first = _moment(event_us).hour // 6 * 6
    return f"{first:02}:00 and {first + 6:02}:00 UTC"


def number(value: float) -> str:
    """
    >>> number(3), number(1234567.0), number(0.123456), number(-1234.56), number(1e20)
    ('3', '1,234,567', '0.1235', '-1,234.6', '1e+20')
    """
    if not abs(value) < 1e15:
        return f"{value:.4g}"
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"


def _moment(event_us: float) -> datetime:
    return _EPOCH + timedelta(microseconds=int(event_us))


def _short(value: float) -> str:
    """One decimal below 10 where it is not 0, none above."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")


def _counted(count: float, one: str, many: str) -> str:
    whole = round(count)
    return f"{whole:,} {one if whole == 1 else many}" if whole else f"no {many}"


def _counts(one: str, many: str) -> Callable[[float], str]:
    return lambda count: _counted(count, one, many)


def _distinct(one: str, many: str) -> Callable[[float], str]:
    """Of what is counted up to a limit."""
    return lambda count: f"{DISTINCT_LIMIT} or more {many}" if count >= DISTINCT_LIMIT else _counted(count, one, many)


FORMATS: dict[str, Callable[[Any], str]] = {
    "purchases": _counts("purchase", "purchases"),
    "payments": _counts("payment", "payments"),
    "frauds": _counts("known fraud", "known frauds"),
    "merchants": _distinct("merchant", "merchants"),
    "countries": _distinct("country", "countries"),
    "devices": _distinct("device", "devices"),
    "customers": _distinct("customer", "customers"),
    "money": money,
    "percent": percent,
    "duration": duration,
    "km": kilometres,
    "speed": speed,
    "times": times,
    "spreads": spreads,
    "usual": usual,
    "clock": clock,
    "weekday": weekday,
    "quarter": quarter,
    "number": number,
    "text": str,
    "channel": lambda channel: _CHANNELS.get(str(channel), str(channel)),
}
"""What may stand behind the colon of a blank."""
