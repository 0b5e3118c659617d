"""How good a model is on a period: ranking, decisions and their money, calibration, and the work of each day.

Here the figures of one model are put together; how each is computed stands in the modules imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.models.alerts import AlertLoad, alert_load
from fraud_platform.models.algorithms import Labels, Matrix, Scores
from fraud_platform.models.bootstrap import Interval, customer_codes, intervals
from fraud_platform.models.costs import Cents, CostMatrix, Money, Thresholds, decide, money
from fraud_platform.models.dataset import Snapshot, Split
from fraud_platform.models.headline import Headline
from fraud_platform.models.ranking import defined
from fraud_platform.models.reliability import Calibration, calibration
from fraud_platform.models.segments import Draws, SegmentFigures, TypeRecall, by_fraud_type, by_segment
from fraud_platform.models.training import input_matrix


@dataclass(frozen=True)
class Evaluation:
    """The figures of one model on one period. None where a figure is undefined (one class, no alert).

    An alert is a payment that is reviewed or blocked. `k` is the cards reviewed a day, and the budget of
    reviews; `reviewed_days` are the days over which card precision is the mean. `intervals` has the
    intervals of the headline figures under the names of `metrics`; empty where none were asked for.
    """

    rows: int
    frauds: int
    days: int
    customers: int
    thresholds: Thresholds
    roc_auc: float | None
    average_precision: float | None
    precision_at_90_recall: float | None
    recall_at_0_1_percent_fpr: float | None
    recall_at_1_percent_fpr: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    alert_rate: float | None
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    k: int
    card_precision_at_k: float | None
    reviewed_days: int
    money: Money
    calibration: Calibration | None
    alerts: AlertLoad
    by_fraud_type: dict[str, TypeRecall]
    by_segment: dict[str, SegmentFigures]
    intervals: dict[str, Interval]

    @property
    def metrics(self) -> dict[str, float]:
        """The defined figures by name, flat; money in cents; `recall_of_<type>` for each type of fraud."""
        named: dict[str, float | None] = {
            "review_threshold": self.thresholds.review,
            "block_threshold": self.thresholds.block,
            "money_saved": self.money.saved,
            "money_saved_share": self.money.saved_share,
            "money_preventable": self.money.preventable,
            "fraud_amount_stopped_share": self.money.stopped_share,
            "brier_score": self.calibration and self.calibration.brier_score,
            "calibration_error": self.calibration and self.calibration.error,
            "calibration_noise": self.calibration and self.calibration.noise,
            "reviews_per_day": self.alerts.reviews_per_day,
            "blocks_per_day": self.alerts.blocks_per_day,
            "days_above_budget": self.alerts.days_above_budget,
        }
        named |= {f"recall_of_{name}": by.recall for name, by in self.by_fraud_type.items()}
        return {name: float(value) for name, value in (vars(self) | named).items() if isinstance(value, int | float)}


def evaluate(
    labels: Labels,
    probabilities: Scores,
    days: pl.Series,
    customer_ids: pl.Series,
    amounts: Cents | pl.Series,
    thresholds: Thresholds,
    costs: CostMatrix | None = None,
    reviews_a_day: int = 100,
    fraud_types: Sequence[str | None] | pl.Series | None = None,
    frame: pl.DataFrame | None = None,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Evaluation:
    """Compare probabilities with labels, and the decisions at the thresholds with what they cost; (n,) each.

    Args:
        days: the UTC day of each row (Date).
        amounts: of each row, in cents.
        costs: by default those of `CostMatrix`.
        reviews_a_day: what the team can do; k of card precision@k.
        fraud_types: the kind of each fraud, where known; ignored for legitimate rows.
        frame: the features of the rows, for the segments; without it there are amount bands alone.
        resamples: for the intervals; 0 leaves them out.

    Raises:
        TrainingError: if the lengths differ or a probability is not a number.
    """
    costs = costs or CostMatrix()
    labels, probabilities = np.asarray(labels, np.bool_), np.asarray(probabilities, np.float64)
    cents = np.asarray(amounts, np.int64)
    types = pl.Series("type", [None] * len(labels) if fraud_types is None else fraud_types, dtype=pl.String)
    columns = [labels, probabilities, days, customer_ids, cents, types, *([] if frame is None else [frame])]
    _check_rows({len(column) for column in columns}, probabilities)
    codes = customer_codes(customer_ids)
    once = np.ones(int(codes.max(initial=-1)) + 1, np.int64)
    rows = decide(labels, cents, probabilities, thresholds, costs)
    draws = Draws(codes, len(once), resamples, seed) if resamples else None
    headline = Headline(rows, days, codes, len(once), reviews_a_day)
    figures = {name: defined(figure) for name, figure in headline(once).items()}
    found, alerts = int((rows.alerts & labels).sum()), int(rows.alerts.sum())
    return Evaluation(
        rows=len(labels),
        frauds=int(labels.sum()),
        days=days.n_unique(),
        customers=len(once),
        thresholds=thresholds,
        roc_auc=figures["roc_auc"],
        average_precision=figures["average_precision"],
        precision_at_90_recall=figures["precision_at_90_recall"],
        recall_at_0_1_percent_fpr=figures["recall_at_0_1_percent_fpr"],
        recall_at_1_percent_fpr=figures["recall_at_1_percent_fpr"],
        f1=figures["f1"],
        precision=figures["precision"],
        recall=figures["recall"],
        alert_rate=figures["alert_rate"],
        true_positives=found,
        false_positives=alerts - found,
        true_negatives=int((~labels).sum()) - alerts + found,
        false_negatives=int(labels.sum()) - found,
        k=reviews_a_day,
        card_precision_at_k=figures["card_precision_at_k"],
        reviewed_days=len(headline.cards.by_day(once)),
        money=money(labels, cents, probabilities, thresholds, costs),
        calibration=calibration(labels, probabilities),
        alerts=alert_load(probabilities, days, thresholds, reviews_a_day),
        by_fraud_type=by_fraud_type(rows, types, draws),
        by_segment=by_segment(rows, frame, draws),
        intervals=intervals(headline, len(once), resamples, seed) if resamples else {},
    )


def evaluate_rows(
    rows: pl.DataFrame,
    probabilities: Scores,
    thresholds: Thresholds,
    costs: CostMatrix | None = None,
    reviews_a_day: int = 100,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Evaluation:
    """`evaluate` for rows of a snapshot, whose features tell the segments.

    Args:
        rows: is_fraud, day, customer_id, amount_cents, fraud_type and, as far as there are any, features.
        probabilities: of the rows, shape (n,).
    """
    return evaluate(
        rows.get_column("is_fraud").to_numpy(),
        probabilities,
        rows.get_column("day"),
        rows.get_column("customer_id"),
        rows.get_column("amount_cents"),
        thresholds,
        costs,
        reviews_a_day,
        rows.get_column("fraud_type"),
        rows,
        resamples=resamples,
        seed=seed,
    )


class Scorer(Protocol):
    """What scores rows and says where its alerts begin."""

    @property
    def feature_columns(self) -> tuple[str, ...]: ...

    @property
    def thresholds(self) -> Thresholds: ...

    def predict(self, matrix: Matrix) -> Scores:
        """The fraud probability of each row, shape (n,)."""
        ...


def evaluate_split(
    snapshot: Snapshot,
    trained: Scorer,
    split: Split = "test",
    costs: CostMatrix | None = None,
    reviews_a_day: int = 100,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Evaluation:
    """Score one split of a snapshot and evaluate it at the model's own thresholds."""
    rows = snapshot.read(split)
    probabilities = trained.predict(input_matrix(rows, trained.feature_columns))
    return evaluate_rows(rows, probabilities, trained.thresholds, costs, reviews_a_day, resamples=resamples, seed=seed)


def _check_rows(lengths: set[int], probabilities: Scores) -> None:
    wrong = int((~np.isfinite(probabilities)).sum())
    if len(lengths) > 1 or wrong:
        raise TrainingError(
            "Cannot evaluate: labels, probabilities, days, customers, amounts, fraud types and features have the "
            f"lengths {sorted(lengths)} and {wrong} scores are not finite. Give one finite score for each row."
        )
