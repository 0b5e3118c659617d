"""That every feature has words, that they can always be said, and what they are."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.decisions import wording
from fraud_platform.decisions.phrasing import FORMATS, blanks
from fraud_platform.decisions.reasons import Reasons
from fraud_platform.features.catalog import FEATURES, Feature
from fraud_platform.features.expressions import DAY, Call, Column, Expression, Rolling, columns_of
from fraud_platform.features.listing import type_of
from fraud_platform.features.selection import build_catalog
from fraud_platform.transactions.contract import CHANNELS, OPTIONAL, REQUIRED
from fraud_platform_tests.decisions.weights import Weights

CATALOG = build_catalog([*REQUIRED, *OPTIONAL], ["basket_size"], 7 * DAY)
FORMULAS = {feature.name: feature.formula for feature in FEATURES}
BARE = {"event_us": 1_767_582_720_000_000, "amount_cents": 129_900, "customer_id": "c"}  # Monday 2026-01-05, 03:12
EVENT = BARE | {
    "merchant_id": "m",
    "card_id": "k",
    "device_id": "d",
    "merchant_country": "GB",
    "home_country": "NL",
    "channel": "atm",
    "latitude": 51.5,
    "longitude": -0.1,
    "home_latitude": 52.4,
    "home_longitude": 4.9,
    "basket_size": 3.25,
}


def say(feature: str, values: dict[str, float], event: dict[str, Any] | None = None, delay_days: int = 7) -> str:
    """What a feature says of a payment, all of whose other features are missing but these."""
    catalog = build_catalog([*REQUIRED, *OPTIONAL], ["basket_size"], delay_days * DAY)
    vector = np.array([values.get(name, np.nan) for name in catalog.names], np.float32)
    (reason,) = Reasons(catalog, Weights(catalog, {feature: 1.0})).of(EVENT if event is None else event, vector)
    return reason.text


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_every_feature_of_the_catalog_has_words(feature: Feature) -> None:
    assert wording.TEXTS.get(feature.name)


def test_there_are_no_words_of_features_that_do_not_exist() -> None:
    topics = [name for topic in wording.TOPICS for name in topic]
    for names in (wording.TEXTS, wording.ZEROS, wording.MISSING, topics):
        assert set(names) <= FORMULAS.keys()
    assert len(topics) == len(set(topics))
    assert set(wording.COLUMNS) <= set(OPTIONAL)


SENTENCES = [
    (feature, sentence)
    for table in (wording.TEXTS, wording.ZEROS, wording.MISSING)
    for feature, sentence in table.items()
]


@pytest.mark.parametrize(("feature", "sentence"), SENTENCES)
def test_a_blank_has_a_value_whenever_the_sentence_is_said(feature: str, sentence: str) -> None:
    """A column that the feature needs, one that every transaction has, or a count of the same entity."""
    needed = of_the_event(FORMULAS[feature])
    for name, form, may_be_left_out in blanks(sentence):
        assert form in FORMATS
        if may_be_left_out:
            assert name in FORMULAS or name in OPTIONAL or name == "_label_delay"
        elif name == "value":
            assert sentence not in wording.MISSING.values()
        elif name in FORMULAS:
            other = FORMULAS[name]
            assert isinstance(other, Rolling) and other.operation in ("count", "sum")
            assert set(other.entity) <= needed
        else:
            assert name in {"event_us", *REQUIRED} | needed


def of_the_event(formula: Expression | float | str) -> set[str]:
    if isinstance(formula, Call):
        return set().union(*map(of_the_event, formula.arguments))
    return (
        set(formula.entity)
        if isinstance(formula, Rolling)
        else columns_of(formula)
        if isinstance(formula, Column)
        else set()
    )


VALUES = [0.0, 1e-4, 0.5, 1.0, 12.0, 250.0, 1e6, -2.5]


@pytest.mark.parametrize("name", CATALOG.names)
def test_words_are_plain_sentences_whatever_is_known(name: str) -> None:
    for value in [*VALUES, np.nan]:
        for others in ({}, dict.fromkeys(CATALOG.names, 12.0)):
            for event in (EVENT, BARE):
                if (
                    event is BARE
                    and not np.isnan(value)
                    and of_the_event(FORMULAS.get(name, Column(name))) - BARE.keys()
                ):
                    continue  # it has no value then
                is_plain(
                    say(name, {**others, name: value}, {**event, "basket_size": None if np.isnan(value) else value})
                )


def is_plain(text: str) -> None:
    assert re.fullmatch(r"[A-Z0-9-][A-Za-z0-9 .,:;()%/'+-]+", text), text
    assert not re.search(r"unknown|nan\b|\bNone\b(?! of)|_|  | ,|\( ", text), text


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.none() | st.floats(0, 1e7, width=32), min_size=len(CATALOG.names), max_size=len(CATALOG.names)),
    st.data(),
)
def test_any_payment_has_reasons_in_plain_sentences(values: list[float | None], data: st.DataObject) -> None:
    known = data.draw(st.sets(st.sampled_from(sorted(OPTIONAL))))
    event = BARE | {name: EVENT.get(name) for name in known} | {"channel": data.draw(st.sampled_from(CHANNELS))}
    vector = np.array([np.nan if value is None else value for value in values], np.float32)
    weights = dict.fromkeys(CATALOG.names, 0.01)
    reasons = Reasons(CATALOG, Weights(CATALOG, weights)).of(event | {"merchant_country": "GB"}, vector, limit=100)
    assert sum(reason.contribution for reason in reasons) == pytest.approx(0.01 * len(CATALOG.names))
    assert len({reason.text for reason in reasons}) == len(reasons) > 5
    for reason in reasons:
        is_plain(reason.text)


FLAGS = [name for name, formula in FORMULAS.items() if type_of(formula) == "flag"]


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_that_is_0_says_something_else(name: str) -> None:
    online = EVENT | {"channel": "online"}  # what a payment over the internet says of itself
    assert say(name, {name: 1.0}, online) != say(name, {name: 0.0}, EVENT)


@pytest.mark.parametrize(
    ("feature", "values", "text"),
    [
        ("amount", {"amount": 129_900}, "Amount 1,299.00"),
        ("amount_log", {"amount_log": 11.8}, "Amount 1,299.00"),
        ("amount_is_round", {"amount_is_round": 0}, "Amount 1,299.00 is not a multiple of 10.00"),
        ("hour_cos", {"hour_cos": 0.7}, "Paid at 03:12 UTC, at night"),
        ("weekday_sin", {"weekday_sin": 0.0}, "Paid on a Monday (UTC)"),
        ("is_weekend", {"is_weekend": 0}, "Paid on a Monday (UTC), not at the weekend"),
        ("is_foreign", {"is_foreign": 1}, "The merchant is abroad, in GB; the customer's home is NL"),
        ("is_online", {"is_online": 0}, "Paid at a cash machine"),
        ("night_amount_log", {"night_amount_log": 11.8}, "Amount 1,299.00, paid at 03:12 UTC, at night"),
        ("kilometres_from_home", {"kilometres_from_home": 357.6}, "Paid 358 km from the customer's home"),
        (
            "customer_count_1h",
            {"customer_count_1h": 12, "customer_count_30d": 720},
            "12 purchases in the last hour; this customer's usual is 1",
        ),
        (
            "customer_count_1h",
            {"customer_count_1h": 0, "customer_count_30d": 0},
            "No purchases in the last hour; this customer's usual is none",
        ),
        (
            "customer_count_7d",
            {"customer_count_7d": 1, "customer_count_30d": 45},
            "1 purchase in the last 7 days; this customer's usual is 10",
        ),
        (
            "customer_amount_sum_1d",
            {"customer_amount_sum_1d": 84_000, "customer_amount_sum_7d": 140_000},
            "840.00 spent in the last day; this customer's usual is 200.00",
        ),
        (
            "customer_seconds_since_last",
            {"customer_seconds_since_last": 185.0},
            "3 minutes since this customer's last purchase",
        ),
        (
            "customer_foreign_share_30d",
            {"customer_foreign_share_30d": 0.25},
            "25 % of this customer's purchases in 30 days were abroad",
        ),
        (
            "amount_to_customer_mean_30d",
            {"amount_to_customer_mean_30d": 14.0, "customer_amount_mean_30d": 9279.0},
            "Amount 1,299.00 is 14 times this customer's mean of 30 days, 92.79",
        ),
        (
            "amount_score_7d",
            {"amount_score_7d": -1.5},
            "Amount 1,299.00 is 1.5 times the usual spread below this customer's mean of 7 days",
        ),
        (
            "count_1d_to_usual",
            {"count_1d_to_usual": 6.2, "customer_count_1d": 12},
            "12 purchases in the last day, 6.2 times this customer's usual",
        ),
        (
            "usual_hours_share_30d",
            {"usual_hours_share_30d": 0.0},
            "None of this customer's purchases in 30 days was between 00:00 and 06:00 UTC",
        ),
        (
            "kilometres_per_second_from_last",
            {"kilometres_per_second_from_last": 0.5},
            "To come from where this customer paid last takes 1,800 km/h",
        ),
        ("is_new_merchant", {"is_new_merchant": 1}, "This customer's first payment at this merchant in 30 days"),
        ("is_new_merchant", {"is_new_merchant": 0}, "This customer has paid at this merchant in the last 30 days"),
        ("is_new_country", {"is_new_country": 1}, "This customer's first payment in GB in 30 days"),
        (
            "merchant_count_1h",
            {"merchant_count_1h": 1, "merchant_count_30d": 300},
            "1 payment at this merchant in the last hour; its usual is less than 1",
        ),
        (
            "merchant_fraud_rate_7d",
            {"merchant_fraud_rate_7d": 0.083, "merchant_known_frauds_7d": 5},
            "Known fraud rate of this merchant over 7 days is 8.3 % "
            "(5 known frauds among payments at least 7 days old)",
        ),
        (
            "merchant_fraud_rate_1d",
            {"merchant_fraud_rate_1d": 0.0},
            "No known fraud at this merchant over 1 day (among payments at least 7 days old)",
        ),
        ("basket_size", {"basket_size": 3.25}, "Basket size is 3.25"),
    ],
)
def test_examples(feature: str, values: dict[str, float], text: str) -> None:
    assert say(feature, values) == text


@pytest.mark.parametrize(
    ("feature", "lacking", "text"),
    [
        ("customer_seconds_since_last", (), "No purchase by this customer in the last 30 days"),
        (
            "amount_score_30d",
            (),
            "Amount 1,299.00 cannot be judged by this customer's last 30 days: "
            "fewer than 2 payments, or all of one amount",
        ),
        (
            "merchant_fraud_rate_3d",
            (),
            "Fraud rate of this merchant is not known: no payments over 3 days (among payments at least 7 days old)",
        ),
        ("merchant_fraud_rate_3d", ("merchant_id",), "The merchant is not known"),
        ("merchant_count_1h", ("merchant_id",), "The merchant is not known"),
        ("card_count_1h", ("card_id",), "The card is not known"),
        ("device_customers_30d", ("device_id",), "The device is not known"),
        ("is_new_country", ("merchant_country",), "The merchant's country is not known"),
        ("is_foreign", ("home_country",), "The customer's home country is not known"),
        ("is_online", ("channel",), "How the payment was made is not known"),
        ("kilometres_from_home", ("latitude", "longitude"), "Where the payment was made is not known"),
        ("kilometres_from_home", ("home_latitude", "home_longitude"), "The place of the customer's home is not known"),
        ("kilometres_from_last", (), "Where this customer paid last is not known"),
        ("customer_merchant_seconds_since_last", (), "This customer's first payment at this merchant in 30 days"),
        ("basket_size", ("basket_size",), "Basket size is not known"),
    ],
)
def test_what_is_missing_is_said(feature: str, lacking: tuple[str, ...], text: str) -> None:
    assert say(feature, {}, EVENT | dict.fromkeys(lacking) | {"basket_size": None}) == text


def test_without_a_label_delay_nothing_is_said_of_it() -> None:
    values = {"merchant_fraud_rate_7d": 0.5, "merchant_known_frauds_7d": 5.0}
    assert (
        say("merchant_fraud_rate_7d", values, delay_days=0) == "Known fraud rate of this merchant over 7 days is 50 %"
    )
