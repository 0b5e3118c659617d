import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.models.reliability import Calibration, calibration

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60)


def arrays(rows: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([fraud for fraud, _ in rows]), np.array([score / 20 for _, score in rows])


def measured(labels: np.ndarray, probabilities: np.ndarray) -> Calibration:
    found = calibration(labels, probabilities)
    assert found is not None
    return found


def drawn(rate: float, rows: int = 60_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow probabilities with that mean."""
    random = np.random.default_rng(seed)
    probabilities = random.beta(0.2, 0.2 * (1 - rate) / rate, rows)
    return random.random(rows) < probabilities, probabilities


@given(ROWS)
def test_the_brier_score_agrees_with_scikit_learn(rows):
    from sklearn.metrics import brier_score_loss

    labels, probabilities = arrays(rows)
    assert measured(labels, probabilities).brier_score == pytest.approx(
        brier_score_loss(labels, probabilities, pos_label=True)
    )


@given(ROWS)
def test_the_error_is_the_distance_of_the_curve_weighted_by_rows(rows):
    found = measured(*arrays(rows))
    distance = sum(point.rows * abs(point.observed_rate - point.mean_predicted) for point in found.curve)
    assert found.error == pytest.approx(distance / len(rows))
    assert sum(point.rows for point in found.curve) == len(rows)


@given(ROWS)
def test_the_curve_rises_and_splits_no_equal_probabilities(rows):
    predicted = [point.mean_predicted for point in measured(*arrays(rows)).curve]
    assert predicted == sorted(predicted)
    assert len(predicted) <= len({score for _, score in rows})


def test_each_bin_holds_the_same_predicted_fraud():
    found = measured(*drawn(0.01))
    assert [point.rows * point.mean_predicted for point in found.curve] == pytest.approx([600 / 10] * 10, rel=0.06)


@pytest.mark.parametrize("rate", [0.2, 0.01, 0.002])
def test_calibrated_probabilities_show_no_more_than_noise(rate: float):
    errors = [measured(*drawn(rate, seed=seed)) for seed in range(20)]
    assert np.mean([of.error for of in errors]) == pytest.approx(np.mean([of.noise for of in errors]), rel=0.15)
    assert max(of.excess or 0.0 for of in errors) < 0.15


def test_probabilities_half_of_what_comes_misplace_half_of_the_frauds():
    labels, probabilities = drawn(0.005)
    found = measured(labels, probabilities / 2)
    assert found.error / found.observed_rate == pytest.approx(0.5, abs=0.05)


def test_probabilities_of_zero_are_wrong_by_the_whole_fraud_rate():
    labels, _ = drawn(0.005)
    found = measured(labels, np.zeros(len(labels)))
    assert (found.excess, len(found.curve)) == (1.0, 1)


def test_too_high_and_too_low_among_the_highest_do_not_cancel_out():
    """All frauds lie in the highest 1 % of the rows, and there the order of the probabilities is wrong."""
    labels, probabilities = np.zeros(10_000, bool), np.full(10_000, 1e-9)
    probabilities[:50], probabilities[50:100] = 0.9, 0.1
    labels[:5], labels[50:95] = True, True
    assert measured(labels, probabilities).excess == pytest.approx(80 / 50, abs=0.2)


def test_without_frauds_there_is_an_error_and_no_share_of_it():
    found = measured(np.zeros(4, bool), np.full(4, 0.25))
    assert (found.error, found.excess) == (0.25, None)


def test_no_rows_have_no_calibration():
    assert calibration(np.zeros(0, bool), np.zeros(0)) is None
