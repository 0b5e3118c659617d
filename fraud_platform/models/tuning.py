"""The search for parameters: Optuna, on folds that go forward in time, never random ones.

A fold is a moment in the past: it is fitted on what was known then, and judged on the days after it.
The study is a file; a search that was stopped goes on where it was, and one that is done is not done again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
import numpy as np
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.models.algorithms import Algorithm, Labels, Parameter, Sample
from fraud_platform.models.dataset import Days, Periods, Snapshot, midnight_us
from fraud_platform.models.imbalance import Imbalance, rebalance
from fraud_platform.models.training import input_matrix

if TYPE_CHECKING:
    import optuna

Searched = TypeVar("Searched", bound=Algorithm)


@dataclass(frozen=True)
class Budget:
    """How much is searched.

    Attributes:
        trials: parameter sets tried, the measured defaults the first of them; 0: no search.
        folds: moments that each set is judged at. fold_days: the days after a moment that it is judged on.
        rows: the most that a fold is fitted on, the latest of them.
    """

    trials: int
    folds: int = 3
    fold_days: int = 7
    rows: int = 200_000


@dataclass(frozen=True)
class Fold:
    """One moment: what is fitted on, what stops the fit, and what it is judged on, each later than the one before."""

    train: Sample
    stopping: Sample
    judged: Sample


@dataclass(frozen=True)
class TrialResult:
    """One parameter set. `values` are the average precisions of its folds, fewer where it was given up."""

    number: int
    parameters: dict[str, Parameter]
    values: tuple[float, ...]
    given_up: bool

    @property
    def value(self) -> float:
        """The mean over the folds that it was judged at."""
        return float(np.mean(self.values)) if self.values else 0.0


@dataclass(frozen=True)
class Tuned(Generic[Searched]):
    """The best algorithm, its mean average precision over so many folds, and every trial."""

    algorithm: Searched
    value: float | None
    folds: int
    trials: tuple[TrialResult, ...]


def fold_days(periods: Periods, folds: int, days: int) -> list[Days]:
    """The days that each fold is judged on: the last ones before the gap, one fold after the other.

    Fewer folds where the history is short: each needs a day to be fitted on, one label delay before it.

    Raises:
        TrainingError: where there is not even one.
    """
    delay = periods.test.first - periods.validation.end
    end = periods.validation.end
    have = (end - periods.train.first).days
    possible = min(folds, (have - delay.days - 1) // days)
    if possible < 1:
        raise TrainingError(
            f"Too few days to tune on: a fold of {days} days after a label delay of {delay.days} and a day to fit on "
            f"needs {days + delay.days + 1}, and train and validation have {have}. Lower FRAUD_TUNING_FOLD_DAYS, set "
            "FRAUD_TUNING_TRIALS=0, or materialize more days."
        )
    firsts = [end - timedelta(days=days * number) for number in range(possible, 0, -1)]
    return [Days(first, first + timedelta(days=days)) for first in firsts]


def prequential_folds(snapshot: Snapshot, feature_columns: Sequence[str], budget: Budget) -> list[Fold]:
    """The folds, each with the labels that were known at its moment.

    Fitted on what happened at least one label delay before the moment. The first half of the days after it
    stops the fit, the second half judges it.

    Raises:
        TrainingError: where there are too few days, or a part of a fold has one class.
    """
    periods = snapshot.periods
    delay = periods.test.first - periods.validation.end
    columns = ["day", "is_fraud", "reported_us", *feature_columns]
    rows = pl.concat([snapshot.read("train", columns), snapshot.read("validation", columns)])
    folds = []
    for days in fold_days(periods, budget.folds, budget.fold_days):
        before = rows.filter(pl.col("day") < days.first - delay).tail(budget.rows)
        moment = midnight_us(days.first)
        known = before.select(pl.col("is_fraud") & (pl.col("reported_us") < moment).fill_null(False)).to_series()
        middle = days.first + timedelta(days=(budget.fold_days + 1) // 2)
        halves = [rows.filter(_within(days.first, middle)), rows.filter(_within(middle, days.end))]
        parts = [(before, known), *((half, half["is_fraud"]) for half in halves)]
        samples = [Sample(input_matrix(part, list(feature_columns)), labels.to_numpy()) for part, labels in parts]
        for name, part in zip(("fitted on", "stopped by", "judged on"), samples, strict=True):
            _check_classes(part.labels, f"What the tuning fold of {days.first} is {name}")
        folds.append(Fold(*samples))
    return folds


def tune(
    algorithm: Searched,
    snapshot: Snapshot,
    feature_columns: Sequence[str],
    budget: Budget,
    imbalance: Imbalance,
    studies: Path,
    seed: int,
    on_trial: Callable[[TrialResult], None],
) -> Tuned[Searched]:
    """Search for the parameters of greatest mean average precision over the folds.

    A parameter set whose first folds are worse than the median of the others is given up.

    Args:
        studies: folder of the searches; one that was stopped goes on.
        on_trial: told of each trial when it ends, for a person who waits.

    Raises:
        TrainingError: as `prequential_folds`.
    """
    searched = _Parameters()
    algorithm.suggest(searched)
    if not budget.trials or not searched.names:
        return Tuned(algorithm, None, 0, ())
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folds = prequential_folds(snapshot, feature_columns, budget)
    identity = msgspec.json.encode([algorithm.parameters, snapshot.hash, feature_columns, budget, imbalance, seed])
    study = _open_study(studies, algorithm.name, identity, seed)
    if not study.trials:
        study.enqueue_trial({name: algorithm.parameters[name] for name in searched.names})

    def objective(trial: "optuna.Trial") -> float:
        from sklearn.metrics import average_precision_score

        tried = algorithm.suggest(cast(Any, trial))
        values: list[float] = []
        for number, fold in enumerate(folds):
            model = tried.fit(rebalance(fold.train, imbalance, seed), fold.stopping, seed)
            values.append(float(average_precision_score(fold.judged.labels, model.predict(fold.judged.inputs))))
            trial.set_user_attr("values", values)
            trial.report(float(np.mean(values)), number)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(values))

    missing = budget.trials - sum(trial.state.is_finished() for trial in study.trials)
    if missing > 0:
        study.optimize(objective, missing, callbacks=[lambda _, trial: on_trial(_result(trial))])
    best = algorithm.suggest(cast(Any, optuna.trial.FixedTrial(study.best_params)))
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    return Tuned(best, study.best_value, len(folds), tuple(map(_result, finished)))


class _Parameters:
    """Stands in for a trial to find out what an algorithm lets a search vary."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.names.append(name)
        return low

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.names.append(name)
        return low


def _open_study(studies: Path, algorithm: str, identity: bytes, seed: int) -> "optuna.Study":
    """The study of exactly this search; a sampler that goes on does not repeat what it drew."""
    import hashlib

    import optuna
    from optuna.storages.journal import JournalFileBackend

    studies.mkdir(parents=True, exist_ok=True)
    name = f"{algorithm}-{hashlib.sha256(identity).hexdigest()[:16]}"
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(studies / f"{name}.log")))
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    return study


def _result(trial: "optuna.trial.FrozenTrial") -> TrialResult:
    import optuna

    return TrialResult(
        trial.number,
        dict(trial.params),
        tuple(trial.user_attrs.get("values", ())),
        trial.state == optuna.trial.TrialState.PRUNED,
    )


def _within(first: date, end: date) -> pl.Expr:
    return (pl.col("day") >= first) & (pl.col("day") < end)


def _check_classes(labels: Labels, what: str) -> None:
    if not labels.any() or labels.all():
        raise TrainingError(
            f"{what} has {int(labels.sum())} frauds in {len(labels)} rows: both classes are needed. Take longer folds "
            "(FRAUD_TUNING_FOLD_DAYS) or fewer (FRAUD_TUNING_FOLDS), set FRAUD_TUNING_TRIALS=0, or materialize more "
            "days."
        )
