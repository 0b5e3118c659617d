from datetime import date

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import TrainingError
from fraud_platform.models.bootstrap import Interval
from fraud_platform.models.costs import CostMatrix, Thresholds
from fraud_platform.models.dataset import Snapshot
from fraud_platform.models.evaluation import Evaluation, evaluate, evaluate_split
from fraud_platform.models.segments import TypeRecall

START = date(2024, 1, 1)


COSTS = CostMatrix(missed_fraud_fee=100, review=10, blocked_good=50)


def evaluation_of(
    labels: list[bool], scores: list[float], threshold: float = 0.5, types=None, resamples: int = 0, frame=None
) -> Evaluation:
    """Each row is a customer of its own, and pays one cent more than the row before."""
    rows = len(labels)
    cards = pl.Series([str(number) for number in range(rows)], dtype=pl.String)
    return evaluate(
        np.array(labels, dtype=bool),
        np.array(scores),
        pl.Series([START] * rows, dtype=pl.Date),
        cards,
        np.arange(rows) + 1_000,
        Thresholds(threshold),
        COSTS,
        2,
        types,
        frame,
        resamples=resamples,
    )


ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=40)
BOTH_CLASSES = ROWS.filter(lambda rows: len({fraud for fraud, _ in rows}) == 2)


def columns(rows: list[tuple[bool, int]]) -> tuple[list[bool], list[float]]:
    return [fraud for fraud, _ in rows], [score / 10 for _, score in rows]


@given(BOTH_CLASSES)
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(rows):
    labels, scores = columns(rows)
    frauds = [score for fraud, score in zip(labels, scores, strict=True) if fraud]
    others = [score for fraud, score in zip(labels, scores, strict=True) if not fraud]
    right = sum((fraud > other) + (fraud == other) / 2 for fraud in frauds for other in others)
    assert evaluation_of(labels, scores).roc_auc == pytest.approx(right / len(frauds) / len(others))


def operating_points(labels: list[bool], scores: list[float]) -> list[tuple[float, float]]:
    """(recall, precision) at each distinct score, from the highest down."""
    points = []
    for threshold in sorted(set(scores), reverse=True):
        alerted = [fraud for fraud, score in zip(labels, scores, strict=True) if score >= threshold]
        points.append((sum(alerted) / sum(labels), sum(alerted) / len(alerted)))
    return points


@given(BOTH_CLASSES)
def test_average_precision_is_precision_weighted_by_the_rise_of_recall(rows):
    labels, scores = columns(rows)
    expected, before = 0.0, 0.0
    for recall, precision in operating_points(labels, scores):
        expected += (recall - before) * precision
        before = recall
    assert evaluation_of(labels, scores).average_precision == pytest.approx(expected)


@given(BOTH_CLASSES)
def test_precision_at_90_recall_is_the_best_of_the_points_that_reach_it(rows):
    labels, scores = columns(rows)
    expected = max(precision for recall, precision in operating_points(labels, scores) if recall >= 0.9)
    assert evaluation_of(labels, scores).precision_at_90_recall == pytest.approx(expected)


def test_nine_of_ten_frauds_are_90_recall():
    labels = [True] * 9 + [False] * 30 + [True]
    assert evaluation_of(labels, [1 - rank / 40 for rank in range(40)]).precision_at_90_recall == 1.0


@given(ROWS, st.integers(0, 11))
def test_the_confusion_matrix_agrees_with_counting(rows, tenths: int):
    labels, scores = columns(rows)
    found = evaluation_of(labels, scores, tenths / 10)
    cells = {(alert, fraud): 0 for alert in (True, False) for fraud in (True, False)}
    for fraud, score in zip(labels, scores, strict=True):
        cells[score >= tenths / 10, fraud] += 1
    assert found.true_positives == cells[True, True]
    assert found.false_positives == cells[True, False]
    assert found.false_negatives == cells[False, True]
    assert found.true_negatives == cells[False, False]


@given(ROWS, st.integers(0, 11))
def test_precision_recall_f1_and_alert_rate_agree_with_scikit_learn(rows, tenths: int):
    from sklearn.metrics import f1_score, precision_score, recall_score

    labels, scores = columns(rows)
    alerts = [score >= tenths / 10 for score in scores]
    found = evaluation_of(labels, scores, tenths / 10)
    assert found.precision == (pytest.approx(precision_score(labels, alerts)) if any(alerts) else None)
    assert found.recall == (pytest.approx(recall_score(labels, alerts)) if any(labels) else None)
    assert found.f1 == (pytest.approx(f1_score(labels, alerts)) if any(labels) or any(alerts) else None)
    assert found.alert_rate == pytest.approx(sum(alerts) / len(alerts))


@pytest.mark.parametrize("verdict", [True, False])
def test_with_one_class_what_is_undefined_is_none(verdict: bool):
    found = evaluation_of([verdict] * 3, [0.1, 0.2, 0.3])
    assert (found.roc_auc, found.average_precision, found.precision_at_90_recall) == (None, None, None)
    assert "roc_auc" not in found.metrics


def test_an_empty_period_has_counts_and_nothing_else():
    found = evaluation_of([], [], resamples=3)
    assert (found.calibration, found.by_segment, found.alerts.reviews_per_day) == (None, {}, None)
    assert (found.rows, found.days, found.alert_rate, found.card_precision_at_k) == (0, 0, None, None)


def test_without_an_alert_precision_is_none_and_recall_zero():
    found = evaluation_of([True, False], [0.1, 0.2])
    assert (found.precision, found.recall, found.f1) == (None, 0.0, 0.0)


def test_recall_and_money_by_fraud_type_at_the_threshold():
    found = evaluation_of([True, True, True, True, False], [0.9, 0.1, 0.8, 0.2, 0.9], types=["a", "a", "b", None, "b"])
    assert found.by_fraud_type == {
        "a": TypeRecall(2, 1, 0.5, amount_found=1_000, amount_missed=1_001, saved=1_000 + 100 - 10),
        "b": TypeRecall(1, 1, 1.0, amount_found=1_002, amount_missed=0, saved=1_002 + 100 - 10),
        "unknown": TypeRecall(1, 0, 0.0, amount_found=0, amount_missed=1_003, saved=0),
    }
    assert found.metrics["recall_of_a"] == 0.5


def test_without_fraud_types_there_is_no_recall_by_type():
    assert evaluation_of([True, False], [0.9, 0.1]).by_fraud_type == {}


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(score: float):
    with pytest.raises(TrainingError, match="1 scores are not finite"):
        evaluation_of([True, False], [0.5, score])


def test_different_lengths_are_refused():
    with pytest.raises(TrainingError, match=r"lengths \[1, 2\]"):
        evaluation_of([True, False], [0.5])


BIG = [True, False, False, True] * 25
BIG_SCORES = [0.9, 0.1, 0.7, 0.3] * 25


def test_every_headline_figure_has_an_interval_around_its_value():
    found = evaluation_of(BIG, BIG_SCORES, resamples=50)
    for name, interval in found.intervals.items():
        assert interval.value == pytest.approx(found.metrics[name]), name
        assert interval.low <= interval.value <= interval.high, name
    assert {"average_precision", "roc_auc", "recall", "precision", "money_saved", "card_precision_at_k"} <= set(
        found.intervals
    )


def test_without_resamples_there_are_no_intervals():
    assert evaluation_of(BIG, BIG_SCORES).intervals == {}


def test_the_same_seed_gives_the_same_evaluation():
    assert evaluation_of(BIG, BIG_SCORES, resamples=5) == evaluation_of(BIG, BIG_SCORES, resamples=5)


@pytest.mark.parametrize(("labels", "scores"), [(BIG, BIG_SCORES), ([True] * 3, [0.9, 0.8, 0.1]), ([], [])])
def test_an_evaluation_survives_json(labels: list[bool], scores: list[float]):
    found = evaluation_of(labels, scores, resamples=5, types=["a"] * len(labels))
    assert msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(found)), type=Evaluation) == found


def test_the_interval_of_a_figure_that_never_varies_is_a_point():
    assert evaluation_of([True] * 5, [0.9] * 5, resamples=5).intervals["recall"] == Interval(1, 1, 1)


def test_intervals_count_blocked_payments_as_alerts_and_not_as_reviews():
    labels, scores = np.array(BIG), np.array(BIG_SCORES)
    days, cards = pl.Series([START] * 100), pl.Series([str(row) for row in range(100)])
    found = evaluate(labels, scores, days, cards, np.arange(100), Thresholds(0.5, 0.8), COSTS, resamples=5)
    assert found.intervals["reviews_per_day"].value == found.alerts.reviews_per_day == 25
    assert found.intervals["alert_rate"].value == 0.5


def test_money_of_reviewed_and_blocked_payments_is_among_the_metrics():
    labels, scores = np.array([True, False, True]), np.array([0.9, 0.8, 0.1])
    days, cards = pl.Series([START] * 3), pl.Series(["a", "b", "c"])
    amounts = pl.Series([1_000, 2_000, 3_000])
    metrics = evaluate(labels, scores, days, cards, amounts, Thresholds(0.5, 0.7), COSTS, resamples=0).metrics
    assert (metrics["money_saved"], metrics["money_preventable"]) == (1_100 - 50, 1_100 + 3_100)
    assert (metrics["blocks_per_day"], metrics["reviews_per_day"], metrics["block_threshold"]) == (2, 0, 0.7)


def test_metrics_are_numbers_alone():
    assert all(isinstance(value, float) for value in evaluation_of(BIG, BIG_SCORES, types=["a"] * 100).metrics.values())


class FirstInput:
    """Takes the first input for the log odds of fraud."""

    feature_columns = ("input_0",)
    thresholds = Thresholds(0.8, 0.9)

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-np.nan_to_num(matrix[:, 0].astype(np.float64))))


def test_evaluate_split_scores_the_rows_of_that_split(snapshot: Snapshot):
    found = evaluate_split(snapshot, FirstInput(), "test", reviews_a_day=5, resamples=2)
    assert (found.rows, found.frauds) == (snapshot.splits["test"].rows, snapshot.splits["test"].frauds)
    assert set(found.by_fraud_type) == {"stolen", "leaked"}
    assert (found.thresholds, found.k, found.days) == (FirstInput().thresholds, 5, 7)
    assert sum(of.rows for name, of in found.by_segment.items() if name.startswith("amount")) == found.rows
