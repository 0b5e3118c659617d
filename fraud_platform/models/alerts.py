"""How many alerts a day a team gets, against the reviews that it can do."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_platform.models.algorithms import Scores
from fraud_platform.models.costs import Thresholds


@dataclass(frozen=True)
class AlertLoad:
    """Alerts a day over the days that have payments; None where there is no day.

    `budget` is the reviews that can be done in a day; `days_above_budget` the share of days that ask for
    more. What is blocked is not reviewed.
    """

    budget: int
    reviews_per_day: float | None
    blocks_per_day: float | None
    days_above_budget: float | None
    busiest_day_reviews: int


def alert_load(probabilities: Scores, days: pl.Series, thresholds: Thresholds, budget: int) -> AlertLoad:
    """Count the reviews and blocks of each day among rows (n,)."""
    blocked = thresholds.blocks(probabilities)
    reviewed = thresholds.alerts(probabilities) & ~blocked
    by_day = pl.DataFrame({"day": days, "reviewed": reviewed, "blocked": blocked}).group_by("day").sum()
    if not by_day.height:
        return AlertLoad(budget, None, None, None, 0)
    reviews, blocks = by_day.get_column("reviewed").to_numpy(), by_day.get_column("blocked").to_numpy()
    return AlertLoad(
        budget=budget,
        reviews_per_day=float(reviews.mean()),
        blocks_per_day=float(blocks.mean()),
        days_above_budget=float(np.mean(reviews > budget)),
        busiest_day_reviews=int(reviews.max()),
    )
