"""How sure a figure is, and whether one model is better than another: the bootstrap over customers.

Payments of one customer belong together: a stolen card makes several frauds, and a model finds or misses
them together. Drawing single rows would take them for independent and give intervals that are too narrow,
so whole customers are drawn, with replacement, as many as there are: Davison & Hinkley, Bootstrap Methods
and their Application (1997), section 3.8; Cameron & Miller, A Practitioner's Guide to Cluster-Robust
Inference (Journal of Human Resources 50, 2015), section VI. A resample is how often each customer was
drawn; no row is copied.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.models.algorithms import Labels, Scores
from fraud_platform.models.card_precision import CardReviews
from fraud_platform.models.costs import Cents
from fraud_platform.models.ranking import Codes, Counts, Ranking

LEVEL = 0.95

Statistic = Callable[[Counts], dict[str, float]]
"""Figures by name from how often each customer counts; NaN where a figure is undefined."""


@dataclass(frozen=True)
class Interval:
    """A figure, and the 95 % percentile interval of its resamples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One figure of two models on the same rows; `difference` is challenger minus champion.

    `p_better` is the share of resamples in which the challenger is not better, small where it is shown to
    be better; `p_worse` the share in which it is not worse. Both count the observed rows as one more resample
    that speaks against the claim, so that neither is ever 0: Davison & Hinkley, equation 4.11.
    """

    champion: float
    challenger: float
    difference: Interval
    p_better: float
    p_worse: float


@dataclass(frozen=True)
class Decided:
    """What one model says of rows (n,): probabilities, and what its decisions save (`costs.gains`)."""

    probabilities: Scores
    gains: Cents


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same rows and the same resamples. None where a figure is undefined.

    `identical`: both give each row the same probability and a decision of the same cost. `saved` is in cents.
    """

    rows: int
    customers: int
    resamples: int
    identical: bool
    average_precision: Difference | None
    roc_auc: Difference | None
    card_precision_at_k: Difference | None
    saved: Difference


def customer_codes(customer_ids: pl.Series) -> Codes:
    """The customer of each row, numbered from 0 in the order of their ids."""
    return customer_ids.rank("dense").to_numpy().astype(np.int64) - 1


def resampled_counts(customers: int, resamples: int, seed: int) -> Iterator[Counts]:
    """How often each customer is drawn, once a resample. The same seed gives the same resamples."""
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(random.integers(0, max(customers, 1), customers), minlength=customers)


def intervals(statistic: Statistic, customers: int, resamples: int, seed: int = 0) -> dict[str, Interval]:
    """The interval of each figure that is defined on the rows themselves.

    Resamples in which a figure is undefined (no fraud was drawn) say nothing about it and are left out.
    """
    values = statistic(np.ones(customers, np.int64))
    drawn = [statistic(counts) for counts in resampled_counts(customers, resamples, seed)]
    found = {name: _interval(value, np.array([of[name] for of in drawn])) for name, value in values.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def paired_test(
    labels: Labels,
    days: pl.Series,
    customer_ids: pl.Series,
    champion: Decided,
    challenger: Decided,
    reviews_a_day: int = 100,
    *,
    resamples: int = 500,
    seed: int = 0,
) -> PairedTest:
    """Compare two models on the same rows (n,): ranking, card precision and the money saved.

    Raises:
        TrainingError: if the models did not score the same rows, or there is nothing to resample.
    """
    lengths = [len(labels), *(len(part) for of in (champion, challenger) for part in (of.probabilities, of.gains))]
    if len(set(lengths)) > 1 or not lengths[0] or resamples < 1:
        raise TrainingError(
            f"Two models cannot be compared on labels, probabilities and gains of {lengths} rows with {resamples} "
            "resamples. Score the same rows, at least one, with both, and resample at least once."
        )
    codes = customer_codes(customer_ids)
    customers = int(codes.max(initial=-1)) + 1
    statistics = [
        _compared(labels, days, codes, customers, decided, reviews_a_day) for decided in (champion, challenger)
    ]
    values = [statistic(np.ones(customers, np.int64)) for statistic in statistics]
    drawn = [[of(counts) for of in statistics] for counts in resampled_counts(customers, resamples, seed)]
    differences = {
        name: _difference(
            values[0][name], values[1][name], *(np.array([pair[i][name] for pair in drawn]) for i in (0, 1))
        )
        for name in values[0]
    }
    saved = differences.pop("saved")
    assert saved is not None, "a sum of money is always defined"
    return PairedTest(
        rows=len(labels),
        customers=customers,
        resamples=resamples,
        identical=np.array_equal(champion.probabilities, challenger.probabilities)
        and np.array_equal(champion.gains, challenger.gains),
        saved=saved,
        **differences,
    )


def customer_totals(values: np.ndarray, codes: Codes, customers: int) -> Scores:
    """The sum of a value (n,) over the rows of each customer, shape (customers,): exact up to 2⁵³."""
    return np.bincount(codes, values, customers).astype(np.float64)


def _compared(labels: Labels, days: pl.Series, codes: Codes, customers: int, decided: Decided, k: int) -> Statistic:
    ranking = Ranking(labels, decided.probabilities, codes)
    cards = CardReviews(labels, decided.probabilities, days, codes, k)
    saved = customer_totals(decided.gains, codes, customers)

    def statistic(counts: Counts) -> dict[str, float]:
        of_ranking = ranking(counts)
        return {
            "average_precision": of_ranking["average_precision"],
            "roc_auc": of_ranking["roc_auc"],
            "card_precision_at_k": cards.mean(counts),
            "saved": float(counts @ saved),
        }

    return statistic


def _interval(value: float, drawn: Scores) -> Interval | None:
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def _difference(champion: float, challenger: float, of_champion: Scores, of_challenger: Scores) -> Difference | None:
    drawn = of_challenger - of_champion
    drawn = drawn[np.isfinite(drawn)]
    interval = _interval(challenger - champion, drawn)
    if interval is None:
        return None
    p_better, p_worse = ((int(against.sum()) + 1) / (len(drawn) + 1) for against in (drawn <= 0, drawn >= 0))
    return Difference(float(champion), float(challenger), interval, p_better, p_worse)
