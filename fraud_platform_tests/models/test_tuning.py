"""The search: its folds go forward in time and know only what was known; it is reproducible, and goes on."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraud_platform.errors import TrainingError
from fraud_platform.models.algorithms import Parameter, Sample, Trial
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform.models.dataset import Days, Snapshot, label_events, midnight_us, plan_periods, write_snapshot
from fraud_platform.models.tuning import Budget, TrialResult, fold_days, prequential_folds, tune
from fraud_platform_tests.models.conftest import DAY_US, DAYS, DELAY_DAYS, FIRST_DAY, INPUTS, synthetic_events

BUDGET = Budget(trials=4, folds=2, fold_days=4, rows=100_000)


@dataclass(frozen=True)
class Steps:
    """Scores by one input, scaled by what is searched; notes what it was given."""

    size: float = 0.5
    given: Any = None

    name = "steps"

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"size": self.size}

    def suggest(self, trial: Trial) -> "Steps":
        return replace(self, size=trial.suggest_float("size", 0.0, 1.0))

    def fit(self, train: Sample, validation: Sample, seed: int) -> Any:
        if self.given is not None:
            self.given.append((train, validation))
        size = self.size

        class Model:
            def predict(self, inputs: np.ndarray) -> np.ndarray:
                noise = np.random.default_rng(1).normal(size=len(inputs))
                return np.nan_to_num(inputs[:, 0]) * size + noise * (1 - size)

        return Model()


def search(snapshot: Snapshot, folder: Path, budget: Budget = BUDGET, algorithm: Any = None, seed: int = 1) -> Any:
    seen: list[TrialResult] = []
    tuned = tune(algorithm or Steps(), snapshot, INPUTS, budget, "none", folder, seed, seen.append)
    return tuned, seen


def test_folds_are_the_last_days_before_the_gap_one_after_the_other(snapshot: Snapshot) -> None:
    end = snapshot.periods.validation.end
    assert fold_days(snapshot.periods, 2, 4) == [
        Days(end - timedelta(days=8), end - timedelta(days=4)),
        Days(end - timedelta(days=4), end),
    ]


def test_each_part_of_a_fold_is_later_than_the_one_before_it(snapshot: Snapshot) -> None:
    """With the day as an input, the parts' days show."""
    frame = snapshot.read()
    columns = frame.with_columns(pl.col("event_us").cast(pl.Float32).alias("when")).columns
    assert "when" in columns
    dated = frame.with_columns(((pl.col("event_us") - midnight_us(FIRST_DAY)) / DAY_US).alias("when"))
    again = write_snapshot(dated, snapshot.path.parent, snapshot.periods)
    days = fold_days(again.periods, 2, 4)
    for fold, of in zip(prequential_folds(again, ["when"], BUDGET), days, strict=True):
        first, middle, end = ((day - FIRST_DAY).days for day in (of.first, of.first + timedelta(days=2), of.end))
        assert fold.train.inputs.max() < first - DELAY_DAYS
        assert first <= fold.stopping.inputs.min() and fold.stopping.inputs.max() < middle
        assert middle <= fold.judged.inputs.min() and fold.judged.inputs.max() < end


def test_a_fold_knows_no_label_that_was_reported_after_its_moment(tmp_path: Path) -> None:
    events, labels = synthetic_events(8000)
    periods = plan_periods(FIRST_DAY, FIRST_DAY + timedelta(days=DAYS), DELAY_DAYS, 7, 7)
    moment = fold_days(periods, 1, 4)[0].first
    late = labels.with_columns(reported_us=pl.lit(midnight_us(moment)))
    in_time = labels.with_columns(reported_us=pl.lit(midnight_us(moment) - 1))
    budget = replace(BUDGET, folds=1)
    (known,) = prequential_folds(
        write_snapshot(label_events(events, in_time, periods), tmp_path, periods), INPUTS, budget
    )
    assert known.train.labels.any()
    with pytest.raises(TrainingError, match="is fitted on has 0 frauds"):
        prequential_folds(write_snapshot(label_events(events, late, periods), tmp_path, periods), INPUTS, budget)


def test_the_test_period_is_never_read(snapshot: Snapshot, tmp_path: Path) -> None:
    frame = snapshot.read()
    spoilt = frame.with_columns(
        pl.when(pl.col("split") == "test").then(not_drawn).otherwise(pl.col(name)).alias(name)
        for name, not_drawn in ((INPUTS[0], pl.lit(99.0, pl.Float32)),)
    )
    given: list[Any] = []
    search(write_snapshot(spoilt, tmp_path, snapshot.periods), tmp_path, algorithm=Steps(given=given))
    assert given
    assert all(99.0 not in part.inputs for pair in given for part in pair)


def test_a_fold_is_fitted_on_the_latest_rows_where_there_are_too_many(snapshot: Snapshot) -> None:
    (whole, _), (short, _) = (prequential_folds(snapshot, INPUTS, replace(BUDGET, rows=rows)) for rows in (10**6, 500))
    assert len(short.train.labels) == 500
    assert np.array_equal(short.train.inputs, whole.train.inputs[-500:], equal_nan=True)


def test_the_defaults_are_tried_first_and_the_best_is_taken(snapshot: Snapshot, tmp_path: Path) -> None:
    tuned, seen = search(snapshot, tmp_path)
    assert len(seen) == BUDGET.trials
    assert seen[0].parameters == {"size": 0.5}
    best = max(seen, key=lambda trial: -1 if trial.given_up else trial.value)
    assert tuned.algorithm.size == best.parameters["size"]
    assert tuned.value == best.value >= seen[0].value


def test_the_same_seed_tries_the_same(snapshot: Snapshot, tmp_path: Path) -> None:
    first, second = (search(snapshot, tmp_path / name)[0] for name in ("a", "b"))
    assert first.trials == second.trials
    assert search(snapshot, tmp_path / "c", seed=2)[0].trials[1:] != first.trials[1:]


def test_a_search_that_was_stopped_goes_on_and_one_that_is_done_is_not_done_again(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(trial: TrialResult) -> None:
        if trial.number == 1:
            raise Stopped

    with pytest.raises(Stopped):
        tune(Steps(), snapshot, INPUTS, BUDGET, "none", tmp_path, 1, stop)
    tuned, seen = search(snapshot, tmp_path)
    assert [trial.number for trial in seen] == [2, 3]
    assert len(tuned.trials) == BUDGET.trials
    again, none = search(snapshot, tmp_path)
    assert (again, none) == (tuned, [])


@pytest.mark.parametrize("algorithm", [XGBoost(), Steps()])
def test_no_budget_is_no_search(snapshot: Snapshot, tmp_path: Path, algorithm: Any) -> None:
    tuned, seen = search(snapshot, tmp_path, replace(BUDGET, trials=0), algorithm)
    assert (tuned.algorithm, tuned.value, tuned.trials, seen) == (algorithm, None, (), [])
    assert not list(tmp_path.iterdir())


def test_too_few_days_say_what_is_needed() -> None:
    periods = plan_periods(date(2026, 1, 1), date(2026, 1, 25), 7, 2, 2)
    with pytest.raises(TrainingError, match=r"needs 12, and train and validation have 8\b.*FOLD_DAYS"):
        fold_days(periods, 3, 4)


def test_a_short_history_has_fewer_folds() -> None:
    periods = plan_periods(date(2026, 1, 1), date(2026, 2, 1), 7, 2, 2)  # 15 days before the gap
    assert len(fold_days(periods, 5, 3)) == 2
