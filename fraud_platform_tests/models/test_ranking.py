import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.models.ranking import FIGURES, Ranking

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10), st.integers(0, 5)), min_size=2, max_size=60)
WEIGHTS = st.lists(st.integers(0, 4), min_size=6, max_size=6)


def arrays(rows: list[tuple[bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, scores, customers = (np.array(column) for column in zip(*rows, strict=True))
    return labels, scores / 10, customers


def weighted_classes(rows: list[tuple[bool, int, int]], weights: list[int]) -> set[bool]:
    return {fraud for fraud, _, customer in rows if weights[customer]}


@given(ROWS, WEIGHTS)
def test_roc_auc_and_average_precision_agree_with_scikit_learn_under_weights(rows, weights: list[int]):
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, scores, customers = arrays(rows)
    found = Ranking(labels, scores, customers)(np.array(weights))
    if len(weighted_classes(rows, weights)) < 2:
        assert np.isnan([found[name] for name in FIGURES]).all()
        return
    of_row = np.array(weights)[customers]
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=of_row))
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, scores, sample_weight=of_row))


@given(ROWS, WEIGHTS)
def test_a_weight_counts_a_row_as_often_as_copies_of_it(rows, weights: list[int]):
    labels, scores, customers = arrays(rows)
    copies = np.repeat(np.arange(len(rows)), np.array(weights)[customers])
    once = Ranking(labels[copies], scores[copies], np.zeros(len(copies), np.int64))(np.ones(1, np.int64))
    weighted = Ranking(labels, scores, customers)(np.array(weights))
    assert weighted == pytest.approx(once, nan_ok=True)


@given(ROWS.filter(lambda rows: len({fraud for fraud, *_ in rows}) == 2))
def test_recall_at_a_false_positive_rate_is_the_best_of_the_thresholds_that_keep_it(rows):
    labels, scores, customers = arrays(rows)
    labels, scores, customers = (np.repeat(column, 30) for column in (labels, scores, customers))
    reached = {0.001: 0.0, 0.01: 0.0}
    for threshold in scores:
        alerts = scores >= threshold
        for rate, best in reached.items():
            if (alerts & ~labels).sum() <= rate * (~labels).sum():
                reached[rate] = max(best, (alerts & labels).sum() / labels.sum())
    found = Ranking(labels, scores, customers)(np.ones(6, np.int64))
    assert found["recall_at_0_1_percent_fpr"] == pytest.approx(reached[0.001])
    assert found["recall_at_1_percent_fpr"] == pytest.approx(reached[0.01])


def test_one_false_alert_in_a_hundred_is_a_rate_of_one_percent():
    labels = np.array([True, False, True, False, True] + [False] * 98)
    found = Ranking(labels, np.linspace(1, 0, 103), np.zeros(103, np.int64))(np.ones(1, np.int64))
    assert found["recall_at_1_percent_fpr"] == pytest.approx(2 / 3)
    assert found["recall_at_0_1_percent_fpr"] == pytest.approx(1 / 3)


def test_no_rows_have_no_figures():
    nothing = np.zeros(0)
    assert np.isnan(list(Ranking(nothing > 0, nothing, nothing.astype(np.int64))(np.ones(0, np.int64)).values())).all()
