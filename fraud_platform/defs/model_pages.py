"""What the Dagster UI shows of a model: its figures, tables, pictures and links."""

from collections.abc import Iterable
from typing import Any

import dagster as dg
import polars as pl

from fraud_platform.defs.presentation import markdown_table, picture, rounded
from fraud_platform.models import registry
from fraud_platform.models.algorithms import Scores
from fraud_platform.models.bootstrap import Interval
from fraud_platform.models.costs import CostMatrix
from fraud_platform.models.curves import (
    calibration_png,
    money_png,
    precision_recall_png,
    roc_png,
    score_distribution_png,
)
from fraud_platform.models.evaluation import Evaluation
from fraud_platform.settings import Settings

HEADLINE = (
    "rows",
    "frauds",
    "roc_auc",
    "average_precision",
    "card_precision_at_k",
    "money_saved_share",
    "precision",
    "recall",
    "reviews_per_day",
    "calibration_error",
)
"""What a person looks at first."""
OF_SEGMENTS = ("roc_auc", "average_precision", "precision", "recall")
SHOWN_INPUTS = 25
MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `make mlflow` answers."""


def figures(evaluation: Evaluation, names: Iterable[str] = HEADLINE) -> dict[str, float]:
    """What the Dagster UI plots over time, as far as it is defined."""
    metrics = evaluation.metrics
    return {name: rounded(metrics[name]) for name in names if name in metrics}


def all_figures(evaluation: Evaluation) -> dict[str, Any]:
    """Every figure with its interval, and the tables by fraud type and by segment."""
    rows = []
    for name, value in evaluation.metrics.items():
        interval = evaluation.intervals.get(name)
        rows.append((name, _figure(value), f"{_figure(interval.low)} to {_figure(interval.high)}" if interval else ""))
    return {
        "figures": markdown_table(["figure", "value", "95 % interval"], rows),
        "by_fraud_type": markdown_table(
            ["fraud type", "frauds", "found", "recall", "amount found", "amount missed"],
            [
                (
                    name,
                    by.frauds,
                    by.found,
                    _with_interval(by.recall, by.intervals.get("recall")),
                    _money(by.amount_found),
                    _money(by.amount_missed),
                )
                for name, by in sorted(evaluation.by_fraud_type.items())
            ],
        ),
        "by_segment": markdown_table(
            ["segment", "rows", "frauds", "ROC AUC", "average precision", "precision", "recall", "saved"],
            [
                (
                    name,
                    f"{by.rows:,}",
                    by.frauds,
                    *(_with_interval(getattr(by, figure), by.intervals.get(figure)) for figure in OF_SEGMENTS),
                    _money(by.saved),
                )
                for name, by in evaluation.by_segment.items()
            ],
        ),
    }


def pictures(rows: pl.DataFrame, probabilities: Scores, evaluation: Evaluation, costs: CostMatrix) -> dict[str, bytes]:
    """PNG bytes by name, of a period's rows with `is_fraud` and `amount_cents`."""
    labels, thresholds = rows["is_fraud"].to_numpy(), evaluation.thresholds
    return {
        "precision_recall": precision_recall_png(labels, probabilities, thresholds),
        "roc": roc_png(labels, probabilities, thresholds),
        "score_distribution": score_distribution_png(labels, probabilities, thresholds),
        "calibration": calibration_png(evaluation.calibration),
        "money": money_png(labels, probabilities, rows["amount_cents"].to_numpy(), thresholds, costs),
    }


def shown(images: dict[str, bytes]) -> dict[str, dg.MarkdownMetadataValue]:
    return {name: picture(name, png) for name, png in images.items()}


def importance_table(names: Iterable[str], importance: Scores, lost: Scores) -> dg.MetadataValue:
    """The inputs that matter most: their share within the model, and what is lost without them."""
    rows = sorted(zip(names, importance, lost, strict=True), key=lambda row: (-row[2], -row[1]))
    return markdown_table(
        ["input", "importance in the model", "average precision lost when shuffled"],
        [(name, f"{share:.3f}", f"{loss:.4f}") for name, share, loss in rows[:SHOWN_INPUTS]],
    )


def mlflow_run_page(settings: Settings, experiment_id: str, run_id: str) -> dg.UrlMetadataValue:
    return dg.MetadataValue.url(f"{_mlflow_server(settings)}/#/experiments/{experiment_id}/runs/{run_id}")


def mlflow_version_page(settings: Settings, version: registry.RegisteredVersion) -> dg.UrlMetadataValue:
    return dg.MetadataValue.url(f"{_mlflow_server(settings)}/#/models/{version.name}/versions/{version.version}")


def _mlflow_server(settings: Settings) -> str:
    server = settings.mlflow_tracking_uri or MLFLOW_UI
    return (server if server.startswith("http") else MLFLOW_UI).rstrip("/")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{rounded(value)}"


def _with_interval(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval.low:.2f}–{interval.high:.2f})"


def _money(cents: int) -> str:
    """Minor units as major ones; the currency is the source's."""
    return f"{cents / 100:,.2f}"
