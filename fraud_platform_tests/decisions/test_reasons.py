"""Which features become reasons, in which order, and that what they say of a history is true."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fraud_platform.decisions import wording
from fraud_platform.decisions.journal import Reason
from fraud_platform.decisions.reasons import Reasons
from fraud_platform.errors import ArtefactError
from fraud_platform.features.catalog import Feature
from fraud_platform.features.expressions import DAY, HOUR, KNOWN_FRAUD, MINUTE, Column
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.selection import build_catalog
from fraud_platform.transactions.contract import REQUIRED
from fraud_platform_tests.decisions.weights import Weights

CATALOG = build_catalog([*REQUIRED, "merchant_id", "device_id"], [], 7 * DAY)
NOW = 20_000 * DAY + 12 * HOUR
EVENT = {"event_us": NOW, "amount_cents": 129_900, "customer_id": "c", "merchant_id": "m", "device_id": "d"}


def reasons(
    weights: dict[str, float], values: dict[str, float] | None = None, event: dict | None = None, **how
) -> tuple[Reason, ...]:
    vector = np.array([(values or {}).get(name, 2.0) for name in CATALOG.names], np.float32)
    return Reasons(CATALOG, Weights(CATALOG, weights)).of(event or EVENT, vector, **how)


def test_what_pushes_up_is_a_reason_the_heaviest_first() -> None:
    found = reasons({"amount": 0.1, "is_new_merchant": 0.3, "is_night": -0.2, "device_count_30d": 0.2})
    assert [(reason.feature, reason.contribution) for reason in found] == [
        ("is_new_merchant", 0.3),
        ("device_count_30d", 0.2),
        ("amount", 0.1),
    ]


def test_there_are_at_most_as_many_as_asked_for() -> None:
    weights = {name: 0.01 * (place + 1) for place, name in enumerate(CATALOG.names)}
    assert [len(reasons(weights, limit=limit)) for limit in (0, 1, 3)] == [0, 1, 3]
    assert len(reasons(weights)) == 5
    assert reasons(weights, limit=100)[:3] == reasons(weights, limit=3)


@pytest.mark.parametrize("weight", [0.0, -0.5])
def test_where_nothing_pushes_up_there_are_none(weight: float) -> None:
    assert reasons(dict.fromkeys(CATALOG.names, weight)) == ()


def test_features_of_one_topic_are_one_reason_in_the_words_of_the_heaviest() -> None:
    (reason,) = reasons({"amount": 0.1, "amount_log": 0.25}, {"amount_log": 7.0})
    assert reason == Reason("amount_log", "Amount 1,299.00", 7.0, pytest.approx(0.35))


def test_a_topic_that_pushes_down_as_a_whole_is_no_reason() -> None:
    assert reasons({"amount": 0.1, "amount_log": -0.25}) == ()


def test_features_of_several_topics_that_say_the_same_are_one_reason() -> None:
    weights = {
        "is_new_device": 0.2,
        "device_count_30d": 0.1,
        "device_customers_30d": 0.3,
        "device_fraud_rate_30d": -0.05,
    }
    (reason,) = reasons(weights, dict.fromkeys(weights, np.nan), EVENT | {"device_id": None})
    assert reason == Reason("device_customers_30d", "The device is not known", None, pytest.approx(0.55))


def test_the_probability_is_handed_on() -> None:
    explainer = Weights(CATALOG, {"amount": 0.1})
    Reasons(CATALOG, explainer).of(EVENT, np.zeros(len(CATALOG.names), np.float32), probability=0.11)
    assert explainer.asked == [0.11]


def test_an_attribute_is_exact_as_the_transaction_has_it() -> None:
    catalog = build_catalog(REQUIRED, ["points", "value"], 7 * DAY)
    explainer = Weights(catalog, {"points": 0.2, "value": 0.1})
    event = EVENT | {"points": 123_456_789, "value": 0.5}
    vector = np.array([event.get(name, 0.0) for name in catalog.names], np.float32)
    first, second = Reasons(catalog, explainer).of(event, vector)
    assert (first.text, first.value) == ("Points is 123,456,789", 123_456_789.0)
    assert second.text == "Value is 0.5"


def test_a_model_of_other_inputs_is_refused() -> None:
    with pytest.raises(ArtefactError, match=f"not the features of catalog {CATALOG.fingerprint}"):
        Reasons(CATALOG, Weights(build_catalog(REQUIRED, [], 7 * DAY), {}))


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "Phase of the moon: 0.25"), (np.nan, "Phase of the moon: not known")]
)
def test_a_feature_without_words_is_said_by_its_meaning(value: float, text: str) -> None:
    catalog = replace(CATALOG, features=(*CATALOG.features, Feature("moon", "phase of the moon", Column("event_us"))))
    vector = np.array([*[0.0] * len(CATALOG.names), value], np.float32)
    (reason,) = Reasons(catalog, Weights(catalog, {"moon": 0.1})).of(EVENT, vector)
    assert reason.text == text


def of_history(events: list[dict], weights: dict[str, float]) -> dict[str, str]:
    """What the features of the last event say, computed as the service computes them."""
    online = OnlineFeatures(CATALOG)
    states: dict[bytes, bytes] = {}
    for event in events:
        keys = online.keys(event)
        features = online.compute(event, keys, {key: states.get(key) for key in keys.values()})
        states |= features.states
    found = Reasons(CATALOG, Weights(CATALOG, weights)).of(events[-1], features.vector, limit=100)
    return {reason.feature: reason.text for reason in found}


def payment(ago: int, amount_cents: int = 1000, merchant: str = "m", customer: str = "c", fraud: int = 0) -> dict:
    return {
        "event_us": NOW - ago,
        "amount_cents": amount_cents,
        "customer_id": customer,
        "merchant_id": merchant,
        "device_id": "d",
        KNOWN_FRAUD: fraud,
    }


def test_what_is_said_of_a_history_is_true() -> None:
    """60 payments in 30 days, the last 12 of them within the hour and at 3 merchants; a tenth of an older merchant's
    were frauds; then 1,299.00 at a new one."""
    old = [payment((9 + n % 5) * DAY + n * MINUTE, merchant="x", customer="other", fraud=int(n < 2)) for n in range(20)]
    usual = [payment((2 + n // 2) * DAY + n * MINUTE, merchant="m1") for n in range(48)]
    burst = [payment((40 - 3 * n) * MINUTE, 2000, merchant=f"m{n % 3}") for n in range(12)]
    earlier = sorted([*old, *usual, *burst], key=lambda event: event["event_us"])
    events = [*earlier, payment(0, 129_900, merchant="x")]
    said = of_history(
        events,
        {
            "customer_count_1h": 0.9,
            "is_new_merchant": 0.8,
            "amount_to_customer_mean_30d": 0.7,
            "merchant_fraud_rate_7d": 0.6,
            "customer_merchants_1d": 0.5,
            "customer_amount_sum_1d": 0.4,
            "customer_seconds_since_last": 0.3,
            "hour_sin": 0.2,
        },
    )
    assert said == {
        "customer_count_1h": "12 purchases in the last hour; this customer's usual is less than 1",
        "is_new_merchant": "This customer's first payment at this merchant in 30 days",
        "amount_to_customer_mean_30d": "Amount 1,299.00 is 108 times this customer's mean of 30 days, 12.00",
        "merchant_fraud_rate_7d": (
            "Known fraud rate of this merchant over 7 days is 10 % (2 known frauds among payments at least 7 days old)"
        ),
        "customer_merchants_1d": "This customer paid 3 merchants in the last day",
        "customer_amount_sum_1d": "240.00 spent in the last day; this customer's usual is 48.57",
        "customer_seconds_since_last": "7 minutes since this customer's last purchase",
        "hour_sin": "Paid at 12:00 UTC",
    }


def test_words_import_nothing_that_trains() -> None:
    code = (
        "import sys\n"
        "from fraud_platform.decisions.reasons import Reasons\n"
        "heavy = {'xgboost', 'lightgbm', 'sklearn', 'onnx', 'onnxmltools', 'skl2onnx', 'mlflow', 'dagster',"
        " 'matplotlib', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_topics_are_features_that_have_words() -> None:
    assert {name for topic in wording.TOPICS for name in topic} <= wording.TEXTS.keys()
