"""Scores to probabilities: what a calibrator promises, whatever scores it is given."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fraud_platform.models.calibration import CalibrationKind, Calibrator, fit_calibrator

KINDS: list[CalibrationKind] = ["sigmoid", "isotonic", "none"]


def shifted(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that say 3 where the odds are 1."""
    random = np.random.default_rng(5)
    odds = np.exp(random.normal(-4, 1.5, rows))
    labels = random.random(rows) < odds / (1 + odds)
    return labels, 3 * odds / (1 + 3 * odds)


@pytest.mark.parametrize("kind", ["sigmoid", "isotonic"])
def test_what_was_three_times_too_sure_means_what_it_says(kind: CalibrationKind) -> None:
    labels, scores = shifted()
    probabilities = fit_calibrator(kind, labels, scores)(scores)
    assert probabilities.mean() == pytest.approx(labels.mean(), rel=0.02)
    for low, high in ((0.0, 0.02), (0.02, 0.1), (0.1, 0.6)):
        chosen = (probabilities >= low) & (probabilities < high)
        assert labels[chosen].mean() == pytest.approx(probabilities[chosen].mean(), rel=0.15)


def test_a_sigmoid_keeps_every_order() -> None:
    labels, scores = shifted()
    probabilities = fit_calibrator("sigmoid", labels, scores)(scores)
    assert np.array_equal(np.argsort(scores, kind="stable"), np.argsort(probabilities, kind="stable"))


@given(
    kind=st.sampled_from(KINDS),
    scores=hnp.arrays(np.float64, st.integers(2, 50), elements=st.floats(0, 1)),
    frauds=st.data(),
)
def test_any_scores_give_rising_probabilities(kind: CalibrationKind, scores: np.ndarray, frauds: st.DataObject) -> None:
    labels = np.array(frauds.draw(st.permutations([True, False, *[False] * (len(scores) - 2)])))
    calibrator = fit_calibrator(kind, labels, scores)
    probabilities = calibrator(np.sort(scores))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (np.diff(probabilities) >= 0).all()


def test_scores_that_fall_where_fraud_rises_stay_what_they_are() -> None:
    labels, scores = shifted()
    assert fit_calibrator("sigmoid", labels, 1 - scores) == Calibrator()


def test_scores_that_separate_the_classes_do_not_become_certainties() -> None:
    labels = np.arange(1000) >= 990
    probabilities = fit_calibrator("sigmoid", labels, np.where(labels, 0.9, 0.1))(np.array([0.1, 0.9]))
    assert 0 < probabilities[0] < 0.5 < probabilities[1] < 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_travels_as_json(kind: CalibrationKind) -> None:
    labels, scores = shifted(2000)
    calibrator = fit_calibrator(kind, labels, scores)
    again = msgspec.json.decode(msgspec.json.encode(calibrator), type=Calibrator)
    assert np.array_equal(again(scores), calibrator(scores))
