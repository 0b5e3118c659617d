"""Numbers in sentences, beside the examples in the module itself."""

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.decisions import phrasing
from fraud_platform.decisions.phrasing import FORMATS, blanks, fill


def test_the_examples_of_the_module_are_true() -> None:
    result = doctest.testmod(phrasing)
    assert result.attempted > 10 and result.failed == 0


@pytest.mark.parametrize(
    ("form", "value", "words"),
    [
        ("purchases", 0.0, "no purchases"),
        ("purchases", 1.0, "1 purchase"),
        ("payments", 12345.0, "12,345 payments"),
        ("countries", 2.0, "2 countries"),
        ("merchants", 99.0, "99 merchants"),
        ("merchants", 100.0, "100 or more merchants"),  # where distinct counts stop
        ("money", 0.0, "0.00"),
        ("money", 123456789.0, "1,234,567.89"),
        ("percent", 0.0, "0 %"),
        ("percent", 0.99, "99 %"),
        ("percent", 1 / 3, "33 %"),
        ("duration", 119.0, "119 seconds"),
        ("duration", 120.0, "2 minutes"),
        ("duration", 7199.0, "120 minutes"),
        ("duration", 7200.0, "2 hours"),
        ("duration", 86_400.0 * 7, "7 days"),
        ("duration", 86_400.0, "24 hours"),
        ("km", 9.96, "10 km"),
        ("spreads", 12.4, "12 times the usual spread above"),
        ("channel", "in_person", "in person"),
        ("channel", "online", "online"),
        ("clock", 86_399_999_999, "23:59 UTC"),
        ("clock", 0, "00:00 UTC, at night"),
        ("clock", 21_600_000_000, "06:00 UTC"),
        ("quarter", 21_599_999_999, "00:00 and 06:00 UTC"),
        ("number", 0.0, "0"),
        ("number", -3.5, "-3.5"),
        ("number", math.inf, "inf"),
    ],
)
def test_formats(form: str, value: float | str, words: str) -> None:
    assert FORMATS[form](value) == words


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_never_reads_smaller(one: float, other: float) -> None:
    def read(text: str) -> float:
        number = float(text.split()[-2])
        return number - 1e-9 if "less" in text else number + 1e-9 if "more" in text else number

    low, high = sorted((one, other))
    assert read(FORMATS["percent"](low)) <= read(FORMATS["percent"](high))


@pytest.mark.parametrize(
    ("sentence", "facts", "words"),
    [
        ("paid {value:km} from home", {"value": 12.0}, "Paid 12 km from home"),
        ("{value:payments}[ of {all:number}]", {"value": 1.0, "all": 7.0}, "1 payment of 7"),
        ("{value:payments}[ of {all:number}]", {"value": 1.0, "all": None}, "1 payment"),
        ("{value:payments}[ of {all:number} and {more:number}] here", {"value": 1.0, "all": 7.0}, "1 payment here"),
        ("[in {country:text}, ]{value:payments}", {"value": 2.0, "country": "NL"}, "In NL, 2 payments"),
        ("usual is {value*7/30:usual}", {"value": 60.0}, "Usual is 14"),
        ("paid {channel:channel}", {"channel": None}, "Paid unknown"),
        ("{name:text} is odd", {"name": "a{b}[c]"}, "A{b}[c] is odd"),
    ],
)
def test_blanks_are_filled_or_left_out(sentence: str, facts: dict, words: str) -> None:
    assert fill(sentence, facts) == words


def test_blanks_are_listed() -> None:
    assert blanks("{a:money} of {b*7/30:usual}[, {c:text}]") == [
        ("a", "money", False),
        ("b", "usual", False),
        ("c", "text", True),
    ]
