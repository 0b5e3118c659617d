from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fraud_platform.errors import TrainingError
from fraud_platform.models.bootstrap import (
    Decided,
    Interval,
    PairedTest,
    customer_codes,
    intervals,
    paired_test,
    resampled_counts,
)
from fraud_platform.models.costs import CostMatrix, Thresholds, gains
from fraud_platform.models.ranking import Ranking

ROWS, CUSTOMERS = 3_000, 200
RANDOM = np.random.default_rng(5)
LABELS = RANDOM.random(ROWS) < 0.05
NOISE = RANDOM.random(ROWS)
GOOD = np.clip(0.5 * LABELS + 0.5 * NOISE, 0, 1)
WEAK = np.clip(0.1 * LABELS + 0.9 * RANDOM.random(ROWS), 0, 1)
AMOUNTS = RANDOM.integers(100, 50_000, ROWS)
CODES = RANDOM.integers(0, CUSTOMERS, ROWS)
IDS = pl.Series([f"c{code:03d}" for code in CODES])
DAYS = pl.Series([date(2024, 1, 1) + timedelta(days=row // (ROWS // 7)) for row in range(ROWS)])


def decided(scores: np.ndarray, threshold: float = 0.6, amounts: np.ndarray = AMOUNTS) -> Decided:
    return Decided(scores, gains(LABELS, amounts, scores, Thresholds(threshold), CostMatrix()))


def compare(champion: Decided, challenger: Decided, resamples: int = 200, seed: int = 0) -> PairedTest:
    return paired_test(LABELS, DAYS, IDS, champion, challenger, 10, resamples=resamples, seed=seed)


def naive_resamples(seed: int, resamples: int) -> list[np.ndarray]:
    """The rows of each resample, customer by customer, copies and all."""
    random = np.random.default_rng(seed)
    names = np.unique(IDS.to_numpy())
    rows = {name: np.flatnonzero(IDS.to_numpy() == name) for name in names}
    return [
        np.concatenate([rows[names[drawn]] for drawn in random.integers(0, len(names), len(names))])
        for _ in range(resamples)
    ]


def test_customers_are_numbered_in_the_order_of_their_ids():
    assert customer_codes(pl.Series(["b", "a", "c", "a"])).tolist() == [1, 0, 2, 0]


def test_a_resample_draws_as_many_customers_as_there_are():
    assert [counts.sum() for counts in resampled_counts(30, 5, 0)] == [30] * 5


def test_intervals_agree_with_resampling_by_index():
    from sklearn.metrics import average_precision_score, roc_auc_score

    found = intervals(Ranking(LABELS, GOOD, customer_codes(IDS)), CUSTOMERS, 40, seed=3)
    by_index = naive_resamples(3, 40)
    for name, score in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
        drawn = [score(LABELS[rows], GOOD[rows]) for rows in by_index]
        expected = Interval(score(LABELS, GOOD), *np.quantile(drawn, [0.025, 0.975]))
        assert vars(found[name]) == pytest.approx(vars(expected))


def test_paired_differences_agree_with_resampling_by_index():
    from sklearn.metrics import average_precision_score

    champion, challenger = decided(WEAK), decided(GOOD)
    found = compare(champion, challenger, resamples=40, seed=3)
    by_index = naive_resamples(3, 40)
    saved = [challenger.gains[rows].sum() - champion.gains[rows].sum() for rows in by_index]
    precision = [
        average_precision_score(LABELS[rows], GOOD[rows]) - average_precision_score(LABELS[rows], WEAK[rows])
        for rows in by_index
    ]
    for difference, drawn in ((found.saved, saved), (found.average_precision, precision)):
        assert difference is not None
        bounds = (difference.difference.low, difference.difference.high)
        assert bounds == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
        assert difference.p_better == pytest.approx((1 + sum(value <= 0 for value in drawn)) / 41)
        assert difference.p_worse == pytest.approx((1 + sum(value >= 0 for value in drawn)) / 41)


def test_the_money_saved_is_the_sum_of_the_gains():
    champion, challenger = decided(WEAK), decided(GOOD)
    found = compare(champion, challenger, resamples=1).saved
    assert (found.champion, found.challenger) == (champion.gains.sum(), challenger.gains.sum())


def test_a_better_model_is_shown_to_be_better():
    found = compare(decided(WEAK), decided(GOOD))
    for difference in (found.average_precision, found.roc_auc, found.card_precision_at_k, found.saved):
        assert difference is not None and difference.p_better < 0.05 < difference.p_worse


def test_a_model_against_itself_is_neither_better_nor_worse():
    found = compare(decided(GOOD), decided(GOOD.copy()))
    assert found.identical
    assert found.average_precision is not None and found.average_precision.difference == Interval(0, 0, 0)
    assert (found.saved.p_better, found.saved.p_worse) == (1.0, 1.0)


def test_the_same_ranking_at_another_threshold_differs_in_money_alone():
    found = compare(decided(GOOD, 0.6), decided(GOOD, 0.7))
    assert not found.identical
    assert found.average_precision is not None and found.average_precision.difference == Interval(0, 0, 0)
    assert found.saved.difference.value != 0


def test_the_same_seed_gives_the_same_test():
    assert compare(decided(WEAK), decided(GOOD), 20, seed=1) == compare(decided(WEAK), decided(GOOD), 20, seed=1)


def test_another_seed_gives_other_resamples():
    assert compare(decided(WEAK), decided(GOOD), 20, seed=1) != compare(decided(WEAK), decided(GOOD), 20, seed=2)


def test_payments_of_one_customer_are_drawn_together():
    """A hundred copies of each row in the hands of one customer are no more evidence than one row."""
    labels, scores = LABELS[:300], GOOD[:300]
    one_each = intervals(Ranking(labels, scores, np.arange(300)), 300, 50)
    copied = intervals(Ranking(*(np.repeat(a, 100) for a in (labels, scores, np.arange(300)))), 300, 50)
    assert vars(copied["roc_auc"]) == pytest.approx(vars(one_each["roc_auc"]))


def test_about_one_in_twenty_tests_of_equal_models_finds_a_winner():
    """Two models that see the truth through noise of the same size, on 150 data sets."""
    random, wins = np.random.default_rng(11), 0
    days, ids = pl.Series([date(2024, 1, 1)] * 300), pl.Series([str(row // 2) for row in range(300)])
    for seed in range(150):
        labels = random.random(300) < 0.3
        champion, challenger = (labels + random.normal(size=300) for _ in range(2))
        nothing = np.zeros(300, np.int64)
        found = paired_test(
            labels, days, ids, Decided(champion, nothing), Decided(challenger, nothing), resamples=60, seed=seed
        )
        assert found.average_precision is not None
        wins += found.average_precision.p_better <= 0.05
    assert 1 <= wins <= 17


def test_a_figure_that_is_undefined_has_no_interval():
    assert intervals(Ranking(np.zeros(9, bool), np.linspace(0, 1, 9), np.arange(9)), 9, 5) == {}


def test_resamples_without_a_fraud_are_left_out():
    labels = np.array([True] + [False] * 8)
    found = intervals(Ranking(labels, np.linspace(1, 0, 9), np.arange(9)), 9, 50)
    assert found["roc_auc"] == Interval(1.0, 1.0, 1.0)


def test_one_class_leaves_the_ranking_undefined_and_the_money_defined():
    nothing = np.zeros(ROWS, bool)
    found = paired_test(nothing, DAYS, IDS, decided(WEAK), decided(GOOD), resamples=5)
    assert (found.average_precision, found.roc_auc) == (None, None)
    assert found.saved.difference.value == decided(GOOD).gains.sum() - decided(WEAK).gains.sum()


@pytest.mark.parametrize("resamples", [0, 5])
def test_what_cannot_be_compared_is_refused(resamples: int):
    other = decided(GOOD) if resamples == 0 else Decided(GOOD[:5], np.zeros(5, np.int64))
    with pytest.raises(TrainingError, match="Two models cannot be compared"):
        compare(decided(WEAK), other, resamples)
