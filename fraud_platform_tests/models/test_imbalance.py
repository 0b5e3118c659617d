"""What is done about rare fraud before a fit: which rows are left or added, and what they weigh."""

import numpy as np
import pytest

from fraud_platform.errors import TrainingError
from fraud_platform.models.algorithms import Sample
from fraud_platform.models.imbalance import LEGITIMATE_A_FRAUD, SYNTHETIC_SHARE, Imbalance, rebalance


def rows(frauds: int, legitimate: int) -> Sample:
    random = np.random.default_rng(3)
    labels = np.arange(frauds + legitimate) < frauds
    inputs = random.normal(size=(len(labels), 4)).astype(np.float32) + 5 * labels[:, np.newaxis]
    inputs[random.random(inputs.shape) < 0.1] = np.nan
    inputs[:, 3] = np.nan
    return Sample(inputs.astype(np.float32), labels)


def test_none_changes_nothing() -> None:
    given = rows(10, 1000)
    assert rebalance(given, "none", 1) is given


def test_class_weights_make_both_classes_weigh_half_of_the_rows() -> None:
    weighted = rebalance(rows(10, 990), "class_weight", 1)
    assert weighted.weights is not None
    assert weighted.weights[weighted.labels].sum() == pytest.approx(500)
    assert weighted.weights[~weighted.labels].sum() == pytest.approx(500)


def test_undersampling_keeps_every_fraud_and_a_number_of_others_in_their_order() -> None:
    given = rows(10, 1000)
    kept = rebalance(given, "undersample", 1)
    assert kept.labels.sum() == 10 and (~kept.labels).sum() == 10 * LEGITIMATE_A_FRAUD
    positions = [int(np.flatnonzero(given.inputs[:, 0] == value)[0]) for value in kept.inputs[:, 0] if value == value]
    assert positions == sorted(positions)


def test_undersampling_keeps_all_where_there_are_few() -> None:
    assert len(rebalance(rows(10, 50), "undersample", 1).labels) == 60


def test_smote_adds_frauds_between_frauds_and_leaves_the_given_rows_alone() -> None:
    given = rows(10, 1000)
    filled = rebalance(given, "smote", 1)
    assert filled.labels.sum() == SYNTHETIC_SHARE * 1000
    assert np.array_equal(filled.inputs[: len(given.labels)], given.inputs, equal_nan=True)
    added = filled.inputs[len(given.labels) :]
    assert np.isfinite(added).all()
    low, high = np.nanmin(given.inputs[given.labels, :3], axis=0), np.nanmax(given.inputs[given.labels, :3], axis=0)
    medians = np.nanmedian(given.inputs[:, :3], axis=0)
    assert (added[:, :3] >= np.minimum(low, medians)).all() and (added[:, :3] <= np.maximum(high, medians)).all()


def test_smote_with_two_frauds_has_one_neighbour() -> None:
    assert rebalance(rows(2, 400), "smote", 1).labels.sum() == 20


def test_smote_needs_two_frauds() -> None:
    with pytest.raises(TrainingError, match=r"goes between frauds, and the train period has 1\b.*FRAUD_IMBALANCE"):
        rebalance(rows(1, 400), "smote", 1)


@pytest.mark.parametrize("how", ["undersample", "smote"])
def test_the_same_seed_gives_the_same_rows(how: Imbalance) -> None:
    first, second = (rebalance(rows(10, 1000), how, 7) for _ in range(2))
    assert np.array_equal(first.inputs, second.inputs, equal_nan=True)
    other = rebalance(rows(10, 1000), how, 8)
    assert not np.array_equal(first.inputs, other.inputs, equal_nan=True)
