"""What can be trained: one file an algorithm, each behind the same two interfaces.

An algorithm takes NumPy arrays and returns a model that converts to ONNX. Adding one is its file and
its line in `candidates`.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
"""Threads that wait sleep: spinning, a fit of 1.5 s took 28 s beside another program that used the processors.
OpenMP reads it when XGBoost or LightGBM is loaded, which the algorithms do where they fit."""

Matrix = NDArray[np.float32]
"""Shape (rows, inputs); NaN = missing."""
Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]
Parameter = int | float | str


@dataclass(frozen=True)
class Sample:
    """The inputs (n, d) and labels (n,) of some rows; `weights` (n,) where they do not count alike."""

    inputs: Matrix
    labels: Labels
    weights: Scores | None = None

    def rows(self, chosen: NDArray[Any]) -> "Sample":
        """The rows of a mask or of indices."""
        weights = None if self.weights is None else self.weights[chosen]
        return Sample(self.inputs[chosen], self.labels[chosen], weights)


class FittedModel(Protocol):
    """A fitted model."""

    @property
    def file_name(self) -> str | None:
        """The name of its file in its library's own format; None where that would be a pickle."""
        ...

    @property
    def facts(self) -> dict[str, Parameter]:
        """What the fit found (rounds kept …)."""
        ...

    def predict(self, inputs: Matrix) -> Scores:
        """The score of each row, 0 to 1, shape (n,); higher is more suspicious."""
        ...

    def importance(self) -> Scores:
        """What each input contributes, shares that sum to 1, shape (d,); zeros where nothing was learnt."""
        ...

    def to_onnx(self) -> bytes:
        """An ONNX graph: float32 `inputs` (n, d) to float32 `probabilities` (n, 2): legitimate, fraud."""
        ...

    def save(self, path: Path) -> None:
        """Write the native file; only where there is a `file_name`."""
        ...


class Trial(Protocol):
    """One try of a search: Optuna's trial, as far as search spaces use it."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


class Algorithm(Protocol):
    """Parameters, and how to fit with them. The same seed and data give the same model."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Parameter]: ...

    def fit(self, train: Sample, validation: Sample, seed: int) -> FittedModel:
        """Fit on `train`; `validation`, later in time, may only choose when to stop."""
        ...

    def suggest(self, trial: Trial) -> Self:
        """These parameters with those replaced that a search varies; itself where there is nothing to search."""
        ...


def parameters_of(algorithm: Any) -> dict[str, Parameter]:
    """The fields of an algorithm but `threads`, which changes the time and not the model."""
    return {name: value for name, value in asdict(algorithm).items() if name != "threads"}


def medians_of(inputs: Matrix) -> Matrix:
    """The median of each input's present values, float32 (d,); 0 where every value is missing."""
    return np.nanmedian(np.where(np.isnan(inputs).all(axis=0), np.float32(0), inputs), axis=0).astype(np.float32)


def filled_with(inputs: Matrix, fill: Matrix) -> Matrix:
    """The inputs with `fill` (d,) where they are missing."""
    return np.where(np.isnan(inputs), fill, inputs)


def shares_of(importance: NDArray[Any]) -> Scores:
    """Scaled to sum to 1; all zeros stay."""
    total = float(importance.sum())
    return np.asarray(importance, np.float64) / (total or 1.0)


def candidates() -> dict[str, Algorithm]:
    """THE list of algorithms that are fitted on the training set, by name, with their measured defaults."""
    from fraud_platform.models.algorithms.isolation_forest import IsolationForest
    from fraud_platform.models.algorithms.lightgbm import LightGBM
    from fraud_platform.models.algorithms.logistic_regression import LogisticRegression
    from fraud_platform.models.algorithms.random_forest import RandomForest
    from fraud_platform.models.algorithms.xgboost import XGBoost

    every: Sequence[Algorithm] = (LogisticRegression(), RandomForest(), XGBoost(), LightGBM(), IsolationForest())
    return {algorithm.name: algorithm for algorithm in every}
