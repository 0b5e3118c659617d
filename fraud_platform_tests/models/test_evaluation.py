from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import TrainingError
from fraud_platform.models.dataset import Snapshot
from fraud_platform.models.evaluation import Evaluation, TypeRecall, card_precision_by_day, evaluate, evaluate_split
from fraud_platform.models.training import TrainedModel

START = date(2024, 1, 1)


def day(number: int) -> date:
    return START + timedelta(days=number)


def evaluation_of(labels: list[bool], scores: list[float], threshold: float = 0.5, types=None) -> Evaluation:
    rows = len(labels)
    cards = pl.Series([str(number) for number in range(rows)], dtype=pl.String)
    return evaluate(
        np.array(labels, dtype=bool),
        np.array(scores),
        pl.Series([START] * rows, dtype=pl.Date),
        cards,
        threshold,
        2,
        types,
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
    found = evaluation_of([], [])
    assert (found.rows, found.days, found.alert_rate, found.card_precision_at_k) == (0, 0, None, None)


def test_without_an_alert_precision_is_none_and_recall_zero():
    found = evaluation_of([True, False], [0.1, 0.2])
    assert (found.precision, found.recall, found.f1) == (None, 0.0, 0.0)


def test_recall_by_fraud_type_at_the_threshold():
    found = evaluation_of([True, True, True, True, False], [0.9, 0.1, 0.8, 0.2, 0.9], types=["a", "a", "b", None, "b"])
    assert found.by_fraud_type == {
        "a": TypeRecall(2, 1, 0.5),
        "b": TypeRecall(1, 1, 1.0),
        "unknown": TypeRecall(1, 0, 0.0),
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


def naive_card_precision(rows: list[tuple[int, str, float, bool]], k: int) -> list[float]:
    found: set[str] = set()
    result = []
    for of_day in sorted({number for number, *_ in rows}):
        best: dict[str, float] = {}
        compromised: set[str] = set()
        for number, card, score, fraud in rows:
            if number == of_day and card not in found:
                best[card] = max(score, best.get(card, 0.0))
                if fraud:
                    compromised.add(card)
        reviewed = sorted(best, key=lambda card: (-best[card], card))[:k]
        if reviewed:
            hits = [card for card in reviewed if card in compromised]
            result.append(len(hits) / len(reviewed))
            found.update(hits)
    return result


PAYMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcdefgh"), st.integers(0, 5), st.booleans()), min_size=1, max_size=60
)


@given(PAYMENTS, st.integers(1, 5))
def test_card_precision_agrees_with_a_naive_loop(payments, k: int):
    rows = [(number, card, score / 5, fraud) for number, card, score, fraud in payments]
    assert card_precision(rows, k) == pytest.approx(naive_card_precision(rows, k))


def card_precision(rows: list[tuple[int, str, float, bool]], k: int) -> list[float]:
    numbers, cards, scores, frauds = zip(*rows, strict=True)
    days = pl.Series([day(number) for number in numbers])
    return card_precision_by_day(np.array(frauds), np.array(scores), days, pl.Series(cards), k)


def test_a_card_found_on_one_day_is_not_reviewed_on_the_next():
    rows = [(0, "a", 0.9, True), (1, "a", 0.9, True), (1, "b", 0.5, True), (1, "c", 0.1, False)]
    assert card_precision(rows, 1) == [1.0, 1.0]


def test_a_compromised_card_that_was_not_reviewed_stays():
    rows = [(0, "a", 0.1, True), (0, "b", 0.9, False), (1, "a", 0.9, True)]
    assert card_precision(rows, 1) == [0.0, 1.0]


def test_a_card_counts_once_a_day_with_its_highest_score():
    rows = [(0, "a", 0.9, False), (0, "a", 0.1, True), (0, "b", 0.5, False)]
    assert card_precision(rows, 1) == [1.0]


def test_fewer_cards_than_k_are_all_reviewed():
    assert card_precision([(0, "a", 0.9, True), (0, "b", 0.1, False)], 100) == [0.5]


@pytest.mark.slow
def test_evaluate_split_scores_the_rows_of_that_split(trained: TrainedModel, snapshot: Snapshot):
    found = evaluate_split(snapshot, trained, "test", k=5)
    assert (found.rows, found.frauds) == (snapshot.splits["test"].rows, snapshot.splits["test"].frauds)
    assert set(found.by_fraud_type) == {"stolen", "leaked"}
    assert found.threshold == trained.threshold
