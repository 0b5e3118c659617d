"""The reference profile: how each input and the score were distributed at training, which drift is measured against."""

import msgspec
import numpy as np
from numpy.typing import NDArray

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Deciles, and two of the upper tail where scores and velocities of fraud lie."""


class Distribution(msgspec.Struct, frozen=True):
    """A histogram of at most 2 × len(DECILES) + 1 bins.

    Bin i holds edges[i-1] <= value < edges[i]; the first and the last are open. `shares` are of the
    values present and sum to 1 (empty where none is); `missing` is the share of all rows that is NaN.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: float


class ReferenceProfile(msgspec.Struct, frozen=True):
    """`inputs`, by name, from the train rows; `score` from the validation rows, because a model
    separates the rows it was fitted on better than any that it will see."""

    rows: int
    inputs: dict[str, Distribution]
    score_rows: int
    score: Distribution


def profile(
    inputs: NDArray[np.float32], names: tuple[str, ...], validation_scores: NDArray[np.float64]
) -> ReferenceProfile:
    """The profile of train inputs (n, d) and validation scores (m,)."""
    return ReferenceProfile(
        rows=len(inputs),
        inputs={name: distribution(inputs[:, column]) for column, name in enumerate(names)},
        score_rows=len(validation_scores),
        score=distribution(validation_scores.astype(np.float32)),
    )


def distribution(values: NDArray[np.float32]) -> Distribution:
    """The histogram between quantiles of `values` (n,).

    A value on which several quantiles fall (the zeros of a count) gets a bin of its own.
    """
    present = values[~np.isnan(values)]
    missing = 1.0 - len(present) / len(values) if len(values) else 0.0
    if not len(present):
        return Distribution((), (), missing)
    quantiles, times = np.unique(np.quantile(present, DECILES, method="lower"), return_counts=True)
    heavy = quantiles[times > 1]
    edges = np.unique(np.concatenate([quantiles, np.nextafter(heavy, np.float32(np.inf))]))
    return Distribution(tuple(map(float, edges)), tuple(map(float, shares(present, edges))), missing)


def shares(values: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.float64]:
    """The share of `values` (none NaN) in each of the len(edges) + 1 bins."""
    bins = np.searchsorted(edges, values, side="right")
    return np.bincount(bins, minlength=len(edges) + 1) / len(values)
