from datetime import date, timedelta
from itertools import pairwise

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.models.costs import (
    NEVER,
    CostMatrix,
    Money,
    Thresholds,
    choose_thresholds,
    gains,
    major_units,
    money,
    money_by_alerts,
)

COSTS = CostMatrix(missed_fraud_fee=100, review=10, blocked_good=50)
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10), st.integers(0, 300)), max_size=14)
MATRICES = st.builds(CostMatrix, st.integers(0, 200), st.integers(0, 60), st.integers(0, 200))
CHOSEN = st.tuples(st.integers(0, 11), st.integers(0, 11)).map(lambda pair: (min(pair) / 10, max(pair) / 10))


def arrays(rows: list[tuple[bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = np.array([fraud for fraud, _, _ in rows], bool)
    return labels, np.array([score / 10 for _, score, _ in rows], float), np.array([cents for *_, cents in rows], int)


def naive_cost(fraud: bool, cents: int, action: str, costs: CostMatrix) -> int:
    if action == "approve":
        return cents + costs.missed_fraud_fee if fraud else 0
    if action == "review":
        return costs.review
    return 0 if fraud else costs.blocked_good


def naive_action(score: float, review: float, block: float) -> str:
    return "block" if score >= block else "review" if score >= review else "approve"


@given(ROWS, CHOSEN, MATRICES)
def test_money_saved_agrees_with_the_cost_of_each_decision(rows, chosen: tuple[float, float], costs: CostMatrix):
    review, block = chosen
    labels, scores, cents = arrays(rows)
    everything = sum(naive_cost(fraud, amount, "approve", costs) for fraud, _, amount in rows)
    decided = sum(
        naive_cost(fraud, amount, naive_action(score / 10, review, block), costs) for fraud, score, amount in rows
    )
    found = money(labels, cents, scores, Thresholds(review, block), costs)
    assert (found.preventable, found.saved) == (everything, everything - decided)


@given(ROWS, CHOSEN, MATRICES)
def test_the_costs_and_the_saved_money_add_up_to_what_was_preventable(rows, chosen, costs: CostMatrix):
    labels, scores, cents = arrays(rows)
    found = money(labels, cents, scores, Thresholds(*chosen), costs)
    spent = found.missed_frauds_cost + found.review_cost + found.blocked_good_cost
    assert found.saved + spent == found.preventable


@given(ROWS, CHOSEN, MATRICES)
def test_the_gains_of_the_rows_sum_to_the_money_saved(rows, chosen, costs: CostMatrix):
    labels, scores, cents = arrays(rows)
    by_row = gains(labels, cents, scores, Thresholds(*chosen), costs)
    assert by_row.dtype == np.int64
    assert by_row.sum() == money(labels, cents, scores, Thresholds(*chosen), costs).saved


def test_a_worked_example():
    labels = np.array([True, False, True, False, True])
    scores, cents = np.array([0.9, 0.8, 0.5, 0.4, 0.1]), np.array([1_000, 2_000, 3_000, 4_000, 5_000])
    found = money(labels, cents, scores, Thresholds(0.4, 0.8), COSTS)
    assert found == Money(
        rows=5,
        preventable=1_100 + 3_100 + 5_100,
        saved=1_100 + 3_100 - 20 - 50,
        saved_share=4_130 / 9_300,
        missed_frauds_cost=5_100,
        review_cost=20,
        blocked_good_cost=50,
        reviews=2,
        blocks=2,
        fraud_amount=9_000,
        fraud_amount_stopped=4_000,
    )
    assert found.stopped_share == 4_000 / 9_000


@given(ROWS, MATRICES)
def test_money_by_alerts_is_the_money_of_each_review_threshold(rows, costs: CostMatrix):
    labels, scores, cents = arrays(rows)
    points = [NEVER, *sorted(set(scores), reverse=True)]
    expected = [money(labels, cents, scores, Thresholds(point), costs) for point in points]
    alerts, saved = money_by_alerts(labels, cents, scores, costs)
    assert list(zip(alerts, saved, strict=True)) == [(of.reviews, of.saved) for of in expected]


@pytest.mark.parametrize(("cents", "text"), [(1_234_567, "12,345.67"), (-5, "-0.05"), (0, "0.00")])
def test_amounts_are_written_in_major_units(cents: int, text: str):
    assert major_units(cents) == text


def test_without_a_fraud_no_share_is_saved():
    found = money(np.array([False]), np.array([5]), np.array([0.9]), Thresholds(0.5), COSTS)
    assert (found.saved, found.saved_share, found.stopped_share) == (-10, None, None)


def test_sums_beyond_the_exact_range_of_floats_are_exact():
    cents = np.full(3, 2**53 + 1)
    found = money(np.ones(3, bool), cents, np.ones(3), Thresholds(0.5), CostMatrix(0, 0, 0))
    assert found.saved == 3 * (2**53 + 1)


def test_narrow_integers_do_not_overflow():
    found = money(np.ones(2, bool), np.full(2, 2**31 - 1, np.int32), np.zeros(2), Thresholds(0.5), COSTS)
    assert found.missed_frauds_cost == 2 * (2**31 - 1 + 100)


def test_a_block_threshold_below_the_review_threshold_is_refused():
    with pytest.raises(ValueError, match=r"blocked from 0\.4 on, below 0\.5"):
        Thresholds(0.5, 0.4)


def test_a_negative_cost_is_refused():
    with pytest.raises(ValueError, match="No cost may be negative"):
        CostMatrix(review=-1)


@pytest.mark.parametrize("thresholds", [Thresholds(0.25, 0.75), Thresholds(0.25), Thresholds(NEVER)])
def test_thresholds_survive_json(thresholds: Thresholds):
    assert msgspec.json.decode(msgspec.json.encode(thresholds), type=Thresholds) == thresholds


def days_of(rows: int, days: int) -> pl.Series:
    return pl.Series([date(2024, 1, 1) + timedelta(days=number % days) for number in range(rows)], dtype=pl.Date)


def cautious_money(rows, review: float, block: float, costs: CostMatrix) -> int:
    """The money saved, less one blocked good customer where anything is blocked."""
    labels, scores, cents = arrays(rows)
    found = money(labels, cents, scores, Thresholds(review, block), costs)
    return found.saved - (costs.blocked_good if found.blocks else 0)


def brute_force(rows, costs: CostMatrix, reviews: int) -> tuple[int, int, int]:
    """(cautious money, -alerts, -blocks) of the best pair of all."""
    scores = [score / 10 for _, score, _ in rows]
    points = [*sorted(set(scores)), NEVER]
    found = []
    for review in points:
        for block in (point for point in points if point >= review):
            alerts, blocks = sum(s >= review for s in scores), sum(s >= block for s in scores)
            if alerts - blocks <= reviews:
                found.append((cautious_money(rows, review, block, costs), -alerts, -blocks))
    return max(found)


@given(ROWS, MATRICES, st.integers(0, 5), st.integers(1, 3))
def test_no_pair_of_thresholds_is_better_than_the_chosen_one(rows, costs: CostMatrix, a_day: int, days: int):
    labels, scores, cents = arrays(rows)
    of_rows = days_of(len(rows), days)
    chosen = choose_thresholds(labels, scores, cents, of_rows, costs, a_day)
    alerts, blocks = int(chosen.alerts(scores).sum()), int(chosen.blocks(scores).sum())
    block = NEVER if chosen.block is None else chosen.block
    reached = (cautious_money(rows, chosen.review, block, costs), -alerts, -blocks)
    assert reached == brute_force(rows, costs, a_day * of_rows.n_unique())


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 300)), min_size=1, max_size=30), MATRICES)
def test_thresholds_fall_on_no_probability_and_split_no_ties(rows, costs: CostMatrix):
    labels, cents = np.array([row[0] for row in rows]), np.array([row[2] for row in rows])
    scores = np.array([row[1] for row in rows])
    chosen = choose_thresholds(labels, scores, cents, days_of(len(rows), 1), costs, 3)
    distinct = np.unique(np.append(scores, 0.0))
    for threshold in (chosen.review, chosen.block):
        if threshold is not None and threshold != NEVER and threshold in scores:
            below = distinct[distinct < threshold].max(initial=0.0)
            assert np.nextafter(below, 1.0) == threshold or threshold == 0.0, "there was room for a midpoint"


def test_a_threshold_lies_midway_between_two_probabilities():
    labels, scores = np.array([True, False]), np.array([0.8, 0.2])
    assert choose_thresholds(labels, scores, np.array([500, 500]), days_of(2, 1), COSTS, 1) == Thresholds(0.5)


def test_neighbouring_floats_are_still_told_apart():
    upper = np.nextafter(0.5, 1.0)
    labels, scores = np.array([True, False]), np.array([upper, 0.5])
    chosen = choose_thresholds(labels, scores, np.array([500, 500]), days_of(2, 1), COSTS, 1)
    assert chosen.alerts(scores).tolist() == [True, False]


def test_blocking_must_pay_with_one_more_legitimate_payment():
    """Five saved reviews pay exactly for one blocked customer, and no more; six do."""
    for frauds, blocked in ((5, None), (6, 0.5)):
        labels = np.array([True] * frauds + [False])
        scores = np.where(labels, 0.9, 0.1)
        chosen = choose_thresholds(labels, scores, np.full(frauds + 1, 500), days_of(frauds + 1, 1), COSTS, 100)
        assert chosen.block == (pytest.approx(blocked) if blocked else None)


def test_nothing_is_reviewed_where_no_review_pays():
    labels, scores = np.zeros(20, bool), np.linspace(0, 1, 20)
    assert choose_thresholds(labels, scores, np.full(20, 500), days_of(20, 1), COSTS, 100) == Thresholds(NEVER)


def test_no_rows_give_no_alert():
    nothing = np.zeros(0)
    assert choose_thresholds(nothing > 0, nothing, nothing, days_of(0, 1), COSTS, 5) == Thresholds(NEVER)


def test_the_budget_is_an_average_over_the_days():
    scores = np.linspace(1.0, 0.1, 10)
    chosen = [
        choose_thresholds(np.ones(10, bool), scores, np.full(10, 500), days_of(10, days), CostMatrix(0, 0, 10**9), 2)
        for days in (1, 3)
    ]
    assert [int(thresholds.alerts(scores).sum()) for thresholds in chosen] == [2, 6]


def test_without_reviewers_what_pays_is_blocked():
    labels, scores = np.array([True, True, False]), np.array([0.9, 0.8, 0.1])
    chosen = choose_thresholds(labels, scores, np.full(3, 900), days_of(3, 1), COSTS, 0)
    assert chosen.review == chosen.block == pytest.approx(0.45)


def test_more_reviewers_never_save_less():
    random = np.random.default_rng(3)
    labels = random.random(400) < 0.1
    scores = np.round(np.clip(labels * 0.3 + random.random(400) * 0.7, 0, 1), 2)
    cents = random.integers(1, 20_000, 400)
    saved = [
        money(
            labels, cents, scores, choose_thresholds(labels, scores, cents, days_of(400, 4), COSTS, a_day), COSTS
        ).saved
        for a_day in range(0, 100, 10)
    ]
    assert all(fewer <= more + COSTS.blocked_good for fewer, more in pairwise(saved))
