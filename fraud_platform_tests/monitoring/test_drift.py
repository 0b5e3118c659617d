"""PSI against a naive reference, and the report on clear and on degenerate frames."""

import math
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError
from fraud_platform.monitoring import drift

ROWS = 2_000


def naive_psi(reference: list[float], current: list[float], bins: int) -> float:
    """Bin by bin in plain Python."""
    finite = sorted(value for value in reference if math.isfinite(value))
    distinct = sorted(set(finite))
    edges: list[float] = []
    if finite:
        quantiles = {float(np.quantile(finite, k / bins)) for k in range(1, bins)}
        edges = distinct if len(distinct) <= bins else sorted(quantiles)
        if edges[0] == distinct[0]:
            edges = [math.nextafter(edges[0], -math.inf), *edges]

    def bin_of(value: float) -> int:
        return -1 if math.isnan(value) else sum(value > edge for edge in edges)

    total = 0.0
    for number in range(-1, len(edges) + 1):
        r = sum(bin_of(value) == number for value in reference) / max(len(reference), 1)
        c = sum(bin_of(value) == number for value in current) / max(len(current), 1)
        if r or c:
            r, c = max(r, drift.LEAST_SHARE), max(c, drift.LEAST_SHARE)
            total += (c - r) * math.log(c / r)
    return total


numbers = st.one_of(st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf, -math.inf]), st.floats(-1e6, 1e6))


@given(st.lists(numbers, max_size=60), st.lists(numbers, max_size=60), st.integers(2, 12))
def test_psi_is_the_naive_sum(reference: list[float], current: list[float], bins: int) -> None:
    assert drift.psi(reference, current, bins) == pytest.approx(naive_psi(reference, current, bins), abs=1e-12)


@given(st.lists(numbers, max_size=60), st.lists(numbers, max_size=60))
def test_psi_is_never_negative_and_zero_against_itself(reference: list[float], current: list[float]) -> None:
    assert drift.psi(reference, current) >= 0
    assert drift.psi(reference, reference) == 0


def test_psi_of_two_known_bins_is_the_formula() -> None:
    assert drift.psi([0] * 5 + [1] * 5, [0] * 8 + [1] * 2) == pytest.approx(0.3 * math.log(1.6) - 0.3 * math.log(0.4))


def test_psi_sees_new_missing_values() -> None:
    values = np.arange(1_000.0)
    assert drift.psi(values, np.where(values % 5 == 0, np.nan, values)) > 0.5


@pytest.mark.parametrize("moved_to", [4.0, 6.0, math.nan, math.inf, -math.inf])
def test_psi_sees_a_constant_that_moves_either_way(moved_to: float) -> None:
    assert drift.psi([5.0] * 200, [5.0] * 200) == 0
    assert drift.psi([5.0] * 200, [moved_to] * 200) > 1


def test_psi_sees_values_below_a_reference_that_is_mostly_its_minimum() -> None:
    reference = np.concatenate([np.zeros(900), np.arange(100.0)])
    assert drift.psi(reference, np.where(reference == 0, -1.0, reference)) > 1


def test_psi_of_all_missing_columns_is_zero_between_them_and_large_against_values() -> None:
    missing = [math.nan] * 200
    assert drift.psi(missing, missing) == 0
    assert drift.psi(missing, [1.0] * 200) > 1
    assert drift.psi([1.0] * 200, missing) > 1


def test_noise_stays_below_its_bound() -> None:
    rng = np.random.default_rng(7)
    samples = [(rng.normal(size=400), rng.normal(size=200)) for _ in range(500)]
    above = sum(drift.psi(*pair) > drift.noise_bound(400, 200) for pair in samples)
    assert above <= 3


def frame(seed: int, rows: int = ROWS, **replaced: pl.Expr) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(size=rows).astype(np.float32) for name in ("amount", "velocity", "recency")}
    return pl.DataFrame({**columns, "score": rng.random(rows)}).with_columns(**replaced)


COLUMNS = ["amount", "velocity", "recency"]


def report(reference: pl.DataFrame, current: pl.DataFrame, folder: Path, **options: object) -> drift.DriftSummary:
    arguments: dict = {"columns": COLUMNS, "score_column": "score", "sample_rows": 1_000, "seed": 1, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return drift.drift_report(reference, current, html=folder / "drift.html", **arguments)


def evidently_drifts(reference: pl.DataFrame, current: pl.DataFrame) -> dict[str, bool]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=COLUMNS)
    sides = [
        Dataset.from_pandas(side.select(COLUMNS).to_pandas(), data_definition=definition)
        for side in (current, reference)
    ]
    found = Report([DataDriftPreset(columns=COLUMNS, method="psi", threshold=0.1)]).run(*sides).dict()["metrics"]
    return {item["config"]["column"]: item["value"] > 0.1 for item in found if "column" in item["config"]}


@pytest.mark.slow
def test_agrees_with_evidently_that_nothing_drifted(tmp_path: Path) -> None:
    summary = report(frame(1), frame(2), tmp_path)
    assert (summary.share_drifted, summary.drifted, summary.score_drifted) == (0.0, {}, False)
    assert not any(evidently_drifts(frame(1), frame(2)).values())


@pytest.mark.slow
def test_agrees_with_evidently_that_a_shifted_mean_drifted(tmp_path: Path) -> None:
    current = frame(2, velocity=pl.col("velocity") + 1)
    summary = report(frame(1), current, tmp_path)
    assert list(summary.drifted) == ["velocity"]
    assert summary.share_drifted == pytest.approx(1 / 3)
    assert evidently_drifts(frame(1), current) == {"amount": False, "velocity": True, "recency": False}


@pytest.mark.slow
def test_score_is_judged_apart_from_the_columns(tmp_path: Path) -> None:
    summary = report(frame(1), frame(2, score=pl.col("score") * 0.5), tmp_path)
    assert summary.score_drifted
    assert summary.score_psi is not None
    assert summary.score_psi > 0.25
    assert summary.share_drifted == 0


@pytest.mark.slow
def test_page_is_whole_and_begins_with_the_decision(tmp_path: Path) -> None:
    summary = report(frame(1), frame(2, amount=pl.col("amount") + 2), tmp_path)
    page = summary.html.read_text()
    assert page.index("1 of 3 columns drifted") < page.index("root_metric")
    assert page.rstrip().endswith("</html>")
    assert [path.name for path in tmp_path.iterdir()] == ["drift.html"]


@pytest.mark.slow
def test_sample_is_stated_and_the_decision_uses_every_row(tmp_path: Path) -> None:
    summary = report(frame(1), frame(2), tmp_path, sample_rows=300)
    assert summary.sampled_rows == (300, 300)
    assert (summary.reference_rows, summary.current_rows) == (ROWS, ROWS)
    assert summary.psi == report(frame(1), frame(2), tmp_path, sample_rows=500).psi


@pytest.mark.slow
def test_order_of_the_drifted_follows_importance_where_there_is_one(tmp_path: Path) -> None:
    current = frame(2, amount=pl.col("amount") + 3, recency=pl.col("recency") + 1)
    assert report(frame(1), current, tmp_path).drifted_sorted == ("amount", "recency")
    weighed = report(frame(1), current, tmp_path, importances={"recency": 0.6, "velocity": 0.3, "amount": 0.1})
    assert weighed.drifted_sorted == ("recency", "amount")
    assert weighed.importance_drifted == pytest.approx(0.7)


@pytest.mark.slow
def test_constant_columns_are_drawn_without_warnings_and_have_not_drifted(tmp_path: Path) -> None:
    constant = {"amount": pl.lit(3.0), "velocity": pl.lit(0.0)}
    summary = report(frame(1, **constant), frame(2, **constant), tmp_path)
    assert summary.drifted == {}
    assert summary.psi["amount"] == 0


@pytest.mark.slow
def test_all_missing_column_is_judged_but_not_drawn(tmp_path: Path) -> None:
    summary = report(frame(1), frame(2, recency=pl.lit(None, pl.Float32)), tmp_path)
    assert list(summary.drifted) == ["recency"]
    assert summary.not_on_page == ("recency",)
    assert "Not drawn, for want of values on a side: recency." in summary.html.read_text()


@pytest.mark.slow
def test_column_missing_on_both_sides_has_not_drifted(tmp_path: Path) -> None:
    absent = {name: pl.lit(None, pl.Float32) for name in [*COLUMNS, "score"]}
    summary = report(frame(1, **absent), frame(2, **absent), tmp_path)
    assert summary.drifted == {}
    assert summary.html.exists()


@pytest.mark.slow
def test_new_missing_values_and_infinities_have_drifted(tmp_path: Path) -> None:
    current = frame(
        2,
        amount=pl.when(pl.col("amount") > 0.5).then(None).otherwise(pl.col("amount")),
        velocity=pl.when(pl.col("velocity") > -0.5).then(float("inf")).otherwise(pl.col("velocity")),
    )
    assert set(report(frame(1), current, tmp_path).drifted) == {"amount", "velocity"}


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 1, 99])
def test_tiny_current_frame_decides_nothing(rows: int, tmp_path: Path) -> None:
    summary = report(frame(1), frame(2, rows, amount=pl.col("amount") + 5), tmp_path)
    assert (summary.decided, summary.share_drifted, summary.drifted, summary.score_drifted) == (False, 0.0, {}, False)
    assert "Nothing is decided" in summary.html.read_text()


@pytest.mark.slow
def test_small_frame_needs_more_than_the_noise_of_its_size(tmp_path: Path) -> None:
    summary = report(frame(1), frame(2, 120), tmp_path)
    assert summary.threshold > 0.25
    assert summary.drifted == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("current", "message"),
    [
        (pl.DataFrame({"amount": [1.0], "score": [0.1]}), "current data has no column velocity"),
        (frame(2).with_columns(velocity=pl.lit("fast")), "Column velocity of the current data is String"),
    ],
)
def test_column_that_cannot_be_compared_is_named(current: pl.DataFrame, message: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=message):
        report(frame(1), current, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_results_are_native_python(tmp_path: Path) -> None:
    summary = report(frame(1), frame(2, amount=pl.col("amount") + 2), tmp_path, importances={"amount": 1.0})
    values = [
        summary.share_drifted,
        summary.score_psi,
        summary.threshold,
        summary.importance_drifted,
        *summary.psi.values(),
    ]
    assert {type(value) for value in values} == {float}
    assert type(summary.score_drifted) is bool
