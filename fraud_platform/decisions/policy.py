"""From a fraud probability to what is done about it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fraud_platform.models.costs import NEVER, Thresholds

RiskLevel = Literal["low", "medium", "high"]
Action = Literal["approve", "review", "block"]


@dataclass(frozen=True)
class Policy:
    """Probabilities at and above a threshold are reviewed or blocked; from half of the lower one on, risk is medium."""

    thresholds: Thresholds

    def is_fraud(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        return probabilities >= self.thresholds.review

    def risk_levels(self, probabilities: NDArray[np.float64]) -> NDArray[np.str_]:
        review = self.thresholds.review
        return np.select([probabilities >= review, probabilities >= review / 2], ["high", "medium"], "low")

    def actions(self, probabilities: NDArray[np.float64]) -> NDArray[np.str_]:
        block = NEVER if self.thresholds.block is None else self.thresholds.block
        return np.select([probabilities >= block, self.is_fraud(probabilities)], ["block", "review"], "approve")

    def judge(self, probability: float) -> tuple[RiskLevel, Action]:
        """The risk level and the action of one transaction: what the methods above say of a row."""
        review, block = self.thresholds.review, self.thresholds.block
        if probability >= review:
            return "high", "block" if block is not None and probability >= block else "review"
        return "medium" if probability >= review / 2 else "low", "approve"
