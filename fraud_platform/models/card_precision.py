"""Card precision@k: of the cards that a team reviews each day, the share that is compromised."""

import numpy as np
import polars as pl

from fraud_platform.models.algorithms import Labels, Scores
from fraud_platform.models.ranking import Codes, Counts


class CardReviews:
    """The cards of each day in the order of review.

    A card's score is the highest of its transactions of the day, and it is compromised if any of
    them is fraud. A card found compromised on one day is not reviewed on the following ones. Where
    fewer than k cards are left, all are reviewed; a day with none is left out. Equal scores are
    reviewed in order of customer id. After Le Borgne et al., Reproducible Machine Learning for
    Credit Card Fraud Detection, section 4.5 (which divides by k in any case).
    """

    def __init__(self, labels: Labels, scores: Scores, days: pl.Series, customers: Codes, k: int) -> None:
        """Customers are numbered in the order of their ids, which decides between equal scores."""
        cards = (
            pl.DataFrame({"day": days, "card": customers, "score": scores, "fraud": labels})
            .group_by("day", "card")
            .agg(pl.col("score").max(), pl.col("fraud").any())
            .sort(["day", "score", "card"], descending=[False, True, False])
        )
        self.k = k
        self._days = [
            (of_day.get_column("card").to_numpy(), of_day.get_column("fraud").to_numpy())
            for of_day in cards.partition_by("day", maintain_order=True)
        ]

    def by_day(self, counts: Counts) -> list[float]:
        """The precision of each day in order, where customer c stands for `counts[c]` customers like it."""
        left = np.array(counts, dtype=np.int64)
        precisions: list[float] = []
        for cards, fraud in self._days:
            reviewed = np.diff(np.minimum(np.cumsum(left[cards]), self.k), prepend=0)
            compromised = np.where(fraud, reviewed, 0)
            if total := int(reviewed.sum()):
                precisions.append(int(compromised.sum()) / total)
                left[cards] -= compromised
        return precisions

    def mean(self, counts: Counts) -> float:
        """Card precision@k: the mean over the days, NaN where there is none."""
        precisions = self.by_day(counts)
        return float(np.mean(precisions)) if precisions else np.nan
