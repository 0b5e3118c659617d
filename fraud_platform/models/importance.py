"""What a model's inputs are worth: by how much it gets worse when one of them is shuffled."""

from collections.abc import Callable

import numpy as np

from fraud_platform.models.algorithms import Labels, Matrix, Scores

MOST_LEGITIMATE = 10_000
"""Rows that are looked at besides the frauds: enough for the order of what matters."""


def permutation_importance(predict: Callable[[Matrix], Scores], inputs: Matrix, labels: Labels, seed: int) -> Scores:
    """The average precision that is lost when an input's values are dealt out at random; shape (d,).

    After Breiman (2001). Measured on all frauds and a sample of the other rows that the model was not fitted on, so
    it is comparable between inputs and not with the model's own average precision. Near 0: the model can do without.
    """
    from sklearn.metrics import average_precision_score

    random = np.random.default_rng(seed)
    legitimate = np.flatnonzero(~labels)
    if len(legitimate) > MOST_LEGITIMATE:
        legitimate = random.choice(legitimate, MOST_LEGITIMATE, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(labels), legitimate]))
    inputs, labels = inputs[rows].copy(), labels[rows]
    whole = average_precision_score(labels, predict(inputs))
    lost = np.zeros(inputs.shape[1])
    for column in range(inputs.shape[1]):
        given = inputs[:, column].copy()
        inputs[:, column] = random.permutation(given)
        lost[column] = whole - average_precision_score(labels, predict(inputs))
        inputs[:, column] = given
    return lost
