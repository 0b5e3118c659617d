"""How well scores rank, where each row counts with the weight of its customer.

Scores are sorted once; each resample of the bootstrap then costs one running sum over the rows and work on
the frauds alone. Equal scores are one operating point, as in scikit-learn, which agrees on every figure.
"""

import numpy as np
from numpy.typing import NDArray

from fraud_platform.models.algorithms import Labels, Scores

Codes = NDArray[np.int64]
"""The customer of each row, numbered from 0, shape (n,)."""
Counts = NDArray[np.int64]
"""How often each customer is in a resample, shape (customers,); all ones are the rows themselves."""

RECALL_GOAL = 0.9
FALSE_POSITIVE_RATES = {"recall_at_0_1_percent_fpr": 0.001, "recall_at_1_percent_fpr": 0.01}
FIGURES = ("roc_auc", "average_precision", "precision_at_90_recall", *FALSE_POSITIVE_RATES)


class Ranking:
    """Labels and scores (n,), sorted; called with weights of the customers it gives the figures."""

    def __init__(self, labels: Labels, scores: Scores, customers: Codes) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked, fraud = scores[order], np.asarray(labels, np.bool_)[order]
        first_of_tie = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])[: len(ranked)])
        tie_of_fraud = np.searchsorted(first_of_tie, np.flatnonzero(fraud), side="right") - 1
        ties, self._point_of_fraud = np.unique(tie_of_fraud, return_inverse=True)
        self._starts = first_of_tie[ties]
        self._ends = np.append(first_of_tie, len(ranked))[ties + 1]
        self._customers = customers[order]
        self._fraud_customers = self._customers[fraud]

    def points(self, counts: Counts) -> tuple[Scores, Scores, Scores, float]:
        """The operating points that have frauds, from the highest score down.

        Returns:
            of each point its own frauds, the rows above it, the rows above it and in it; and all rows.
        """
        rows = np.concatenate([[0.0], np.cumsum(counts[self._customers], dtype=np.float64)])
        weights = counts[self._fraud_customers]
        frauds = np.bincount(self._point_of_fraud, weights, len(self._ends)).astype(np.float64)
        return frauds, rows[self._starts], rows[self._ends], float(rows[-1])

    def __call__(self, counts: Counts) -> dict[str, float]:
        """`FIGURES` by name; NaN where one class has no weight.

        roc_auc: the share of pairs of a fraud and a legitimate row that are in the right order, ties half.
        average_precision: precision at each point, weighted by the rise of recall there.
        precision_at_90_recall: the best precision of the points that find 90 % of the frauds or more.
        recall_at_…_fpr: the greatest recall with at most that share of the legitimate rows alerted; between
        two points nothing is interpolated, because no threshold reaches what lies there.
        """
        frauds, rows_above, rows, every_row = self.points(counts)
        found = np.cumsum(frauds)
        all_frauds = float(found[-1]) if len(found) else 0.0
        legitimate = every_row - all_frauds
        if all_frauds == 0 or legitimate == 0:
            return dict.fromkeys(FIGURES, np.nan)
        false_alerts = rows - found
        tied = rows - rows_above - frauds
        # A point that no weight has reached has no frauds either: 0 / 1 takes no part.
        precision, recall = found / np.maximum(rows, 1), found / all_frauds
        figures = {
            "roc_auc": float(frauds @ (legitimate - false_alerts + tied / 2)) / all_frauds / legitimate,
            "average_precision": float(frauds @ precision) / all_frauds,
            "precision_at_90_recall": float(precision[recall >= RECALL_GOAL].max()),
        }
        for name, rate in FALSE_POSITIVE_RATES.items():
            allowed = np.floor(rate * legitimate * (1 + 1e-12))  # 0.01 * 700 may be 6.999…
            figures[name] = float(recall[false_alerts <= allowed].max(initial=0.0))
        return figures


def defined(figure: float) -> float | None:
    """None for NaN, which JSON cannot hold."""
    return None if np.isnan(figure) else float(figure)
