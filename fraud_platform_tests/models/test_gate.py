from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fraud_platform.errors import TrainingError
from fraud_platform.models.alerts import AlertLoad
from fraud_platform.models.bootstrap import Decided, Difference, Interval, PairedTest, paired_test
from fraud_platform.models.costs import CostMatrix, Thresholds, gains
from fraud_platform.models.evaluation import Evaluation, evaluate
from fraud_platform.models.gate import TABLE_HEADER, GateLimits, Judged, Verdict, judge

FINGERPRINT = "0123456789abcdef"
ROWS = 4_000
RANDOM = np.random.default_rng(2)
TRUTH = RANDOM.beta(0.1, 1.9, ROWS)
LABELS = RANDOM.random(ROWS) < TRUTH
AMOUNTS = RANDOM.integers(100, 50_000, ROWS)
DAYS = pl.Series([date(2024, 1, 1) + timedelta(days=row * 7 // ROWS) for row in range(ROWS)])
CUSTOMERS = pl.Series([f"c{row % 400}" for row in range(ROWS)])
GOOD = TRUTH
WEAK = RANDOM.permutation(TRUTH)
SOME = np.where(RANDOM.random(ROWS) < 0.6, TRUTH, WEAK)
THRESHOLDS = Thresholds(0.2)


def evaluation_of(scores: np.ndarray = GOOD, labels: np.ndarray = LABELS, budget: int = 100) -> Evaluation:
    return evaluate(labels, scores, DAYS, CUSTOMERS, AMOUNTS, THRESHOLDS, reviews_a_day=budget, resamples=0)


GOOD_EVALUATION = evaluation_of()
FIRST = Judged("1", FINGERPRINT, GOOD_EVALUATION, 20.0, 60.0)
SECOND = replace(FIRST, version="2")


def decided(scores: np.ndarray, labels: np.ndarray = LABELS) -> Decided:
    return Decided(scores, gains(labels, AMOUNTS, scores, THRESHOLDS, CostMatrix()))


def compared(champion: np.ndarray, challenger: np.ndarray, labels: np.ndarray = LABELS) -> PairedTest:
    decisions = (decided(scores, labels) for scores in (champion, challenger))
    return paired_test(labels, DAYS, CUSTOMERS, *decisions, 100, resamples=100)


BETTER = Difference(0.5, 0.6, Interval(0.1, 0.05, 0.15), 0.005, 1.0)
EQUAL = Difference(0.5, 0.5, Interval(0.0, -0.1, 0.1), 0.5, 0.5)
WORSE = Difference(0.6, 0.5, Interval(-0.1, -0.15, -0.05), 1.0, 0.005)
WON = PairedTest(ROWS, 400, 200, False, BETTER, BETTER, EQUAL, BETTER)


def failed(verdict: Verdict) -> list[str]:
    return [criterion.name for criterion in verdict.criteria if not criterion.passed]


def test_a_better_challenger_is_promoted_with_its_numbers():
    weak = replace(FIRST, evaluation=evaluation_of(SOME))
    verdict = judge(SECOND, weak, compared(SOME, GOOD), FINGERPRINT)
    assert verdict.promote and failed(verdict) == []
    assert verdict.reason.startswith("Version 2 replaces version 1: money saved +")
    assert "95 % interval" in verdict.reason and "on 4,000 payments" in verdict.reason


def test_a_worse_challenger_is_refused():
    verdict = judge(replace(SECOND, evaluation=evaluation_of(SOME)), FIRST, compared(GOOD, SOME), FINGERPRINT)
    assert not verdict.promote
    assert {"gain", "ranking", "money"} <= set(failed(verdict))
    assert verdict.reason.startswith(
        "Version 2 is refused for gain: the challenger is worse than version 1 beyond chance"
    )


def test_a_challenger_trained_on_shuffled_labels_is_refused():
    verdict = judge(replace(SECOND, evaluation=evaluation_of(WEAK)), FIRST, compared(GOOD, WEAK), FINGERPRINT)
    assert {"gain", "ranking", "money", "calibration"} <= set(failed(verdict))


def test_a_challenger_that_is_the_champion_is_refused_because_nothing_is_gained():
    verdict = judge(SECOND, FIRST, compared(GOOD, GOOD.copy()), FINGERPRINT)
    assert failed(verdict) == ["gain"]
    assert verdict.reason == (
        "Version 2 is refused for gain: the challenger gives every payment the same probability and the same decision "
        "as version 1: nothing is gained."
    )


@pytest.mark.parametrize(
    "paired", [replace(WON, average_precision=EQUAL), replace(WON, saved=EQUAL)], ids=["money", "ranking"]
)
def test_money_or_ranking_alone_is_gain_enough(paired: PairedTest):
    assert judge(SECOND, FIRST, paired, FINGERPRINT).promote


def test_a_difference_that_may_be_chance_is_no_gain():
    verdict = judge(SECOND, FIRST, replace(WON, saved=EQUAL, average_precision=EQUAL), FINGERPRINT)
    assert "is not shown to be better than version 1: what differs may be chance" in verdict.reason


def test_as_many_reviews_as_the_tolerance_allows_are_within_the_budget():
    at_the_limit = AlertLoad(4, reviews_per_day=5.0, blocks_per_day=0.0, days_above_budget=1.0, busiest_day_reviews=5)
    challenger = replace(FIRST, evaluation=replace(GOOD_EVALUATION, alerts=at_the_limit))
    assert judge(challenger, None, None, FINGERPRINT, GateLimits(alert_budget_tolerance=0.25)).promote


def test_two_models_are_not_compared_on_a_handful_of_frauds():
    few = GateLimits(min_frauds=GOOD_EVALUATION.frauds + 1)
    assert failed(judge(SECOND, FIRST, WON, FINGERPRINT, few)) == ["period"]
    assert judge(FIRST, None, None, FINGERPRINT, few).promote


def test_a_gain_has_to_hold_at_half_the_significance():
    """There are two ways to win by luck."""
    lucky = replace(EQUAL, p_better=0.03)
    assert failed(judge(SECOND, FIRST, replace(WON, saved=lucky, average_precision=EQUAL), FINGERPRINT)) == ["gain"]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"average_precision": EQUAL, "saved": EQUAL}, "gain"),
        ({"average_precision": WORSE}, "ranking"),
        ({"saved": WORSE}, "money"),
        ({"card_precision_at_k": WORSE}, "card precision"),
        ({"card_precision_at_k": None}, "card precision"),
    ],
)
def test_each_comparison_can_fail_alone(changes: dict[str, Difference | None], name: str):
    verdict = judge(SECOND, FIRST, replace(WON, **changes), FINGERPRINT)
    assert (verdict.promote, failed(verdict)) == (False, [name])
    assert f"refused for {name}" in verdict.reason


MISCALIBRATED = evaluation_of(np.where(GOOD < 0.2, GOOD, np.minimum(GOOD * 3, 1)))
OVERLOADED = evaluation_of(budget=5)


@pytest.mark.parametrize("champion", [FIRST, None])
@pytest.mark.parametrize(
    ("challenger", "name"),
    [
        (replace(SECOND, fingerprint="other"), "catalog"),
        (replace(SECOND, evaluation=OVERLOADED), "alert budget"),
        (replace(SECOND, evaluation=MISCALIBRATED), "calibration"),
        (replace(SECOND, single_row_p99_us=1_000.1), "latency"),
    ],
)
def test_each_bound_can_fail_alone_with_and_without_a_champion(challenger: Judged, name: str, champion: Judged | None):
    verdict = judge(challenger, champion, WON if champion else None, FINGERPRINT)
    assert (verdict.promote, failed(verdict)) == (False, [name])
    assert f"refused for {name}" in verdict.reason


def test_a_first_model_above_the_floors_is_promoted():
    verdict = judge(FIRST, None, None, FINGERPRINT)
    assert verdict.promote
    assert verdict.reason.startswith("Version 1 becomes the first champion: ROC AUC 0.")


def test_a_first_model_below_the_ranking_floor_is_refused():
    verdict = judge(FIRST, None, None, FINGERPRINT, GateLimits(min_roc_auc=0.999))
    assert failed(verdict) == ["ranking"]


def test_a_first_model_that_saves_nothing_is_refused():
    nothing = replace(GOOD_EVALUATION, money=replace(GOOD_EVALUATION.money, saved=0))
    assert failed(judge(replace(FIRST, evaluation=nothing), None, None, FINGERPRINT)) == ["money"]


def test_a_champion_of_another_catalog_is_replaced_on_the_floors():
    verdict = judge(SECOND, replace(FIRST, fingerprint="other"), None, FINGERPRINT)
    assert verdict.promote
    assert "replaces version 1, which was made for another catalog and cannot be compared" in verdict.reason


@pytest.mark.parametrize("verdict_of_all", [True, False])
def test_on_a_period_of_one_class_nothing_is_promoted(verdict_of_all: bool):
    labels = np.full(ROWS, verdict_of_all)
    challenger = replace(SECOND, evaluation=evaluation_of(labels=labels))
    verdict = judge(challenger, FIRST, compared(WEAK, GOOD, labels), FINGERPRINT)
    assert failed(verdict) == ["period"]
    assert verdict.reason.startswith("Version 2 is refused for period: the period has no fraud or nothing but fraud")


def test_a_refusal_names_every_criterion_that_failed():
    challenger = replace(SECOND, single_row_p99_us=2_000.0, fingerprint="other")
    assert "(also failed: latency)" in judge(challenger, FIRST, WON, FINGERPRINT).reason


def test_the_limits_are_inclusive():
    assert judge(SECOND, FIRST, WON, FINGERPRINT, GateLimits(min_frauds=GOOD_EVALUATION.frauds)).promote
    exact = GateLimits(
        min_roc_auc=GOOD_EVALUATION.roc_auc or 0.0,
        max_calibration_error=(GOOD_EVALUATION.calibration and GOOD_EVALUATION.calibration.excess) or 0.0,
        max_single_row_us=60.0,
    )
    assert judge(FIRST, None, None, FINGERPRINT, exact).promote


@pytest.mark.parametrize(("champion", "paired"), [(FIRST, None), (None, WON)])
def test_a_champion_and_its_paired_test_come_together(champion: Judged | None, paired: PairedTest | None):
    with pytest.raises(TrainingError, match="Give both or neither"):
        judge(SECOND, champion, paired, FINGERPRINT)


def test_the_table_has_a_row_for_each_criterion_and_no_empty_cell():
    verdict = judge(replace(SECOND, single_row_p99_us=5e3), FIRST, WON, FINGERPRINT)
    assert [row[0] for row in verdict.table()] == [
        "catalog", "period", "gain", "ranking", "money", "card precision", "alert budget", "calibration", "latency"
    ]  # fmt: skip
    assert all(len(row) == len(TABLE_HEADER) and all(row) for row in verdict.table())
    assert [row[1] for row in verdict.table()].count("failed") == 1
