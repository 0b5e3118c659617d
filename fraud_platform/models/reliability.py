"""Whether probabilities mean what they say: of the payments given 20 %, one in five should be fraud."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraud_platform.models.algorithms import Labels, Scores

BINS = 10


@dataclass(frozen=True)
class ReliabilityPoint:
    """One bin of the reliability curve: what was predicted, what came, on how many rows."""

    mean_predicted: float
    observed_rate: float
    rows: int


@dataclass(frozen=True)
class Calibration:
    """How far probabilities lie from what came.

    brier_score: the mean of (probability - label)².
    error: the expected calibration error, sum over bins of rows_b / rows * |observed_b - predicted_b|.
    noise: the error that perfectly calibrated probabilities would show by chance, on average.
    Both errors are in units of probability; divided by `observed_rate`, they are the share of the frauds
    that the probabilities put into the wrong bin.
    """

    brier_score: float
    error: float
    noise: float
    mean_predicted: float
    observed_rate: float
    curve: tuple[ReliabilityPoint, ...]

    @property
    def excess(self) -> float | None:
        """The error beyond noise as a share of the fraud rate, 0 or more; None without frauds."""
        return max(self.error - self.noise, 0.0) / self.observed_rate if self.observed_rate else None


def calibration(labels: Labels, probabilities: Scores, bins: int = BINS) -> Calibration | None:
    """Compare probabilities with labels, (n,) each; None where there are no rows.

    Bins of equal mass, and the mass is that of predicted fraud: each bin holds the same sum of
    probabilities. With equal numbers of rows, at a fraud rate under 1 %, the last of ten bins would hold
    nearly all frauds, and too high and too low within it would cancel out. The formula is that of Naeini
    et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning (AAAI 2015); equal mass after
    Nixon et al., Measuring Calibration in Deep Learning (CVPR workshops 2019).

    The noise is sqrt(2 / π) * sum over bins of sqrt(sum of p (1 - p)) / rows: the mean distance of a
    binomial sum from its mean, in the normal approximation.
    """
    if not len(labels):
        return None
    bin_of_row = _bins_of_equal_mass(probabilities, bins)
    rows = np.bincount(bin_of_row, minlength=bins)
    predicted = np.bincount(bin_of_row, probabilities, bins)
    frauds = np.bincount(bin_of_row, labels, bins)
    variance = np.bincount(bin_of_row, probabilities * (1 - probabilities), bins)
    return Calibration(
        brier_score=float(np.mean((probabilities - labels) ** 2)),
        error=float(np.abs(frauds - predicted).sum() / len(labels)),
        noise=float(np.sqrt(2 / np.pi) * np.sqrt(np.maximum(variance, 0)).sum() / len(labels)),
        mean_predicted=float(probabilities.mean()),
        observed_rate=float(np.mean(labels)),
        curve=tuple(
            ReliabilityPoint(float(predicted[b] / rows[b]), float(frauds[b] / rows[b]), int(rows[b]))
            for b in np.flatnonzero(rows)
        ),
    )


def _bins_of_equal_mass(probabilities: Scores, bins: int) -> NDArray[np.int64]:
    """The bin of each row, (n,), rising with the probability; equal probabilities share one."""
    values, of_row, times = np.unique(probabilities, return_inverse=True, return_counts=True)
    mass = values * times
    total = mass.sum()
    if total <= 0:
        return np.zeros(len(probabilities), np.int64)
    centre = (np.cumsum(mass) - mass / 2) / total
    return np.minimum((centre * bins).astype(np.int64), bins - 1)[of_row]
