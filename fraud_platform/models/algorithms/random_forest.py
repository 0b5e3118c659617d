"""Random forest: many deep trees on samples of the rows, averaged."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fraud_platform.models.algorithms import Matrix, Parameter, Sample, Scores, Trial, parameters_of, shares_of
from fraud_platform.models.onnx_graphs import forest_graph

MISSING = np.float32(-1e30)
"""What a missing input counts as: less than any value, so that one split tells it apart."""


@dataclass(frozen=True)
class RandomForest:
    """Trees on bootstrap samples of at most `max_samples` rows, so that time is bounded, however long the history."""

    trees: int = 50
    max_depth: int = 20
    min_samples_leaf: int = 3
    max_features: float = 0.15
    max_samples: int = 50_000
    threads: int = -1

    @property
    def name(self) -> str:
        return "random_forest"

    @property
    def parameters(self) -> dict[str, Parameter]:
        return parameters_of(self)

    def suggest(self, trial: Trial) -> "RandomForest":
        return replace(
            self,
            max_depth=trial.suggest_int("max_depth", 8, 30),
            min_samples_leaf=trial.suggest_int("min_samples_leaf", 1, 20, log=True),
            max_features=trial.suggest_float("max_features", 0.1, 0.5),
        )

    def fit(self, train: Sample, validation: Sample, seed: int) -> "RandomForestModel":
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            n_estimators=self.trees,
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,  # type: ignore[arg-type]
            max_samples=self.max_samples if len(train.labels) > self.max_samples else None,
            n_jobs=self.threads,
            random_state=seed,
        )
        return RandomForestModel(forest.fit(_filled(train.inputs), train.labels, train.weights))


class RandomForestModel:
    """A fitted forest. scikit-learn's own format is a pickle, so the ONNX graph is all that is kept."""

    file_name = None

    def __init__(self, forest: Any) -> None:
        self.forest = forest

    @property
    def facts(self) -> dict[str, Parameter]:
        return {"nodes": sum(tree.tree_.node_count for tree in self.forest.estimators_)}

    def predict(self, inputs: Matrix) -> Scores:
        return self.forest.predict_proba(_filled(inputs))[:, 1]

    def importance(self) -> Scores:
        return shares_of(np.asarray(self.forest.feature_importances_))

    def to_onnx(self) -> bytes:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType

        inputs = FloatTensorType([None, self.forest.n_features_in_])
        graph: Any = convert_sklearn(
            self.forest, initial_types=[("inputs", inputs)], options={id(self.forest): {"zipmap": False}}
        )
        return forest_graph(graph, np.full(self.forest.n_features_in_, MISSING))

    def save(self, path: Path) -> None:
        raise NotImplementedError("A random forest has no native file.")


def _filled(inputs: Matrix) -> Matrix:
    return np.where(np.isnan(inputs), MISSING, inputs)
