"""Drift of the model's inputs and of its score against the training period: the decision, and a page for a person.

The decision is our own PSI over all rows. The page is Evidently's (imported here only, and only when
called), drawn from a seeded sample. The two can differ near the threshold and where values are
missing: Evidently cuts the joint range of both samples into bins of equal width and leaves missing
and infinite values out; ours cuts the reference into bins of equal counts and counts missing values
as a bin of their own. The page therefore begins with the decision.
"""

import html as markup
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fraud_platform.errors import CatalogError
from fraud_platform.warehouse import write_files

BINS = 10
LEAST_SHARE = 1e-4
"""An empty bin counts as this share, because its logarithm does not exist; Evidently's figure too
(evidently/legacy/calculations/stattests/utils.py, get_binned_data)."""
LEAST_ROWS = 100
"""With fewer rows on a side nothing is decided."""
LEAST_DRAWN = 2
"""Finite values on each side that Evidently needs to draw a column."""
NOISE_QUANTILE = 3.090
"""Standard normal quantile of 0.999: how sure it has to be that a PSI is not the noise of small samples."""


@dataclass(frozen=True)
class DriftSummary:
    """What `drift_report` found.

    Attributes:
        share_drifted: drifted columns over all columns, the score not counted; 0 where nothing is decided.
        drifted: PSI of each drifted column.
        drifted_sorted: the drifted columns by falling PSI · importance (PSI alone without importances).
        psi: PSI of every column.
        importance_drifted: share of the importance that lies on drifted columns; None without importances.
        score_psi: PSI of the score; None without a score column.
        score_drifted: whether that is beyond the threshold.
        threshold: PSI above which a column has drifted: as asked for, or higher where the samples are small.
        decided: False where a side has fewer than 100 rows; nothing counts as drifted then.
        reference_rows, current_rows: rows compared by the PSI.
        sampled_rows: rows of the reference and of the current side that the page is drawn from.
        not_on_page: columns that Evidently cannot draw, because a side of the sample has fewer than two finite values.
    """

    share_drifted: float
    drifted: dict[str, float]
    drifted_sorted: tuple[str, ...]
    psi: dict[str, float]
    importance_drifted: float | None
    score_psi: float | None
    score_drifted: bool
    threshold: float
    decided: bool
    reference_rows: int
    current_rows: int
    sampled_rows: tuple[int, int]
    columns: tuple[str, ...]
    not_on_page: tuple[str, ...]
    html: Path


def psi(reference: ArrayLike, current: ArrayLike, bins: int = BINS) -> float:
    """Population stability index: the sum over bins of (c − r) · ln(c / r), where r and c are shares of rows.

    Bins are quantiles of the reference; a reference with no more than `bins` distinct values has a
    bin for each. Values below or above all that the reference holds many times fall into bins of
    their own, and so do missing values (NaN). Source of the formula: Siddiqi, Credit Risk
    Scorecards (2006), chapter "Scorecard monitoring".

    Args:
        reference, current: numbers of any length; one without rows compares as empty in every bin.

    Returns:
        0 for equal distributions; by the usual reading below 0.1 is stable and above 0.25 a large shift.
    """
    old, new = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    edges = _edges(old, bins)
    r, c = _shares(old, edges), _shares(new, edges)
    occupied = (r > 0) | (c > 0)
    r, c = np.maximum(r[occupied], LEAST_SHARE), np.maximum(c[occupied], LEAST_SHARE)
    return float(np.sum((c - r) * np.log(c / r)))


def noise_bound(reference_rows: int, current_rows: int, bins: int = BINS) -> float:
    """The PSI that two samples of one distribution stay below 999 times in 1,000.

    Without drift PSI is about (1/n + 1/m) · χ² with one degree of freedom less than there are bins
    (Yurdakul and Naranjo, Statistical properties of the population stability index, 2020); the
    quantile of χ² by Wilson and Hilferty (1931). With missing values there are `bins` + 1 bins.
    """
    correction = 2 / (9 * bins)
    chi_squared = bins * (1 - correction + NOISE_QUANTILE * correction**0.5) ** 3
    return chi_squared * (1 / max(reference_rows, 1) + 1 / max(current_rows, 1))


def drift_report(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    columns: list[str],
    score_column: str | None,
    html: Path,
    sample_rows: int,
    seed: int,
    threshold: float = 0.1,
    importances: Mapping[str, float] | None = None,
) -> DriftSummary:
    """Compare `current` with `reference` and write the page.

    Args:
        columns: numeric columns of both frames; null and NaN are both missing.
        score_column: a further column that is judged apart.
        html: where the page is written, all of it or nothing.
        sample_rows: rows at most that Evidently is given from each side.
        threshold: PSI above which a column has drifted.
        importances: the model's, by column; missing ones are 0.

    Raises:
        CatalogError: if a column is missing on a side or is not numeric.
    """
    judged = [*columns, *([score_column] if score_column is not None and score_column not in columns else [])]
    _require_numeric(reference, judged, "reference")
    _require_numeric(current, judged, "current")
    found = {name: psi(_numbers(reference, name), _numbers(current, name)) for name in judged}
    decided = min(reference.height, current.height) >= LEAST_ROWS
    limit = max(threshold, noise_bound(reference.height, current.height))
    drifted = {name: found[name] for name in columns if decided and found[name] > limit}
    weights = importances or dict.fromkeys(columns, 1.0)
    samples = _sample(reference, judged, sample_rows, seed), _sample(current, judged, sample_rows, seed)
    drawable = [name for name in judged if all(sample[name].count() >= LEAST_DRAWN for sample in samples)]
    summary = DriftSummary(
        share_drifted=len(drifted) / len(columns) if columns else 0.0,
        drifted=drifted,
        drifted_sorted=tuple(
            sorted(drifted, key=lambda name: (-drifted[name] * weights.get(name, 0.0), -drifted[name], name))
        ),
        psi={name: found[name] for name in columns},
        importance_drifted=_importance_share(importances, columns, drifted) if importances is not None else None,
        score_psi=found[score_column] if score_column is not None else None,
        score_drifted=decided and score_column is not None and found[score_column] > limit,
        threshold=limit,
        decided=decided,
        reference_rows=reference.height,
        current_rows=current.height,
        sampled_rows=(samples[0].height, samples[1].height),
        columns=tuple(columns),
        not_on_page=tuple(name for name in judged if name not in drawable),
        html=html,
    )
    page = _insert(_render(*samples, drawable, threshold), _decision(summary))
    write_files([(html, lambda path: _write(path, page))])
    return summary


def _edges(reference: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Upper edges, inclusive, of all bins but the last; none where the reference has no finite value."""
    finite = reference[np.isfinite(reference)]
    if not finite.size:
        return finite
    distinct = np.unique(finite)
    edges = distinct if distinct.size <= bins else np.unique(np.quantile(finite, np.arange(1, bins) / bins))
    if edges[0] == distinct[0]:  # else what lies below a value that the reference holds many times would pass for it
        edges = np.concatenate([[np.nextafter(edges[0], -np.inf)], edges])
    return edges


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of values in each bin, and last that of the missing ones."""
    missing = np.isnan(values)
    counts = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=edges.size + 1)
    return np.append(counts, missing.sum()) / max(values.size, 1)


def _require_numeric(frame: pl.DataFrame, columns: list[str], side: str) -> None:
    for name in columns:
        if name not in frame.columns:
            raise CatalogError(f"The {side} data has no column {name}: build it with the model's own catalog.")
        if not (frame.schema[name].is_numeric() or frame.schema[name] == pl.Boolean):
            raise CatalogError(
                f"Column {name} of the {side} data is {frame.schema[name]}: drift compares numbers. Leave it out."
            )


def _numbers(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _importance_share(importances: Mapping[str, float], columns: list[str], drifted: Mapping[str, float]) -> float:
    total = sum(importances.get(name, 0.0) for name in columns)
    return float(sum(importances.get(name, 0.0) for name in drifted) / total) if total else 0.0


def _sample(frame: pl.DataFrame, columns: list[str], rows: int, seed: int) -> pl.DataFrame:
    """A seeded sample for Evidently, which cannot bin infinite values: they become null."""
    sample = frame.select(pl.col(columns).cast(pl.Float64))
    sample = sample.sample(n=min(rows, frame.height), seed=seed) if columns else sample
    return sample.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in columns)


def _render(reference: pl.DataFrame, current: pl.DataFrame, columns: list[str], threshold: float) -> str:
    """Evidently's page, self-contained; an empty one where no column can be drawn."""
    if not columns:
        return '<!DOCTYPE html><html><head><meta charset="utf-8"></head><body></body></html>'
    with warnings.catch_warnings():  # Evidently's own imports use what NumPy and Litestar have deprecated
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"evidently|litestar")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=columns)
    old, new = (
        Dataset.from_pandas(side.select(columns).to_pandas(), data_definition=definition)
        for side in (reference, current)
    )
    report = Report([DataDriftPreset(columns=columns, method="psi", threshold=threshold, include_tests=False)])
    with np.errstate(divide="ignore", invalid="ignore"):  # Evidently correlates the columns, also the constant ones
        return report.run(new, old).get_html_str(as_iframe=False)


def _decision(summary: DriftSummary) -> str:
    """The decision as a piece of HTML, for the head of the page."""
    if summary.decided:
        count, all_ = len(summary.drifted), len(summary.columns)
        verdict = f"{count} of {all_} columns drifted ({summary.share_drifted:.1%}): PSI above {summary.threshold:.3g}"
    else:
        verdict = f"Nothing is decided: a side has fewer than {LEAST_ROWS} rows"
    score = "" if summary.score_psi is None else f" PSI of the score: {summary.score_psi:.3f}."
    absent = (
        f" Not drawn, for want of values on a side: {', '.join(summary.not_on_page)}." if summary.not_on_page else ""
    )
    rows = "".join(
        f"<tr><td>{markup.escape(name)}</td><td>{summary.drifted[name]:.3f}</td></tr>"
        for name in summary.drifted_sorted
    )
    table = f"<table><tr><th>drifted column</th><th>PSI</th></tr>{rows}</table>" if rows else ""
    return (
        '<section style="font-family: sans-serif; margin: 1em 2em"><h1>Drift</h1>'
        f"<p>{markup.escape(verdict + '.' + score + absent)}</p>{table}"
        f"<p>The decision compares {summary.reference_rows:,} rows of the reference with {summary.current_rows:,} "
        f"present rows. Evidently's charts show samples of {summary.sampled_rows[0]:,} and {summary.sampled_rows[1]:,} "
        "of them; its PSI has bins of equal width and leaves missing values out, so that it can differ from the "
        "decision.</p></section>"
    )


def _insert(page: str, section: str) -> str:
    head, body, rest = page.partition("<body>")
    return head + body + section + rest


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
