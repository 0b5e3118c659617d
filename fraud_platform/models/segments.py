"""The figures of parts of a period: kinds of fraud, amounts, and payments that models find hard."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from fraud_platform.features.catalog import SEGMENTS
from fraud_platform.models.algorithms import Labels
from fraud_platform.models.bootstrap import Interval, Statistic, customer_totals, intervals
from fraud_platform.models.costs import Cents, DecidedRows
from fraud_platform.models.ranking import Codes, Counts, Ranking, defined

UNKNOWN_TYPE = "unknown"
AMOUNT_BANDS = (0, 1_000, 5_000, 20_000, 100_000)
"""Where each band of amounts begins, in minor units; the last one is open."""


@dataclass(frozen=True)
class TypeRecall:
    """Of the frauds of one type, how many are alerted; amounts and the money saved are in cents.

    `intervals` are of recall and saved, where customers were drawn.
    """

    frauds: int
    found: int
    recall: float
    amount_found: int
    amount_missed: int
    saved: int
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentFigures:
    """The figures of the rows of one segment. None where undefined; `saved` is in cents.

    `intervals` are of each figure that is defined, where customers were drawn.
    """

    rows: int
    frauds: int
    roc_auc: float | None
    average_precision: float | None
    precision: float | None
    recall: float | None
    saved: int
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Draws:
    """How customers are drawn for intervals: the customer of each row (n,), how often, and the seed."""

    codes: Codes
    customers: int
    resamples: int
    seed: int

    def intervals(self, rows: DecidedRows, mask: Labels) -> dict[str, Interval]:
        """Of the figures of the rows of a mask (n,)."""
        statistic = _statistic(rows, mask, self.codes, self.customers)
        return intervals(statistic, self.customers, self.resamples, self.seed)


def by_fraud_type(rows: DecidedRows, types: pl.Series, draws: Draws | None = None) -> dict[str, TypeRecall]:
    """Empty where no fraud has a known type; otherwise the untyped frauds count as `unknown`."""
    frauds = pl.DataFrame({"type": types, "found": rows.alerts, "amount": rows.amounts, "gain": rows.gains}).filter(
        pl.Series(rows.labels, dtype=pl.Boolean)
    )
    if frauds.get_column("type").null_count() == frauds.height:
        return {}
    counts = (
        frauds.group_by(pl.col("type").fill_null(UNKNOWN_TYPE))
        .agg(
            pl.len(),
            pl.col("found").sum(),
            pl.col("amount").filter("found").sum().alias("amount_found"),
            pl.col("amount").filter(~pl.col("found")).sum().alias("amount_missed"),
            pl.col("gain").sum(),
        )
        .sort("type")
    )
    known = types.fill_null(UNKNOWN_TYPE)
    found_types: dict[str, TypeRecall] = {}
    for name, number, found, *sums in counts.iter_rows():
        drawn = draws.intervals(rows, rows.labels & (known == name).to_numpy()) if draws else {}
        kept = {figure: interval for figure, interval in drawn.items() if figure in ("recall", "saved")}
        found_types[name] = TypeRecall(number, found, found / number, *sums, intervals=kept)
    return found_types


def by_segment(rows: DecidedRows, frame: pl.DataFrame | None, draws: Draws | None = None) -> dict[str, SegmentFigures]:
    """The figures of each segment that has rows; `frame` (n rows) holds the features that segments ask for."""
    chosen = [*_amount_bands(rows.amounts), *_feature_segments(frame)]
    return {name: segment_figures(rows, mask, draws) for name, mask in chosen if mask.any()}


def segment_figures(rows: DecidedRows, mask: Labels, draws: Draws | None = None) -> SegmentFigures:
    """The figures of the rows of a mask (n,)."""
    labels, alerts = rows.labels[mask], rows.alerts[mask]
    found, frauds, alerted = int((labels & alerts).sum()), int(labels.sum()), int(alerts.sum())
    ranking = Ranking(labels, rows.probabilities[mask], np.zeros(len(labels), np.int64))(np.ones(1, np.int64))
    return SegmentFigures(
        rows=len(labels),
        frauds=frauds,
        roc_auc=defined(ranking["roc_auc"]),
        average_precision=defined(ranking["average_precision"]),
        precision=found / alerted if alerted else None,
        recall=found / frauds if frauds else None,
        saved=int(rows.gains[mask].sum()),
        intervals=draws.intervals(rows, mask) if draws else {},
    )


def _statistic(rows: DecidedRows, mask: Labels, codes: Codes, customers: int) -> Statistic:
    """The figures of the rows of a mask, from how often each customer counts; NaN where undefined."""
    labels, alerts, of = rows.labels[mask], rows.alerts[mask], codes[mask]
    ranking = Ranking(labels, rows.probabilities[mask], of)
    parts = (labels, alerts, labels & alerts, rows.gains[mask])
    totals = np.stack([customer_totals(part, of, customers) for part in parts], axis=1)

    def statistic(counts: Counts) -> dict[str, float]:
        frauds, alerted, found, saved = (counts @ totals).tolist()
        ranked = ranking(counts)
        return {
            "roc_auc": ranked["roc_auc"],
            "average_precision": ranked["average_precision"],
            "precision": found / alerted if alerted else np.nan,
            "recall": found / frauds if frauds else np.nan,
            "saved": saved,
        }

    return statistic


def _amount_bands(amounts: Cents) -> Iterator[tuple[str, Labels]]:
    """Named in major units; what is below the first band belongs to it."""
    band = np.maximum(np.searchsorted(AMOUNT_BANDS, amounts, side="right") - 1, 0)
    for number, first in enumerate(AMOUNT_BANDS):
        last = number == len(AMOUNT_BANDS) - 1
        name = f"amount from {first // 100}" if last else f"amount {first // 100} to {AMOUNT_BANDS[number + 1] // 100}"
        yield name, band == number


def _feature_segments(frame: pl.DataFrame | None) -> Iterator[tuple[str, Labels]]:
    if frame is not None:
        for segment in SEGMENTS:
            if segment.feature in frame.columns:
                value = pl.col(segment.feature)
                belongs = ((value >= segment.at_least) & (value < segment.below)).fill_null(False)
                yield segment.name, frame.select(belongs).to_series().to_numpy()
