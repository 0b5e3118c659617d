"""Conditions against two references: the library's own evaluation where everything is known, and a naive
three-valued evaluation by case distinction where something is missing."""

import operator
import re
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import rule_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.decisions.condition_text import MAX_CHARACTERS, ConditionError
from fraud_platform.decisions.conditions import Condition, compile_condition
from fraud_platform.decisions.rule_names import names_of
from fraud_platform.features.selection import build_catalog
from fraud_platform.transactions.contract import CHANNELS, TRANSACTION_COLUMNS

CATALOG = build_catalog(TRANSACTION_COLUMNS, ["basket_size"], 7 * 86_400_000_000)
NAMES = names_of(CATALOG)
NUMBERS = ("amount_cents", "latitude", "customer_count_1h", "is_foreign", "amount_to_customer_mean_30d")
TEXTS = ("channel", "merchant_id", "device_id")


def ask(condition: str | Condition, **given: Any) -> bool | None:
    """What a condition says of a payment with these values; what is not given is missing."""
    if isinstance(condition, str):
        condition = compile_condition(condition, NAMES)
    values = [np.float32(given.get(name, np.nan)).item() for name in CATALOG.names]
    return condition.holds({"event_us": 0, "amount_cents": 1, **given}, values)


def problem(condition: str) -> str:
    with pytest.raises(ConditionError) as error:
        compile_condition(condition, NAMES)
    return str(error.value)


# --- everything is known: the library's own evaluation is the reference ---------------------------------------

whole = st.integers(-8, 8)
ids = st.sampled_from(["", "a", "ab", "ABC", "m1"])


def numbers(depth: int) -> st.SearchStrategy[str]:
    leaf = st.one_of(st.sampled_from(NUMBERS), whole.map(lambda n: f"({n})"))
    if not depth:
        return leaf
    below = numbers(depth - 1)
    return st.one_of(
        leaf, st.builds("({} {} {})".format, below, st.sampled_from("+-*"), below), below.map("(-{})".format)
    )


def truths(depth: int) -> st.SearchStrategy[str]:
    compared = st.builds("{} {} {}".format, numbers(2), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), numbers(2))
    listed = st.builds("{} in [{}, {}]".format, st.sampled_from(NUMBERS), whole, whole)
    equal = st.builds("{} {} {}".format, st.sampled_from(TEXTS[1:]), st.sampled_from(["==", "!="]), st.just('"ab"'))
    asked = st.builds(
        '{}.{}("{}")'.format, st.sampled_from(TEXTS[1:]), st.sampled_from(["starts_with", "ends_with"]), ids
    )
    missing = st.builds("{} {} null".format, st.sampled_from([*NUMBERS, *TEXTS]), st.sampled_from(["==", "!="]))
    case = st.sampled_from(TEXTS).map("{0}.as_upper.as_lower == {0}.as_lower".format)
    long = st.builds("{}.length > {}".format, st.sampled_from(TEXTS), whole)
    leaf = st.one_of(compared, listed, equal, asked, missing, case, long)
    if not depth:
        return leaf.map("({})".format)
    below = truths(depth - 1)
    return st.one_of(
        leaf.map("({})".format), below.map("(not {})".format), st.builds("({} {} {})".format, below, logic, below)
    )


logic = st.sampled_from(["and", "or"])
full = st.fixed_dictionaries(
    dict.fromkeys(NUMBERS, whole) | {"channel": st.sampled_from(CHANNELS), "merchant_id": ids, "device_id": ids}
)


@settings(max_examples=300, deadline=None)
@given(truths(3), full)
def test_where_everything_is_known_it_says_what_the_library_says(text: str, payment: dict[str, Any]) -> None:
    if not any(name in text for name in (*NUMBERS, *TEXTS)):
        return  # refused: it says the same of every payment
    expected = rule_engine.Rule(text, rule_engine.Context(default_timezone="utc")).matches(payment)
    assert ask(text, **payment) is expected


# --- something is missing: case distinction is the reference ---------------------------------------------------

ORDERS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, ">=": operator.ge}
trees = st.recursive(
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from(sorted(ORDERS)), whole),
    lambda below: st.one_of(st.tuples(st.just("not"), below), st.tuples(logic, below, below)),
    max_leaves=8,
)
partial = st.fixed_dictionaries({}, optional={name: whole for name in NUMBERS if name != "amount_cents"})


def written(tree: Any) -> str:
    match tree:
        case ("not", below):
            return f"(not {written(below)})"
        case (("and" | "or") as word, left, right):
            return f"({written(left)} {word} {written(right)})"
        case (name, order, number):
            return f"{name} {order} {number}"


def worlds(tree: Any, payment: dict[str, Any]) -> set[bool]:
    """What the tree may say, over both answers of every comparison that needs a missing value, each for itself."""
    match tree:
        case ("not", below):
            return {not answer for answer in worlds(below, payment)}
        case (("and" | "or") as word, left, right):
            join = all if word == "and" else any
            return {join((a, b)) for a in worlds(left, payment) for b in worlds(right, payment)}
        case (name, order, number):
            return {ORDERS[order](payment[name], number)} if name in payment else {True, False}


@settings(max_examples=300, deadline=None)
@given(trees, partial)
def test_a_missing_value_leaves_open_exactly_what_depends_on_it(tree: Any, payment: dict[str, Any]) -> None:
    payment = {"amount_cents": 1, **payment}
    answers = worlds(tree, payment)
    assert ask(written(tree), **payment) is (answers.pop() if len(answers) == 1 else None)


@pytest.mark.parametrize("sign", ["==", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("name", ["customer_count_1h", "latitude"])
def test_no_comparison_with_a_missing_value_is_met_and_none_of_their_negations(name: str, sign: str) -> None:
    assert ask(f"{name} {sign} 0") is None
    assert ask(f"not {name} {sign} 0") is None
    assert ask(f"0 {sign} {name}") is None
    assert ask(f"{name} {sign} {name}") is None


@pytest.mark.parametrize(
    "condition",
    [
        'device_id == "D"',
        'device_id != "D"',
        'device_id in ["D"]',
        'device_id not in ["D"]',
        '"D" in device_id',
        '"D" not in device_id',
        'device_id.starts_with("D")',
        'not device_id.ends_with("D")',
        "device_id.length < 5",
        'device_id.as_lower != "d"',
        "customer_count_1h + 1 > 0",
        "-customer_count_1h < 1",
        "customer_count_1h in [1]",
        "(customer_count_1h > 1) == (customer_count_1h > 1)",
        "amount_cents / (amount_cents - amount_cents) > 0",
        "amount_cents % (amount_cents - amount_cents) == 0",
        "amount_cents // (amount_cents - 1) >= 0",
    ],
)
def test_what_cannot_be_known_is_not_met(condition: str) -> None:
    assert ask(condition, amount_cents=1) is None


def test_a_missing_value_is_found_by_comparing_with_null() -> None:
    assert ask("device_id == null") is True
    assert ask("null != device_id") is False
    assert ask("customer_count_1h == null") is True
    assert ask("customer_count_1h != null", customer_count_1h=0) is True
    assert ask('device_id == null or device_id == "D"', device_id="D") is True


def test_a_stand_in_takes_the_place_of_a_missing_value() -> None:
    assert ask("(customer_count_1h ?? 0) < 1") is True
    assert ask("(customer_count_1h ?? 0) < 1", customer_count_1h=1) is False
    assert ask('(device_id ?? "none") == "none"') is True
    assert ask("(customer_count_1h ?? latitude) < 1") is None


# --- single things that a condition may say --------------------------------------------------------------------


@pytest.mark.parametrize("decimal", ["0.1", "0.7", "0.3", "1.1", "123456.789"])
def test_a_constant_is_rounded_as_the_feature_is(decimal: str) -> None:
    value = {"merchant_fraud_rate_7d": float(decimal)}  # ask() rounds it to float32, as the vector has it
    for condition in ("== {}", ">= {}", "<= {}", "in [{}]"):
        assert ask(f"merchant_fraud_rate_7d {condition.format(decimal)}", **value) is True
    assert ask(f"merchant_fraud_rate_7d > {decimal}", **value) is False
    assert ask(f"{decimal} != merchant_fraud_rate_7d", **value) is False


def test_amounts_are_whole_minor_units_and_compared_exactly() -> None:
    assert ask("amount_cents == 999999999999", amount_cents=999_999_999_999) is True
    assert ask("amount_cents == 999999999999", amount_cents=999_999_999_998) is False
    assert ask("amount_cents * 2 == 1999999999998", amount_cents=999_999_999_999) is True


@pytest.mark.parametrize(
    ("time", "hour", "weekday"),
    [
        ("1970-01-01T00:00:00Z", 0, "Thursday"),
        ("2026-01-31T23:59:59Z", 23, "Saturday"),
        ("2000-02-29T05:00:00Z", 5, "Tuesday"),
    ],
)
def test_the_hour_and_the_day_of_the_week_are_those_of_utc(time: str, hour: int, weekday: str) -> None:
    event_us = int(datetime.fromisoformat(time).timestamp()) * 1_000_000
    assert ask(f'event_time.hour == {hour} and event_time.weekday == "{weekday}"', event_us=event_us) is True
    assert ask(f'event_time == d"{time}"', event_us=event_us) is True
    assert ask(f'event_time >= d"{time}"', event_us=event_us - 1) is False


def test_nothing_that_a_payment_holds_makes_a_condition_raise() -> None:
    large = f"({' * '.join(['amount_cents'] * 18)})"  # 10 to the power of 216; its square is infinite
    assert ask(f"{large} * {large} > 1", amount_cents=10**12) is True
    assert ask("customer_count_1h - customer_count_1h == 0", customer_count_1h=float("inf")) is None
    assert ask("customer_count_1h % 3 == 0", customer_count_1h=float("inf")) is None


def test_an_attribute_of_the_source_is_a_name_like_a_feature() -> None:
    assert ask("basket_size >= 3", basket_size=3) is True


def test_names_are_reported_and_so_is_what_the_source_lacks() -> None:
    poor = build_catalog(["transaction_id", "event_time", "customer_id", "amount_cents"], [], 0)
    found = compile_condition('is_new_device == 1 and amount_cents > 5 and card_id != "x"', names_of(poor))
    assert found.names == {"is_new_device", "amount_cents", "card_id"}
    assert found.lacking == ("card_id", "device_id")


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("custmer_count_1h > 5", "custmer_count_1h is not known. Did you mean customer_count_1h?"),
        ("zzz > 5 and yyy > 5", "yyy is not known.* zzz is not known"),
        ("is_foreign", "is_foreign is a number where true or false is needed.*is_foreign == 1"),
        ("is_foreign == 1 and is_night", "is_night is a number where true or false is needed"),
        ("amount_cents + 1", "a number where true or false is needed"),
        ("channel", "channel is a text where true or false is needed"),
        ("not amount_cents", "amount_cents is a number where"),
        ("channel == 5", "`channel == 5` compares a text with a number"),
        ("channel > 'online'", "a text has no order"),
        ("amount_cents == '5'", "compares a number with a text"),
        ("amount_cents == true", "compares a number with true or false"),
        ("event_time > 5", "compares a time with a number"),
        ("event_time - 5 > 5", "`-` takes numbers"),
        ("merchant_id + 'a' == 'xa'", "`\\+` takes numbers"),
        ("-merchant_id == 1", "`-` takes numbers"),
        ("device_id > null", "null has no order"),
        ("channel == 'onlin'", "channel is never 'onlin'. It is one of in_person, online"),
        ("channel in ['online', 'fax']", "channel is never 'fax'"),
        ("merchant_country == 'de'", "merchant_country is never 'de'"),
        ("merchant_country in ['DE', 5]", "5 is a number in the list that merchant_country, a text"),
        ("merchant_country in []", "is empty"),
        ("merchant_country in [home_country]", "Give constants"),
        ("amount_cents in merchant_id", "`in` looks for"),
        ("amount_cents in 5", "does not fit its operator"),
        ("customer_count_1h ?? 0 > 5", "binds less than comparisons"),
        ("(customer_count_1h ?? 'none') == 'none'", "of its kind, a number"),
        ("amount_cents.hour > 5", "has no .hour"),
        ("merchant_id.hour > 5", "has no .hour. Use .length or"),
        ("merchant_id.to_int > 5", "\\.to_int is not available"),
        ("merchant_id.starts_with(5)", "takes one text"),
        ("merchant_id.starts_with('a', 'b')", "takes one text"),
        ("customer_count_1h = 5", "equality is written `==`"),
        ("customer_count_1h > 5 AND is_night == 1", "are written small"),
        ("customer_count_1h > 5 && is_night == 1", "and is written `and`"),
        ("customer_count_1h > 5 || is_night == 1", "or is written `or`"),
        ("!(customer_count_1h > 5)", "negation is written `not`"),
        ("customer_count_1h <> 5", "inequality is written `!=`"),
        ("device_id is null", "found by `== null`"),
        ("1 < customer_count_1h < 5", "`a > 1 and a < 5`"),
        ("customer_count_1h >", "ends too early"),
        ("(customer_count_1h > 5", "ends too early"),
        ("customer_count_1h > 5)", "cannot be read from '\\)'"),
        ("customer_count_1h > 5 amount_cents", "cannot be read from 'amount_cents'"),
        ("merchant_id == 'm", "a text without an end"),
        ("amount_cents > 1_000", "without `_`"),
        ("amount_cents > 1e3", "all its digits"),
        ("amount_cents > 9999999999999999999", "more than anything"),
        ("amount_cents > nan", "no values of a payment"),
        ("1 / 0 < amount_cents", "division by zero"),
        ("channel == 'online' ? true : false", "Write two rules"),
        ("amount_cents > 5 # large", "a comment does not belong"),
        ("$now > event_time", "functions and variables with \\$"),
        ("abs(amount_cents) > 5", "abs is not known"),
        ("merchant_id[0] == 'm'", "GetItem is not available"),
        ("[amount_cents] == [5]", "is not available"),
        ("{'a': amount_cents} == {'a': 5}", "is not available"),
        ("event_time - t'PT1H' > event_time", "is not available|takes numbers"),
        ("true", "the same of every payment"),
        ("'a' == 'a'", "the same of every payment"),
        ("amount_cents ** 2 > 5", "powers"),
        ("amount_cents << 2 > 5", "powers"),
    ],
)
def test_what_is_wrong_is_said_with_the_way_to_mend_it(condition: str, message: str) -> None:
    assert re.search(message, problem(condition)), problem(condition)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "condition",
    [
        f'"{"a" * 60}!" =~ "(a+)+$" and amount_cents > 1',  # the library matches constants while it parses
        'merchant_id !~~ "(a+)+$"',
        "1 << 99999999999 > amount_cents",
        "9 ** 9 ** 9 ** 9 > amount_cents",
        "(9e999999999).to_int > amount_cents",
        "amount_cents > is_night" + " + is_night" * 80,
        "not " * 240 + "amount_cents > 1",
        "(" * 11 + "amount_cents > 1" + ")" * 11,
        "(((((amount_cents" + "+(1" * 10 + ")" * 10 + "))))) > 1",
    ],
)
def test_what_could_take_for_ever_or_is_too_deep_is_refused_at_once(condition: str) -> None:
    assert problem(condition)


def test_the_length_is_limited_and_a_long_chain_is_not_deep() -> None:
    terms = [f"customer_count_1h == {n}" for n in range(36)]
    assert ask(" or ".join(terms), customer_count_1h=35) is True
    assert f"{MAX_CHARACTERS} are allowed" in problem(" or ".join(terms * 2))


def test_what_stands_in_quotes_is_no_syntax() -> None:
    assert (
        ask(
            """merchant_id == "a =~ # && $ is NOT 1e5 (((((((((((((" """,
            merchant_id="a =~ # && $ is NOT 1e5 (((((((((((((",
        )
        is True
    )
    assert ask(r"merchant_id == 'it\'s'", merchant_id="it's") is True


def compiled(text: str) -> Condition | None:
    """None where it is refused; any other exception is a failure."""
    try:
        return compile_condition(text, NAMES)
    except ConditionError:
        return None


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from(" ()[]'\"<>=!&|?.,+-*/%~#$_abn019{}:\n"), max_size=40) | st.text(max_size=40))
def test_any_text_is_a_condition_or_is_refused(text: str) -> None:
    compiled(text)


WORDS = (
    "amount_cents channel is_night event_time 'online' 5 0 - ( ) == > and or not in [ ] , ?? null true + .hour .length"
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join))
def test_whatever_is_accepted_can_be_asked_of_any_payment(text: str) -> None:
    if found := compiled(text):
        for payment in ({}, {"is_night": 1, "channel": "online"}, {"is_night": 0, "channel": None}):
            assert ask(found, **payment) in (True, False, None)
