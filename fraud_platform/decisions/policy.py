"""From a fraud probability to what is done about it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RiskLevel = Literal["low", "medium", "high"]
Action = Literal["approve", "review"]


@dataclass(frozen=True)
class Policy:
    """Probabilities at and above `threshold` are reviewed; from half of it on, the risk is medium."""

    threshold: float

    def is_fraud(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        return probabilities >= self.threshold

    def risk_levels(self, probabilities: NDArray[np.float64]) -> NDArray[np.str_]:
        return np.select(
            [probabilities >= self.threshold, probabilities >= self.threshold / 2], ["high", "medium"], "low"
        )

    def actions(self, probabilities: NDArray[np.float64]) -> NDArray[np.str_]:
        return np.where(self.is_fraud(probabilities), "review", "approve")
