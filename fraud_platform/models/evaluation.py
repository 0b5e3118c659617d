"""How good scores are: ranking, decisions at a threshold, and what a review team would find each day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.models.algorithms import Labels, Scores
from fraud_platform.models.dataset import Snapshot, Split
from fraud_platform.models.training import TrainedModel, input_matrix

RECALL_GOAL = 0.9
UNKNOWN_TYPE = "unknown"


@dataclass(frozen=True)
class TypeRecall:
    """Of the frauds of one type, how many scored at or above the threshold."""

    frauds: int
    found: int
    recall: float


@dataclass(frozen=True)
class Evaluation:
    """The figures of one model on one period. None where a figure is undefined (one class, no alert).

    `k` is the cards reviewed a day; `reviewed_days` are the days over which card precision is the mean.
    """

    rows: int
    frauds: int
    days: int
    customers: int
    threshold: float
    roc_auc: float | None
    average_precision: float | None
    precision_at_90_recall: float | None
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
    by_fraud_type: dict[str, TypeRecall]

    @property
    def metrics(self) -> dict[str, float]:
        """The defined figures by name, flat; `recall_of_<type>` for each type of fraud."""
        figures = {name: value for name, value in vars(self).items() if isinstance(value, int | float)}
        figures |= {f"recall_of_{name}": by.recall for name, by in self.by_fraud_type.items()}
        return {name: float(value) for name, value in figures.items()}


def evaluate(
    labels: Labels,
    scores: Scores,
    days: pl.Series,
    customer_ids: pl.Series,
    threshold: float,
    k: int = 100,
    fraud_types: Sequence[str | None] | pl.Series | None = None,
) -> Evaluation:
    """Compare scores (n,) with labels (n,); an alert is a score at or above the threshold.

    Args:
        days: the UTC day of each row (Date).
        fraud_types: the kind of each fraud, where known; ignored for legitimate rows.

    Raises:
        TrainingError: if the lengths differ or a score is not a number.
    """
    labels, scores = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    types = pl.Series("type", [None] * len(labels) if fraud_types is None else fraud_types, dtype=pl.String)
    lengths = {len(labels), len(scores), len(days), len(customer_ids), len(types)}
    if len(lengths) > 1 or not np.isfinite(scores).all():
        raise TrainingError(
            f"Cannot evaluate: labels, scores, days, customers and fraud types have the lengths {sorted(lengths)} and "
            f"{int((~np.isfinite(scores)).sum())} scores are not finite. Give one finite score for each row."
        )
    alerts = scores >= threshold
    found, missed = int((alerts & labels).sum()), int((~alerts & labels).sum())
    false_alerts = int((alerts & ~labels).sum())
    ranking = _ranking(labels, scores)
    per_day = card_precision_by_day(labels, scores, days, customer_ids, k)
    return Evaluation(
        rows=len(labels),
        frauds=int(labels.sum()),
        days=days.n_unique(),
        customers=customer_ids.n_unique(),
        threshold=threshold,
        roc_auc=ranking[0],
        average_precision=ranking[1],
        precision_at_90_recall=ranking[2],
        f1=_share(2 * found, 2 * found + false_alerts + missed),
        precision=_share(found, found + false_alerts),
        recall=_share(found, found + missed),
        alert_rate=_share(int(alerts.sum()), len(labels)),
        true_positives=found,
        false_positives=false_alerts,
        true_negatives=len(labels) - found - false_alerts - missed,
        false_negatives=missed,
        k=k,
        card_precision_at_k=float(np.mean(per_day)) if per_day else None,
        reviewed_days=len(per_day),
        by_fraud_type=_recall_by_type(labels, alerts, types),
    )


def evaluate_split(snapshot: Snapshot, trained: TrainedModel, split: Split = "test", k: int = 100) -> Evaluation:
    """Score one split of a snapshot with the model's own threshold and evaluate it."""
    rows = snapshot.read(split)
    return evaluate(
        rows.get_column("is_fraud").to_numpy(),
        trained.predict(input_matrix(rows, trained.feature_columns)),
        rows.get_column("day"),
        rows.get_column("customer_id"),
        trained.threshold,
        k,
        rows.get_column("fraud_type"),
    )


def card_precision_by_day(
    labels: Labels, scores: Scores, days: pl.Series, customer_ids: pl.Series, k: int
) -> list[float]:
    """For each day in order, the share of the k reviewed cards that is compromised.

    A card's score is the highest of its transactions of the day, and it is compromised if any of
    them is fraud. A card found compromised on one day is not reviewed on the following ones. Where
    fewer than k cards are left, all are reviewed; a day with none is left out. Equal scores are
    reviewed in order of customer id. After Le Borgne et al., Reproducible Machine Learning for
    Credit Card Fraud Detection, section 4.5 (which divides by k in any case).
    """
    cards = (
        pl.DataFrame({"day": days, "card": customer_ids, "score": scores, "fraud": labels})
        .group_by("day", "card")
        .agg(pl.col("score").max(), pl.col("fraud").any())
        .sort(["day", "score", "card"], descending=[False, True, False])
    )
    found: list[str] = []
    precisions: list[float] = []
    for of_day in cards.partition_by("day", maintain_order=True):
        reviewed = of_day.filter(~pl.col("card").is_in(found)).head(k)
        if reviewed.height:
            compromised = reviewed.filter("fraud").get_column("card").to_list()
            precisions.append(len(compromised) / reviewed.height)
            found += compromised
    return precisions


def _ranking(labels: Labels, scores: Scores) -> tuple[float | None, float | None, float | None]:
    """ROC AUC, average precision, and the best precision that still finds 90 % of the frauds."""
    if labels.all() or not labels.any():
        return None, None, None
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    precision, recall, _ = precision_recall_curve(labels, scores)
    return (
        float(roc_auc_score(labels, scores)),
        float(average_precision_score(labels, scores)),
        float(precision[recall >= RECALL_GOAL].max()),
    )


def _recall_by_type(labels: Labels, alerts: Labels, types: pl.Series) -> dict[str, TypeRecall]:
    """Empty where no fraud has a known type; otherwise the untyped frauds count as `unknown`."""
    frauds = pl.DataFrame({"type": types, "found": alerts}).filter(pl.Series(labels))
    if frauds.get_column("type").null_count() == frauds.height:
        return {}
    counts = frauds.group_by(pl.col("type").fill_null(UNKNOWN_TYPE)).agg(pl.len(), pl.col("found").sum()).sort("type")
    return {name: TypeRecall(frauds, found, found / frauds) for name, frauds, found in counts.iter_rows()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
