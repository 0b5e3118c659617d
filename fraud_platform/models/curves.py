"""Three pictures of an evaluation, as PNG bytes: precision–recall, ROC, and how scores are distributed."""

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from fraud_platform.models.algorithms import Labels, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f5fa8", "#d1661c", "#8a8a8a"
SMALLEST_SCORE = 1e-6
MAX_POINTS = 2_000
"""Points drawn of a curve: more than the picture has columns, and few enough to render at once."""


def precision_recall_png(labels: Labels, scores: Scores, threshold: float) -> bytes:
    """Precision over recall, with the threshold marked and the fraud rate as the line of no skill."""
    figure, axes = _figure("Precision and recall", "Recall (frauds found)", "Precision (alerts that are fraud)")
    if _one_class(axes, labels):
        return _png(figure)
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    points = _thin(len(recall))
    average = average_precision_score(labels, scores)
    label = f"average precision {average:.3f}"
    axes.step(recall[points], precision[points], where="post", color=BLUE, linewidth=1.8, label=label)
    axes.axhline(labels.mean(), color=GREY, linestyle="--", linewidth=1, label=f"no skill {labels.mean():.4f}")
    alerts = scores >= threshold
    if alerts.any():
        at_threshold = (labels[alerts].sum() / labels.sum(), labels[alerts].mean())
        axes.plot(*at_threshold, "o", color=ORANGE, markersize=8, label=f"threshold {threshold:.3f}", zorder=3)
    return _unit_square(figure, axes)


def roc_png(labels: Labels, scores: Scores, threshold: float) -> bytes:
    """True positive rate over false positive rate, with the threshold marked."""
    figure, axes = _figure(
        "ROC", "False positive rate (legitimate that are alerted)", "True positive rate (frauds found)"
    )
    if _one_class(axes, labels):
        return _png(figure)
    from sklearn.metrics import roc_auc_score, roc_curve

    false_positives, true_positives, _ = roc_curve(labels, scores)
    points = _thin(len(false_positives))
    area = roc_auc_score(labels, scores)
    axes.plot(false_positives[points], true_positives[points], color=BLUE, linewidth=1.8, label=f"area {area:.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="no skill 0.500")
    alerts = scores >= threshold
    at_threshold = ((alerts & ~labels).sum() / (~labels).sum(), (alerts & labels).sum() / labels.sum())
    axes.plot(*at_threshold, "o", color=ORANGE, markersize=8, label=f"threshold {threshold:.3f}", zorder=3)
    return _unit_square(figure, axes)


def score_distribution_png(labels: Labels, scores: Scores, threshold: float) -> bytes:
    """The scores of each class as shares of that class, on a log scale where fraud is rare and scores are small."""
    figure, axes = _figure("Scores by class", "Score (fraud probability)", "Share of the class (%)")
    lowest = max(float(scores.min(initial=1.0)), SMALLEST_SCORE)
    bins = np.logspace(min(np.floor(np.log10(lowest)), -1), 0, 49).tolist()
    for name, chosen, color in (("legitimate", ~labels, BLUE), ("fraud", labels, ORANGE)):
        if chosen.any():
            values = np.clip(scores[chosen], bins[0], 1.0)
            weights = np.full(len(values), 100 / len(values))
            label = f"{name} ({len(values):,})"
            axes.hist(values, bins, weights=weights, histtype="stepfilled", color=color, alpha=0.25)
            axes.hist(values, bins, weights=weights, histtype="step", color=color, linewidth=1.6, label=label)
    drawn_at = max(threshold, bins[0])
    axes.axvline(drawn_at, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.3f}")
    axes.set_xscale("log")
    axes.set_xlim(bins[0], 1)
    return _png(figure)


def _figure(title: str, x_label: str, y_label: str) -> "tuple[Figure, Axes]":
    """A figure of its own, outside pyplot: pyplot's global state leaks figures between runs and threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _one_class(axes: "Axes", labels: Labels) -> bool:
    """Say so in the picture where a curve is undefined."""
    if labels.any() and not labels.all():
        return False
    axes.text(0.5, 0.5, "undefined: the period has one class", ha="center", va="center", transform=axes.transAxes)
    return True


def _thin(points: int) -> np.ndarray:
    """Indices of at most MAX_POINTS of the points, the ends included."""
    return np.unique(np.linspace(0, points - 1, min(points, MAX_POINTS)).astype(np.int64))


def _unit_square(figure: "Figure", axes: "Axes") -> bytes:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    return _png(figure)


def _png(figure: "Figure") -> bytes:
    """With the legend below the axes, where it covers no part of a curve."""
    if figure.axes[0].get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
