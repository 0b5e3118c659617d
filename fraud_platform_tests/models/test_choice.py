"""The choice among candidates: money where it tells them apart, average precision where it does not."""

import numpy as np
import polars as pl
import pytest

from fraud_platform.errors import TrainingError
from fraud_platform.models.bootstrap import Decided
from fraud_platform.models.choice import choose_candidate

ROWS, CUSTOMERS = 4000, 400
RANDOM = np.random.default_rng(8)
LABELS = RANDOM.random(ROWS) < 0.05
DAYS = pl.Series(np.arange(ROWS) // 600)
WHO = pl.Series([f"c{number}" for number in RANDOM.integers(0, CUSTOMERS, ROWS)])


def scores(skill: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(skill * LABELS + np.random.default_rng(1).normal(size=ROWS))))


def choose(**candidates: Decided) -> tuple[str, tuple[str, ...]]:
    return choose_candidate(LABELS, DAYS, WHO, candidates, resamples=200, seed=3)


def test_what_is_shown_to_save_less_is_not_chosen_however_well_it_ranks() -> None:
    saves = Decided(scores(1.0), np.where(LABELS, 1000, 0))
    ranks = Decided(scores(4.0), np.where(LABELS, 500, 0))
    assert choose(saves=saves, ranks=ranks) == ("saves", ("saves",))


def test_of_those_that_one_large_fraud_tells_apart_the_better_ranking_is_chosen() -> None:
    gains = np.where(LABELS, 1000, 0)
    lucky = gains.copy()
    lucky[np.flatnonzero(LABELS)[0]] = 50_000
    assert choose(lucky=Decided(scores(1.0), lucky), ranks=Decided(scores(4.0), gains)) == ("ranks", ("lucky", "ranks"))


def test_a_single_candidate_is_chosen() -> None:
    assert choose(only=Decided(scores(1.0), np.zeros(ROWS, np.int64))) == ("only", ("only",))


def test_candidates_of_other_rows_are_refused() -> None:
    with pytest.raises(TrainingError, match="Score the same rows"):
        choose(one=Decided(scores(1.0), np.zeros(ROWS, np.int64)), other=Decided(scores(1.0), np.zeros(5, np.int64)))
