"""The geometry of the charts, against what a reader would measure."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.fraud_scoring.cases import Row
from bentos.fraud_scoring.console import charts
from bentos.fraud_scoring.model_view import Metric
from fraud_platform.decisions.journal import Labelled, Reason
from fraud_platform_tests.bentos.console.samples import NOW, decided

amounts = st.floats(-1, 1, allow_nan=False)


@given(st.lists(amounts, max_size=8))
def test_bars_are_in_proportion_and_within_the_box(contributions: list[float]) -> None:
    bars = charts.reason_bars([Reason("amount", "", None, of) for of in contributions])
    assert all(bar.x >= 0 and bar.x + bar.width <= 100.02 for bar in bars)
    longest = max((abs(of) for of in contributions), default=0.0)
    for bar, of in zip(bars, contributions, strict=True):
        if longest > 1e-6:
            widest = max(bar.width for bar in bars)
            assert bar.width == pytest.approx(widest * abs(of) / longest, abs=0.02)
        assert bar.raises == (of >= 0) or longest == 0


def test_bars_of_reasons_without_weight_are_empty() -> None:
    assert [bar.width for bar in charts.reason_bars([Reason("amount", "", None, 0.0)] * 2)] == [0.0, 0.0]
    assert charts.reason_bars([Reason("amount", "", None, math.nan)])[0].width == 0.0


def test_a_timeline_goes_from_left_to_right_and_marks_what_is_judged() -> None:
    def row(name: str, hours: int, cents: int, label: bool | None = None) -> Row:
        verdict = None if label is None else Labelled(name, label, 0, label)
        return Row(decided(name, "approve", at=NOW + timedelta(hours=hours), event={"amount_cents": cents}), verdict)

    found = charts.timeline(
        [row("last", 10, 400), row("current", 5, 10_000, True), row("first", 0, 0, False)], "current"
    )
    assert found is not None
    by_name = {dot.row.decided.decision.transaction_id: dot for dot in found.dots}
    assert by_name["first"].x < by_name["current"].x < by_name["last"].x
    assert by_name["current"].x == pytest.approx(charts.WIDTH / 2)
    assert by_name["current"].y < by_name["last"].y < by_name["first"].y, "larger amounts are higher"
    assert {name: dot.kind for name, dot in by_name.items()} == {
        "first": "legitimate", "current": "fraud", "last": "approve",
    }  # fmt: skip
    assert found.dots[-1].current, "drawn over the others"
    assert found.highest == 10_000


def test_a_single_payment_is_in_the_middle_and_none_is_no_timeline() -> None:
    only = charts.timeline([Row(decided())], "tx-1")
    assert only is not None and only.dots[0].x == charts.WIDTH / 2
    assert charts.timeline([], "tx-1") is None


@pytest.mark.parametrize(
    ("rate", "rows", "low", "high"),
    [(0.5, 100, 0.4038, 0.5962), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0), (0.3, 0, 0.0, 1.0)],
)
def test_wilson_gives_the_published_intervals(rate: float, rows: int, low: float, high: float) -> None:
    assert charts.wilson(rate, rows) == pytest.approx((low, high), abs=1e-4)


def test_the_calibration_curve_lies_on_the_diagonal_where_predictions_come_true() -> None:
    curve = [{"mean_predicted": p, "observed_rate": p, "rows": 1000} for p in (0.001, 0.01, 0.1, 1.0)]
    points = charts.calibration_curve({"curve": curve})
    assert [(point.x, point.y) for point in points] == [(0, 300), (100, 200), (200, 100), (300, 0)]
    assert all(point.high <= point.y <= point.low for point in points)
    assert charts.curve_line(points[:2]) == "M0.0 300.0 L100.0 200.0"
    assert charts.calibration_curve(None) == ()


def test_a_rate_below_the_axis_is_drawn_on_it() -> None:
    (point,) = charts.calibration_curve({"curve": [{"mean_predicted": 0.0, "observed_rate": 0.0, "rows": 5}]})
    assert (point.x, point.y, point.observed) == (0, 300, 0.0)


def test_only_shares_with_an_interval_have_whiskers() -> None:
    assert charts.whisker(Metric("a", "A", "share", 0.5, 0.4, 0.7)) == charts.Whisker(50, 40, 70)
    assert charts.whisker(Metric("a", "A", "share", 0.5)) is None
    assert charts.whisker(Metric("a", "A", "money", 0.5, 0.4, 0.7)) is None


@given(st.lists(st.integers(0, 10**6), max_size=5))
def test_parts_of_a_stack_join_and_fill_it(counts: list[int]) -> None:
    parts = charts.stacked([(str(i), count) for i, count in enumerate(counts)])
    assert sum(width for _, _, width in parts) == pytest.approx(100 if sum(counts) else 0, abs=0.05)
