import re
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.models.costs import NEVER, CostMatrix, Thresholds
from fraud_platform.models.evaluation import Evaluation, evaluate
from fraud_platform.models.summary import summarise

COSTS = CostMatrix(missed_fraud_fee=0, review=100, blocked_good=1_000)


def evaluation_of(
    labels: Sequence[bool],
    scores: Sequence[float],
    thresholds: Thresholds,
    types: Sequence[str | None] | None = None,
    resamples: int = 20,
    budget: int = 2,
) -> Evaluation:
    """Two days, every row a customer of its own, a hundred of the currency each."""
    rows = len(labels)
    days = pl.Series([date(2024, 1, 1) + timedelta(days=row % 2) for row in range(rows)], dtype=pl.Date)
    ids = pl.Series([str(row) for row in range(rows)], dtype=pl.String)
    amounts = np.full(rows, 10_000)
    return evaluate(
        np.array(labels, bool), np.array(scores, float), days, ids, amounts, thresholds, COSTS, budget, types,
        resamples=resamples,
    )  # fmt: skip


LABELS = [True] * 4 + [False] * 16
SCORES = [0.9, 0.6, 0.6, 0.1, 0.95, 0.55] + [0.05] * 14
TYPES = ["stolen_card", "stolen_card", None, "scam"] + [None] * 16
USUAL = evaluation_of(LABELS, SCORES, Thresholds(0.5, 0.8), TYPES)


@pytest.mark.parametrize(
    "sentence",
    [
        "20 payments over 2 days, and 400.00 EUR in 4 frauds. 75% of that money is stopped, in 3 of the 4 frauds.",
        "After 3.00 EUR for reviews and 10.00 EUR for good customers who were blocked, 287.00 EUR is saved",
        "asks for 1.5 reviews a day, and 2 on the busiest day; the team can do 2, and no day asks for more.",
        "1.0 payments a day are blocked without a review. Of the alerts, about 6 of ten are fraud.",
        "By the money that is lost: 1 of 1 fraud of kind scam (100.00 EUR).",
        "The period has only 4 frauds, too few",
        "and 4 came.",
    ],
)
def test_the_usual_case_is_told_in_words_and_numbers(sentence: str):
    assert sentence in summarise(USUAL, "EUR")


def test_intervals_are_told_in_words():
    told = r"in 95 of 100 cases between \d+% and \d+% of the fraud money would be stopped \(a (firm|fair|rough)"
    assert re.search(told, summarise(USUAL))


def test_without_a_currency_amounts_stand_alone():
    assert "287.00 is saved" in summarise(USUAL)


@pytest.mark.parametrize(("fraud", "words"), [(False, "Of the alerts, none is fraud."), (True, "all are fraud.")])
def test_none_and_all_are_words(fraud: bool, words: str):
    assert words in summarise(evaluation_of([fraud] * 4, [0.9] * 4, Thresholds(0.5)))


@pytest.mark.parametrize(("alerts", "words"), [(40, "about 2 of a hundred are"), (400, "about 2 of a thousand are")])
def test_rare_hits_are_told_of_a_larger_whole(alerts: int, words: str):
    labels = [True] + [False] * (alerts - 1)
    assert words in summarise(evaluation_of(labels, [0.9] * alerts, Thresholds(0.5), resamples=0))


def test_decisions_that_cost_more_than_they_save_are_called_so():
    found = evaluation_of([False] * 4, [0.9] * 4, Thresholds(0.5))
    assert "The decisions cost 4.00 more than they save: 4.00 for reviews." in summarise(found)


def test_days_above_the_budget_are_counted():
    found = evaluation_of(LABELS, [0.9] * 20, Thresholds(0.5), budget=2)
    assert "2 of 2 days ask for more" in summarise(found)


def test_without_an_alert_nothing_is_saved_and_precision_is_unknown():
    told = summarise(evaluation_of(LABELS, SCORES, Thresholds(NEVER)))
    assert "No payment is reviewed or blocked, so that nothing is spent and nothing is saved." in told
    assert "How many alerts are fraud, because there was no alert." in told


def test_without_fraud_it_is_said_what_could_not_be_measured():
    told = summarise(evaluation_of([False] * 4, [0.1] * 4, Thresholds(0.5)))
    assert "because no fraud is known" in told
    assert "What is missed" not in told


def test_of_frauds_alone_the_ranking_could_not_be_measured():
    assert "because every one of them is fraud" in summarise(evaluation_of([True] * 4, [0.9] * 4, Thresholds(0.5)))


def test_where_all_is_found_nothing_is_missed():
    found = evaluation_of(LABELS, [0.9] * 4 + [0.1] * 16, Thresholds(0.5))
    assert "**What is missed.** Nothing: every known fraud is stopped." in summarise(found)


def test_without_types_it_is_said_that_kinds_are_not_known():
    told = summarise(evaluation_of(LABELS, SCORES, Thresholds(0.5)))
    assert "1 fraud with a loss of 100.00; of what kind is not known." in told
    assert "because the source does not tell them" in told


def test_of_many_kinds_the_costliest_are_named():
    types = [f"kind_{number % 5}" for number in range(20)]
    told = summarise(evaluation_of([True] * 20, [0.1] * 20, Thresholds(0.5), types))
    assert told.count("of kind") == 3
    assert "2 other kinds of fraud lose less." in told


def test_without_intervals_it_is_said_that_certainty_is_unknown():
    told = summarise(evaluation_of(LABELS, SCORES, Thresholds(0.5), resamples=0))
    assert "How sure the figures are, because no intervals were computed." in told


def test_an_empty_period_is_a_single_sentence():
    assert summarise(evaluation_of([], [], Thresholds(0.5))) == (
        "**What could not be measured.** Anything: the period has no payments."
    )


def calibrated_by(factor: float) -> str:
    random = np.random.default_rng(1)
    truth = random.beta(0.2, 3.8, 6_000)
    labels = random.random(6_000) < truth
    return summarise(evaluation_of(labels.tolist(), (truth * factor).tolist(), Thresholds(0.5), resamples=0))


@pytest.mark.parametrize(
    ("factor", "words"), [(1.0, "come true about as often as they say"), (0.7, "tolerable"), (0.2, "calibrated again")]
)
def test_calibration_is_told_in_three_degrees(factor: float, words: str):
    assert words in calibrated_by(factor)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 10), st.sampled_from(["a", "b", None])), max_size=12),
    st.sampled_from([Thresholds(0.3), Thresholds(0.3, 0.7), Thresholds(NEVER)]),
    st.sampled_from([0, 3]),
)
def test_nothing_undefined_is_ever_printed(rows, thresholds: Thresholds, resamples: int):
    labels, scores, types = ([row[part] for row in rows] for part in range(3))
    told = summarise(evaluation_of(labels, [score / 10 for score in scores], thresholds, types, resamples))
    assert told
    assert not re.search(r"\b(nan|inf|null|None)\b", told), told
