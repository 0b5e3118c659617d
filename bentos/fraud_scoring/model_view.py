"""What the console shows of the models that serve: from their cards and the deployment file, without MLflow."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from bentos.fraud_scoring.console.needs import LoadedModel, Models
from fraud_platform.decisions.deployment import LastPromotion
from fraud_platform.features.catalog import FEATURES
from fraud_platform.models.artefact import ModelCard

Kind = Literal["share", "money", "number"]

HEADLINE: tuple[tuple[str, str, Kind], ...] = (
    ("average_precision", "Average precision", "share"),
    ("roc_auc", "ROC AUC", "share"),
    ("precision", "Precision", "share"),
    ("recall", "Recall", "share"),
    ("recall_at_1_percent_fpr", "Recall at 1 % false alarms", "share"),
    ("card_precision_at_k", "Card precision at k", "share"),
    ("fraud_amount_stopped_share", "Fraud amount stopped", "share"),
    ("money_saved_share", "Share of preventable loss saved", "share"),
    ("money_saved", "Money saved", "money"),
    ("reviews_per_day", "Reviews a day", "number"),
    ("alert_rate", "Alert rate", "share"),
    ("brier_score", "Brier score", "number"),
)
"""Name in the evaluation, what it is called on the page, and how it is written."""

MOST_IMPORTANT = 15
MEANINGS: Mapping[str, str] = {feature.name: feature.meaning for feature in FEATURES}


class Metric(msgspec.Struct, frozen=True):
    """One figure with its 95 % interval, where there is one."""

    name: str
    title: str
    kind: Kind
    value: float
    low: float | None = None
    high: float | None = None


class Importance(msgspec.Struct, frozen=True):
    feature: str
    meaning: str
    share: float


class ModelView(msgspec.Struct, frozen=True):
    """One model. `evaluation` is the card's own, with the keys of `models.evaluation.Evaluation`."""

    role: str
    version: str
    card: ModelCard
    metrics: tuple[Metric, ...]
    importance: tuple[Importance, ...]

    @property
    def evaluation(self) -> dict[str, Any]:
        return self.card.evaluation


class Compared(msgspec.Struct, frozen=True):
    """A figure of the champion beside that of another model."""

    title: str
    kind: Kind
    champion: float
    other: float


class Comparison(msgspec.Struct, frozen=True):
    """The champion beside another loaded model.

    `same_rows`: whether both were evaluated on the same snapshot; otherwise the figures are of different days.
    """

    other: ModelView
    same_rows: bool
    figures: tuple[Compared, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


class ModelPage(msgspec.Struct, frozen=True):
    """`promotion`: how the champion came to serve, or in `problem` why that is not told."""

    models: tuple[ModelView, ...]
    comparisons: tuple[Comparison, ...]
    promotion: LastPromotion | None
    problem: str | None


def model_page(models: Models, promotion: LastPromotion | None, problem: str | None = None) -> ModelPage:
    """All models that this worker holds, the champion first."""
    roles = [("champion", models.champion), ("challenger", models.challenger), ("fallback", models.fallback)]
    views = tuple(view(role, model) for role, model in roles if model is not None)
    others = [of for of in views if of.role != "champion"] if models.champion is not None else []
    return ModelPage(views, tuple(_compare(views[0], other) for other in others), promotion, problem)


def view(role: str, model: LoadedModel) -> ModelView:
    """The page's view of one card."""
    card: ModelCard = model.artefact.card
    ranked = sorted(zip(card.importance, card.feature_columns, strict=False), key=lambda pair: (-pair[0], pair[1]))
    return ModelView(
        role,
        model.version,
        card,
        metrics=tuple(_metrics(card.evaluation)),
        importance=tuple(
            Importance(name, MEANINGS.get(name, "an attribute of the source"), share)
            for share, name in ranked[:MOST_IMPORTANT]
            if share > 0
        ),
    )


def _metrics(evaluation: Mapping[str, Any]) -> list[Metric]:
    intervals = evaluation.get("intervals", {})
    found: list[Metric] = []
    for name, title, kind in HEADLINE:
        interval = intervals.get(name)
        if interval is not None:
            found.append(Metric(name, title, kind, interval["value"], interval["low"], interval["high"]))
        elif (value := evaluation.get(name)) is not None:
            found.append(Metric(name, title, kind, value))
    return found


def _compare(champion: ModelView, other: ModelView) -> Comparison:
    theirs = {metric.name: metric for metric in other.metrics}
    ours, others = champion.card.feature_columns, other.card.feature_columns
    return Comparison(
        other,
        same_rows=champion.card.snapshot_hash == other.card.snapshot_hash,
        figures=tuple(
            Compared(of.title, of.kind, of.value, theirs[of.name].value) for of in champion.metrics if of.name in theirs
        ),
        added=tuple(name for name in ours if name not in others),
        removed=tuple(name for name in others if name not in ours),
    )
