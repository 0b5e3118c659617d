import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.decisions.policy import Policy
from fraud_platform.models.costs import Thresholds


@pytest.mark.parametrize(
    ("probability", "is_fraud", "risk_level", "action"),
    [
        (0.0, False, "low", "approve"),
        (np.nextafter(0.2, 0), False, "low", "approve"),
        (0.2, False, "medium", "approve"),
        (np.nextafter(0.4, 0), False, "medium", "approve"),
        (0.4, True, "high", "review"),
        (np.nextafter(0.8, 0), True, "high", "review"),
        (0.8, True, "high", "block"),
        (1.0, True, "high", "block"),
    ],
)
def test_thresholds_are_inclusive(probability: float, is_fraud: bool, risk_level: str, action: str) -> None:
    policy, one = Policy(Thresholds(0.4, 0.8)), np.array([probability])
    decided = policy.is_fraud(one)[0], policy.risk_levels(one)[0], policy.actions(one)[0]
    assert decided == (is_fraud, risk_level, action)


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0, 1))
def test_fraud_high_risk_and_not_approved_say_the_same(probabilities: list[float], threshold: float) -> None:
    policy, many = Policy(Thresholds(threshold, (1 + threshold) / 2)), np.array(probabilities)
    fraud = policy.is_fraud(many)
    np.testing.assert_array_equal(fraud, policy.risk_levels(many) == "high")
    np.testing.assert_array_equal(fraud, policy.actions(many) != "approve")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1))
def test_a_higher_probability_never_has_a_lower_risk(probabilities: list[float], threshold: float) -> None:
    order = {"low": 0, "medium": 1, "high": 2}
    levels = [order[level] for level in Policy(Thresholds(threshold)).risk_levels(np.array(sorted(probabilities)))]
    assert levels == sorted(levels)


def test_without_a_block_threshold_nothing_is_blocked() -> None:
    assert Policy(Thresholds(0.0)).actions(np.array([0.0, 1.0])).tolist() == ["review", "review"]


def test_no_probabilities_give_no_decisions() -> None:
    policy, none = Policy(Thresholds(0.5)), np.array([])
    assert (policy.is_fraud(none).size, policy.risk_levels(none).size, policy.actions(none).size) == (0, 0, 0)
