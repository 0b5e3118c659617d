"""Pictures of an evaluation, as PNG bytes: ranking, scores, calibration, money, and several models in one."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from fraud_platform.models.algorithms import Labels, Scores
from fraud_platform.models.costs import Cents, CostMatrix, Thresholds, major_units, money, money_by_alerts
from fraud_platform.models.reliability import Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, RED, GREY = "#1f5fa8", "#d1661c", "#a61e2d", "#8a8a8a"
SMALLEST_SCORE = 1e-6
MAX_POINTS = 2_000
"""Points drawn of a curve: more than the picture has columns, and few enough to render at once."""


def precision_recall_png(labels: Labels, scores: Scores, thresholds: Thresholds) -> bytes:
    """Precision over recall, with the thresholds marked and the fraud rate as the line of no skill."""
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
    for name, threshold, color in _marks(thresholds):
        alerts = scores >= threshold
        if alerts.any():
            at_threshold = (labels[alerts].sum() / labels.sum(), labels[alerts].mean())
            axes.plot(*at_threshold, "o", color=color, markersize=8, label=name, zorder=3)
    return _unit_square(figure, axes)


def roc_png(labels: Labels, scores: Scores, thresholds: Thresholds) -> bytes:
    """True positive rate over false positive rate, with the thresholds marked."""
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
    for name, threshold, color in _marks(thresholds):
        alerts = scores >= threshold
        at_threshold = ((alerts & ~labels).sum() / (~labels).sum(), (alerts & labels).sum() / labels.sum())
        axes.plot(*at_threshold, "o", color=color, markersize=8, label=name, zorder=3)
    return _unit_square(figure, axes)


def score_distribution_png(labels: Labels, scores: Scores, thresholds: Thresholds) -> bytes:
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
    for name, threshold, color in _marks(thresholds):
        axes.axvline(max(threshold, bins[0]), color=color, linestyle="--", linewidth=1, label=name)
    axes.set_xscale("log")
    axes.set_xlim(bins[0], 1)
    return _png(figure)


def calibration_png(found: Calibration | None) -> bytes:
    """What came over what was predicted, bin by bin; on the diagonal probabilities mean what they say."""
    figure, axes = _figure("Calibration", "Predicted probability (mean of the bin)", "Observed share of frauds")
    if found is None:
        axes.text(0.5, 0.5, "undefined: there are no rows", ha="center", va="center", transform=axes.transAxes)
        return _png(figure)
    predicted = [max(point.mean_predicted, SMALLEST_SCORE) for point in found.curve]
    observed = [max(point.observed_rate, SMALLEST_SCORE) for point in found.curve]
    lowest = 10 ** np.floor(np.log10(min(*predicted, *observed)))
    label = f"error {found.error:.5f}, by chance {found.noise:.5f}"
    axes.plot([lowest, 1], [lowest, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    axes.plot(predicted, observed, "o-", color=BLUE, linewidth=1.8, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    return _png(figure)


def money_png(labels: Labels, scores: Scores, amounts: Cents, thresholds: Thresholds, costs: CostMatrix) -> bytes:
    """What is saved over the payments that are alerted, where all of them are reviewed, and as it was decided."""
    figure, axes = _figure("Money saved", "Payments alerted (the most suspicious first)", "Saved (major units)")
    alerts, saved = money_by_alerts(labels, amounts, scores, costs)
    points = _thin(len(alerts))
    # Beyond three times the best number of alerts the curve only falls, and would squeeze what matters.
    shown = alerts[points] <= max(3 * int(alerts[np.argmax(saved)]), 3 * int(thresholds.alerts(scores).sum()), 100)
    label = "all alerts reviewed"
    axes.plot(alerts[points][shown], saved[points][shown] / 100, color=BLUE, linewidth=1.8, label=label)
    axes.axhline(0, color=GREY, linestyle="--", linewidth=1, label="approving everything")
    decided = money(labels, amounts, scores, thresholds, costs)
    label = f"decided: {major_units(decided.saved)}"
    axes.plot(decided.reviews + decided.blocks, decided.saved / 100, "o", color=ORANGE, markersize=8, label=label)
    return _png(figure)


def comparison_png(labels: Labels, scores: Mapping[str, Scores]) -> bytes:
    """Precision over recall of several models on the same rows, the best average precision first."""
    figure, axes = _figure("Models compared", "Recall (frauds found)", "Precision (alerts that are fraud)")
    if _one_class(axes, labels):
        return _png(figure)
    from sklearn.metrics import average_precision_score, precision_recall_curve

    averages = {name: float(average_precision_score(labels, of)) for name, of in scores.items()}
    for name, average in sorted(averages.items(), key=lambda item: (-item[1], item[0])):
        precision, recall, _ = precision_recall_curve(labels, scores[name], drop_intermediate=True)
        points = _thin(len(recall))
        axes.step(recall[points], precision[points], where="post", linewidth=1.6, label=f"{name} {average:.3f}")
    axes.axhline(labels.mean(), color=GREY, linestyle="--", linewidth=1, label=f"no skill {labels.mean():.4f}")
    return _unit_square(figure, axes)


def _marks(thresholds: Thresholds) -> Iterator[tuple[str, float, str]]:
    """Name, probability and colour of each threshold that there is."""
    yield f"review from {thresholds.review:.3f}", thresholds.review, ORANGE
    if thresholds.block is not None:
        yield f"block from {thresholds.block:.3f}", thresholds.block, RED


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
