"""The geometry of the charts: numbers that templates put into attributes of SVG, never into styles.

Charts are drawn in a box that the page stretches, so their text stands beside them in HTML, and their lines and dots
keep their width by `vector-effect: non-scaling-stroke`.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from bentos.fraud_scoring.cases import Row
from bentos.fraud_scoring.model_view import Metric
from fraud_platform.decisions.journal import Reason

WIDTH, HEIGHT = 1000.0, 200.0
FLOOR = 1e-3
"""Where the logarithmic axes of the calibration curve begin; less is drawn there."""
CURVE = 300.0
Z = 1.96
"""Standard normal quantile of a 95 % interval."""


class Bar(msgspec.Struct, frozen=True):
    """A bar from the zero line to either side, in percent of the width."""

    x: float
    width: float
    raises: bool
    reason: Reason


class Dot(msgspec.Struct, frozen=True):
    """A payment on the timeline; `kind` is a class of the style sheet."""

    x: float
    y: float
    kind: str
    current: bool
    row: Row


class Timeline(msgspec.Struct, frozen=True):
    """A customer's payments: time from left to right, the square root of the amount upwards."""

    dots: tuple[Dot, ...]
    first_us: int
    last_us: int
    highest: int


class CurvePoint(msgspec.Struct, frozen=True):
    """A bin of the calibration curve with the 95 % interval of its observed rate, in the chart's units."""

    x: float
    y: float
    low: float
    high: float
    predicted: float
    observed: float
    rows: int


class Whisker(msgspec.Struct, frozen=True):
    """A metric's value and interval, in percent of the width."""

    value: float
    low: float
    high: float


def reason_bars(reasons: Sequence[Reason]) -> tuple[Bar, ...]:
    """Bars on both sides of a common zero line; where all push one way, the line is at the edge."""
    right = max((reason.contribution for reason in reasons if reason.contribution > 0), default=0.0)
    left = max((-reason.contribution for reason in reasons if reason.contribution < 0), default=0.0)
    span = right + left
    if span <= 0 or not math.isfinite(span):
        return tuple(Bar(0.0, 0.0, True, reason) for reason in reasons)
    zero = 100 * left / span
    bars: list[Bar] = []
    for reason in reasons:
        width = 100 * abs(reason.contribution) / span
        raises = reason.contribution >= 0
        bars.append(Bar(_short(zero if raises else zero - width), _short(width), raises, reason))
    return tuple(bars)


def timeline(rows: Sequence[Row], current: str) -> Timeline | None:
    """Args:
    rows: the decisions of one customer.
    current: the transaction that the page is about.
    """
    if not rows:
        return None
    times = [row.decided.event["event_us"] for row in rows]
    amounts = [row.decided.event["amount_cents"] for row in rows]
    first, last, highest = min(times), max(times), max(amounts)
    dots: list[Dot] = []
    for row, at, amount in zip(rows, times, amounts, strict=True):
        share = (at - first) / (last - first) if last > first else 0.5
        height = math.sqrt(amount / highest) if highest > 0 else 0.0
        kind = row.decided.decision.action
        if row.label is not None:
            kind = "fraud" if row.label.is_fraud else "legitimate"
        is_current = row.decided.decision.transaction_id == current
        dots.append(
            Dot(_short(15 + share * (WIDTH - 30)), _short(HEIGHT - 12 - height * (HEIGHT - 36)), kind, is_current, row)
        )
    dots.sort(key=lambda dot: dot.current)  # the current one is drawn over the others
    return Timeline(tuple(dots), first, last, highest)


def calibration_curve(calibration: dict[str, Any] | None) -> tuple[CurvePoint, ...]:
    """The points of the card's reliability curve, on logarithmic axes from 0.1 % to 100 %."""
    found: list[CurvePoint] = []
    for point in (calibration or {}).get("curve", ()):
        predicted, observed, rows = point["mean_predicted"], point["observed_rate"], point["rows"]
        low, high = wilson(observed, rows)
        found.append(
            CurvePoint(
                _on_axis(predicted),
                CURVE - _on_axis(observed),
                CURVE - _on_axis(low),
                CURVE - _on_axis(high),
                predicted,
                observed,
                rows,
            )
        )
    return tuple(found)


def curve_line(points: Sequence[CurvePoint]) -> str:
    """The points joined, as a path."""
    return " ".join(f"{'L' if i else 'M'}{point.x} {point.y}" for i, point in enumerate(points))


def axis_ticks() -> tuple[tuple[float, str], ...]:
    """Where the decades lie on an axis of the calibration curve, and what they are called."""
    return tuple(
        (_on_axis(value), label) for value, label in ((0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %"))
    )


def wilson(rate: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a rate observed on some rows: Wilson, JASA 22 (1927)."""
    if rows <= 0:
        return 0.0, 1.0
    denominator = 1 + Z * Z / rows
    centre = (rate + Z * Z / (2 * rows)) / denominator
    half = Z * math.sqrt(rate * (1 - rate) / rows + Z * Z / (4 * rows * rows)) / denominator
    return max(centre - half, 0.0), min(centre + half, 1.0)


def whisker(metric: Metric) -> Whisker | None:
    """A share with its interval on a line from 0 to 1; None for what is no share or has no interval."""
    if metric.kind != "share" or metric.low is None or metric.high is None:
        return None
    value, low, high = (_short(100 * min(max(of, 0.0), 1.0)) for of in (metric.value, metric.low, metric.high))
    return Whisker(value, low, high)


def stacked(counts: Sequence[tuple[str, int]]) -> tuple[tuple[str, float, float], ...]:
    """(name, x, width) of the parts of one bar, in percent."""
    total = sum(count for _, count in counts)
    parts: list[tuple[str, float, float]] = []
    start = 0.0
    for name, count in counts:
        width = 100 * count / total if total else 0.0
        parts.append((name, _short(start), _short(width)))
        start += width
    return tuple(parts)


def share_width(share: float | None) -> float:
    """A share as percent of a bar, within it."""
    return _short(100 * min(max(share or 0.0, 0.0), 1.0))


def _on_axis(share: float) -> float:
    decades = -math.log10(FLOOR)
    return _short(CURVE * (1 + math.log10(min(max(share, FLOOR), 1.0)) / decades))


def _short(value: float) -> float:
    return round(value, 2)
