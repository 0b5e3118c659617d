"""What is done about fraud being rare, before a model is fitted: a choice, measured in docs/models.md."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import TrainingError
from fraud_platform.models.algorithms import Sample, filled_with, medians_of

Imbalance = Literal["none", "class_weight", "undersample", "smote"]

LEGITIMATE_A_FRAUD = 20
"""Legitimate rows that undersampling keeps for each fraud."""
SYNTHETIC_SHARE = 0.05
"""Frauds a legitimate row that SMOTE fills up to."""
NEIGHBOURS = 5


def rebalance(train: Sample, how: Imbalance, seed: int) -> Sample:
    """The rows to fit on.

    class_weight: both classes weigh the same in all, as scikit-learn's `balanced`. undersample: every fraud, and
    20 legitimate rows for each, chosen at random. smote: frauds are added between neighbouring frauds (Chawla et
    al. 2002), to 5 a hundred legitimate rows. Scores are shifted by all three; calibration undoes that.

    Raises:
        TrainingError: where SMOTE has fewer than two frauds to go between.
    """
    if how == "class_weight":
        frauds = train.labels.mean()
        return Sample(train.inputs, train.labels, np.where(train.labels, 0.5 / frauds, 0.5 / (1.0 - frauds)))
    if how == "undersample":
        return train.rows(_undersampled(train, seed))
    if how == "smote":
        return _with_synthetic_frauds(train, seed)
    return train


def _undersampled(train: Sample, seed: int) -> NDArray[np.int64]:
    """The rows that stay, in their order."""
    frauds, legitimate = np.flatnonzero(train.labels), np.flatnonzero(~train.labels)
    kept = min(len(legitimate), LEGITIMATE_A_FRAUD * len(frauds))
    chosen = np.random.default_rng(seed).choice(legitimate, kept, replace=False)
    return np.sort(np.concatenate([frauds, chosen]))


def _with_synthetic_frauds(train: Sample, seed: int) -> Sample:
    from imblearn.over_sampling import SMOTE

    frauds, legitimate = int(train.labels.sum()), int((~train.labels).sum())
    if frauds < 2:
        raise TrainingError(
            f"SMOTE goes between frauds, and the train period has {frauds}. Take a longer period, or another "
            "FRAUD_IMBALANCE (none, class_weight, undersample)."
        )
    if frauds >= SYNTHETIC_SHARE * legitimate:
        return train
    smote = SMOTE(
        sampling_strategy=SYNTHETIC_SHARE,  # type: ignore[arg-type]
        k_neighbors=min(NEIGHBOURS, frauds - 1),
        random_state=seed,
    )
    inputs, labels = smote.fit_resample(filled_with(train.inputs, medians_of(train.inputs)), train.labels)[:2]
    # A distance needs every coordinate, but the given rows, which come first, keep their missing values.
    added = np.asarray(inputs[len(train.labels) :], np.float32)
    return Sample(np.vstack([train.inputs, added]), np.asarray(labels, np.bool_))
