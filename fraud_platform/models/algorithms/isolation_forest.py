"""Isolation forest: how unusual a payment is, learnt without labels. The fallback where labels are few or wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.models.algorithms import (
    Matrix,
    Parameter,
    Sample,
    Scores,
    Trial,
    filled_with,
    medians_of,
    parameters_of,
)
from fraud_platform.models.onnx_graphs import Tree, anomaly_graph


@dataclass(frozen=True)
class IsolationForest:
    """The anomaly score of Liu, Ting and Zhou (Isolation Forest, 2008): near 1 is unusual, below 0.5 is not."""

    trees: int = 100
    rows_a_tree: int = 1024
    threads: int = -1

    @property
    def name(self) -> str:
        return "isolation_forest"

    @property
    def parameters(self) -> dict[str, Parameter]:
        return parameters_of(self)

    def suggest(self, trial: Trial) -> "IsolationForest":
        return self

    def fit(self, train: Sample, validation: Sample, seed: int) -> "IsolationForestModel":
        from sklearn.ensemble import IsolationForest as Fit

        fill = medians_of(train.inputs)
        forest = Fit(
            n_estimators=self.trees,
            max_samples=min(self.rows_a_tree, len(train.labels)),  # type: ignore[arg-type]
            n_jobs=self.threads,
            random_state=seed,
        )
        return IsolationForestModel(forest.fit(filled_with(train.inputs, fill)), fill)


class IsolationForestModel:
    """A fitted forest. scikit-learn's own format is a pickle, so the ONNX graph is all that is kept."""

    file_name = None

    def __init__(self, forest: Any, fill: Matrix) -> None:
        self.forest, self.fill = forest, fill

    @property
    def facts(self) -> dict[str, Parameter]:
        return {}

    def predict(self, inputs: Matrix) -> Scores:
        return -self.forest.score_samples(filled_with(inputs, self.fill))

    def importance(self) -> Scores:
        return np.zeros(len(self.fill))

    def to_onnx(self) -> bytes:
        usual_depth = _mean_depth(np.array([self.forest.max_samples_]))
        return anomaly_graph([_tree(fit.tree_) for fit in self.forest.estimators_], self.fill, float(usual_depth[0]))

    def save(self, path: Path) -> None:
        raise NotImplementedError("An isolation forest has no native file.")


def _tree(fitted: Any) -> Tree:
    """A leaf gives its depth, and the depth at which its rows would be told apart."""
    depths = np.zeros(fitted.node_count)
    for node in range(fitted.node_count):  # parents come before their children
        for child in (fitted.children_left[node], fitted.children_right[node]):
            if child >= 0:
                depths[child] = depths[node] + 1
    value = depths + _mean_depth(fitted.n_node_samples)
    return Tree(fitted.feature, fitted.threshold, fitted.children_left, fitted.children_right, value)


def _mean_depth(rows: NDArray[np.int64]) -> Scores:
    """c(n): the mean depth of a random binary search tree of n rows; 0 for one row, 1 for two."""
    several = np.maximum(rows, 3).astype(np.float64)
    depths = 2.0 * (np.log(several - 1.0) + np.euler_gamma) - 2.0 * (several - 1.0) / several
    return np.select([rows <= 1, rows == 2], [0.0, 1.0], depths)
