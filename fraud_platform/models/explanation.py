"""Why a model gives a payment its probability: what each input adds to it, exactly. Imports nothing that trains.

Each model that votes is a function of a sum (`additive`), and the sum is shared among the inputs by its Shapley values:
TreeSHAP with path-dependent expectations for trees, the distance of each term from its mean for a linear model. The
averages are over the train rows. The parts of the sum become parts of the score by one factor for them all, (score -
score of the average sum) / (sum - average sum), the votes are averaged, and the calibration scales them in the same
way. So the parts keep their proportions within a model, and add up to the probability.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import ArtefactError
from fraud_platform.models.additive import Member, Shares, read_members
from fraud_platform.models.artefact import EXPLANATION_FILE, read_card, verify_digests
from fraud_platform.models.calibration import Calibrator

_LEVEL = 1e-8
"""Of parts that cancel out to less than this share of them, the factor is the slope of the function there."""


class Contributions(NamedTuple):
    """A probability in parts: `base`, what the train rows' averages have, plus `values`, float64 (d,)."""

    base: float
    values: NDArray[np.float64]


class Explainer:
    """Explains the probabilities of one artefact. May be called from several threads at once."""

    def __init__(self, feature_columns: tuple[str, ...], members: Sequence[Member], calibrator: Calibrator) -> None:
        self.feature_columns = feature_columns
        self._members = tuple(members)
        self._calibrator = calibrator

    @classmethod
    def load(cls, path: Path) -> "Explainer":
        """Of the artefact in the directory `path`; compiles the kernels, which takes seconds once a machine.

        Raises:
            ArtefactError: naming the file that is missing, changed, or of another format.
        """
        verify_digests(path)
        card = read_card(path)
        members = read_members(path / EXPLANATION_FILE, len(card.feature_columns))
        explainer = cls(card.feature_columns, members, card.calibrator)
        explainer.contributions(np.full(len(card.feature_columns), np.nan, np.float32))
        return explainer

    def contributions(self, vector: NDArray[np.float32], probability: float | None = None) -> Contributions:
        """What each input of a payment adds to its fraud probability.

        Args:
            vector: float32 (d,), the columns of `feature_columns` in order; NaN = missing.
            probability: what `Artefact.predict` gave. The parts then add up to just that, and the base takes what ONNX
                Runtime's float32 rounds differently from the double precision used here: without it they may be 1e-6
                apart, and more where the calibration jumps.

        Raises:
            ArtefactError: if the vector has another type or length.
        """
        parts = carried(self.score_parts(vector), self._calibrated)
        if probability is None:
            return Contributions(*parts)
        return Contributions(probability - float(parts.values.sum()), parts.values)

    def score_parts(self, vector: NDArray[np.float32]) -> Shares:
        """What each input adds to the score, before it is calibrated; as `contributions`."""
        if vector.dtype != np.float32 or vector.shape != (len(self.feature_columns),):
            raise ArtefactError(
                f"The model's reasons are of float32 ({len(self.feature_columns)},) and were asked of {vector.dtype} "
                f"{vector.shape}. Give the columns of `feature_columns`, in that order."
            )
        votes = [carried(member.shares(vector), member.link) for member in self._members]
        base = sum(vote.base for vote in votes) / len(votes)
        values = np.mean([vote.values for vote in votes], axis=0)
        return Shares(base, values)

    def _calibrated(self, score: float) -> float:
        return float(self._calibrator(np.array([score]))[0])


def carried(shares: Shares, function: Callable[[float], float]) -> Shares:
    """The parts of a sum as parts of a rising or falling function of it, in the same proportions."""
    total, size = float(shares.values.sum()), float(np.abs(shares.values).sum())
    base = function(shares.base)
    if size == 0.0:
        return Shares(base, shares.values)
    if abs(total) > _LEVEL * size:
        factor = (function(shares.base + total) - base) / total
    else:
        step = 1e-4 * size
        factor = (function(shares.base + step) - function(shares.base - step)) / (2.0 * step)
    return Shares(base, shares.values * factor)
