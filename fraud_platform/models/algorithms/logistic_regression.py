"""Logistic regression: the simple model that the others have to beat."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fraud_platform.models.algorithms import Matrix, Parameter, Sample, Scores, Trial, parameters_of, shares_of
from fraud_platform.models.onnx_graphs import Linear, Vector, linear_graph


@dataclass(frozen=True)
class LogisticRegression:
    """Linear in the inputs and in their logarithms: sign(z) log(1 + |z|), z about the median in units of the spread.

    Amounts and counts have long tails. On four earlier splits of the published benchmark, plain inputs gave an average
    precision of 0.69, logarithms 0.60, and both 0.71. A missing value counts as the median, and that it is missing is
    an input of its own. Of more rows than `max_rows`, so many are drawn at random: its three columns an input take
    6.7 GB for 1.75 million rows of 59 inputs.
    """

    regularization: float = 1.0
    max_iterations: int = 300
    max_rows: int = 300_000

    @property
    def name(self) -> str:
        return "logistic_regression"

    @property
    def parameters(self) -> dict[str, Parameter]:
        return parameters_of(self)

    def suggest(self, trial: Trial) -> "LogisticRegression":
        return replace(self, regularization=trial.suggest_float("regularization", 0.01, 100.0, log=True))

    def fit(self, train: Sample, validation: Sample, seed: int) -> "LogisticModel":
        from sklearn.linear_model import LogisticRegression as Fit

        if len(train.labels) > self.max_rows:
            drawn = np.random.default_rng(seed).choice(len(train.labels), self.max_rows, replace=False)
            train = train.rows(np.sort(drawn))
        linear = _scaled(train.inputs)
        filled, squashed, missing = columns_of(linear, train.inputs)
        spreads = [_spread(filled), _spread(squashed)]
        middle = filled.mean(axis=0)
        columns = np.hstack([(filled - middle) / spreads[0], squashed / spreads[1], missing])
        fit: Any = Fit(C=1.0 / self.regularization, max_iter=self.max_iterations, random_state=seed)
        fit.fit(columns, train.labels, train.weights)
        of_values, of_squashed, of_missing = np.split(fit.coef_[0], 3)
        weights = of_values / spreads[0]
        return LogisticModel(
            linear._replace(
                weights=weights,
                squashed_weights=of_squashed / spreads[1],
                missing_weights=of_missing,
                intercept=float(fit.intercept_[0] - middle @ weights),
            ),
            np.abs(of_values) + np.abs(of_squashed),
        )


class LogisticModel:
    """Coefficients; its file is JSON: a term an input."""

    file_name = "model.coefficients.json"

    def __init__(self, linear: Linear, weight: Vector) -> None:
        """`weight` (d,): what an input weighs, in units of its spread."""
        self.linear, self._weight = linear, weight

    @property
    def facts(self) -> dict[str, Parameter]:
        return {"intercept": self.linear.intercept}

    def predict(self, inputs: Matrix) -> Scores:
        filled, squashed, missing = columns_of(self.linear, inputs)
        of_values = filled @ self.linear.weights + squashed @ self.linear.squashed_weights
        log_odds = of_values + missing @ self.linear.missing_weights + self.linear.intercept
        return np.exp(-np.logaddexp(0.0, -log_odds))

    def importance(self) -> Scores:
        return shares_of(self._weight)

    def to_onnx(self) -> bytes:
        return linear_graph(self.linear)

    def save(self, path: Path) -> None:
        content = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in self.linear._asdict().items()
        }
        path.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def columns_of(linear: Linear, inputs: Matrix) -> tuple[Vector, Vector, Vector]:
    """The inputs filled, their logarithms, and which are missing; float64 (n, d) each."""
    missing = np.isnan(inputs)
    filled = np.where(missing, linear.fill, inputs.astype(np.float64))
    z = (filled - linear.centre) / linear.scale
    return filled, np.sign(z) * np.log(np.abs(z) + 1.0), missing.astype(np.float64)


def _scaled(inputs: Matrix) -> Linear:
    """Medians, and spreads from the 25th to the 75th percentile, or the standard deviation where that is 0."""
    present = np.where(np.isnan(inputs).all(axis=0), np.float32(0), inputs)
    low, middle, high = np.nanquantile(present, [0.25, 0.5, 0.75], axis=0).astype(np.float64)
    spread = np.where(high > low, high - low, np.nanstd(present, axis=0, dtype=np.float64))
    zeros = np.zeros(len(middle))
    return Linear(middle, middle, np.where(spread > 0, spread, 1.0), zeros, zeros, zeros, 0.0)


def _spread(columns: Vector) -> Vector:
    """Standard deviations (d,); 1 where a column is constant."""
    spread = columns.std(axis=0)
    return np.where(spread > 0, spread, 1.0)
