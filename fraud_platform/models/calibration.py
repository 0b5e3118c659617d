"""From a model's score to a probability that means what it says. Needs NumPy alone where it is applied."""

from typing import Literal

import msgspec
import numpy as np

from fraud_platform.models.algorithms import Labels, Scores

CalibrationKind = Literal["sigmoid", "isotonic", "none"]

SMALLEST, LARGEST = 1e-9, 1.0 - 1e-9
"""Scores are held within, so that their log odds are finite."""


class Calibrator(msgspec.Struct, frozen=True):
    """A rising function of the score.

    sigmoid: 1 / (1 + exp(-(slope * log odds + intercept))), after Platt (1999), on the log odds of the score; it keeps
    every order. isotonic: straight lines between points, after Zadrozny and Elkan (2002); it makes ties. none: the
    score itself.
    """

    kind: CalibrationKind = "none"
    slope: float = 1.0
    intercept: float = 0.0
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __call__(self, scores: Scores) -> Scores:
        """The probability of each score; float64 (n,)."""
        if self.kind == "sigmoid":
            return 1.0 / (1.0 + np.exp(-(self.slope * log_odds(scores) + self.intercept)))
        if self.kind == "isotonic":
            return np.interp(scores, self.scores, self.probabilities)
        return scores


def log_odds(scores: Scores) -> Scores:
    held = np.minimum(np.maximum(scores, SMALLEST), LARGEST)
    return np.log(held / (1.0 - held))


def fit_calibrator(kind: CalibrationKind, labels: Labels, scores: Scores) -> Calibrator:
    """Fit on rows that the model was not fitted on, both classes among them.

    A model whose scores fall where fraud rises, or say nothing, has no rising sigmoid: its scores stay what they are.
    """
    if kind == "sigmoid":
        from sklearn.linear_model import LogisticRegression

        # Penalised a little, so that scores which separate the classes do not make the slope infinite.
        fit = LogisticRegression(C=100.0).fit(log_odds(scores)[:, np.newaxis], labels)
        slope = float(fit.coef_[0, 0])
        if slope > 0:
            return Calibrator("sigmoid", slope=slope, intercept=float(fit.intercept_[0]))
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, labels)
        return Calibrator(
            "isotonic", scores=tuple(fit.X_thresholds_.tolist()), probabilities=tuple(fit.y_thresholds_.tolist())
        )
    return Calibrator()
