"""The figures that are given with an interval, as a function of how often each customer counts."""

import numpy as np
import polars as pl

from fraud_platform.models.bootstrap import customer_totals
from fraud_platform.models.card_precision import CardReviews
from fraud_platform.models.costs import DecidedRows
from fraud_platform.models.ranking import Codes, Counts, Ranking


class Headline:
    """Called with counts (customers,), it gives the figures by name; NaN where one is undefined.

    All that is a sum over rows is summed once by customer; a resample then costs one product. The error of
    calibration is not among the figures: resampling adds noise of its own to every bin, so that most
    resamples lie above the value itself.
    """

    def __init__(self, rows: DecidedRows, days: pl.Series, codes: Codes, customers: int, k: int) -> None:
        self.cards = CardReviews(rows.labels, rows.probabilities, days, codes, k)
        self._ranking = Ranking(rows.labels, rows.probabilities, codes)
        self._days = days.n_unique()
        parts = {
            "rows": np.ones(len(codes)),
            "frauds": rows.labels,
            "alerts": rows.alerts,
            "found": rows.alerts & rows.labels,
            "reviews": rows.alerts & ~rows.blocks,
            "squared_errors": (rows.probabilities - rows.labels) ** 2,
            "preventable": rows.losses,
            "saved": rows.gains,
            "fraud_amount": np.where(rows.labels, rows.amounts, 0),
            "fraud_amount_stopped": np.where(rows.labels & rows.alerts, rows.amounts, 0),
        }
        self._parts = tuple(parts)
        self._totals = np.stack([customer_totals(values, codes, customers) for values in parts.values()], axis=1)

    def __call__(self, counts: Counts) -> dict[str, float]:
        of = dict(zip(self._parts, (counts @ self._totals).tolist(), strict=True))
        return self._ranking(counts) | {
            "f1": _ratio(2 * of["found"], of["alerts"] + of["frauds"]),
            "precision": _ratio(of["found"], of["alerts"]),
            "recall": _ratio(of["found"], of["frauds"]),
            "alert_rate": _ratio(of["alerts"], of["rows"]),
            "card_precision_at_k": self.cards.mean(counts),
            "brier_score": _ratio(of["squared_errors"], of["rows"]),
            "money_saved": of["saved"],
            "money_saved_share": _ratio(of["saved"], of["preventable"]),
            "fraud_amount_stopped_share": _ratio(of["fraud_amount_stopped"], of["fraud_amount"]),
            "reviews_per_day": _ratio(of["reviews"], self._days),
        }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else np.nan
