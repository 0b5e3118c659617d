"""LightGBM: gradient-boosted trees that grow by their best leaf."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fraud_platform.models.algorithms import Matrix, Parameter, Sample, Scores, Trial, parameters_of, shares_of
from fraud_platform.models.onnx_graphs import float32_below

if TYPE_CHECKING:
    pass

_SPLITS = "threshold="
_SIZES = "tree_sizes="
"""The bytes of each tree, which change with the splits; without this line LightGBM reads tree by tree."""


@dataclass(frozen=True)
class LightGBM:
    """Gradient-boosted trees, stopped when the log loss of the validation rows no longer falls.

    Fits start from even odds and not from the fraud rate: on the published benchmark that is worth 4 % of the average
    precision, as it is with XGBoost. With `patience` 0 all rounds are kept.
    """

    num_leaves: int = 15
    max_depth: int = -1
    learning_rate: float = 0.05
    max_rounds: int = 600
    patience: int = 50
    min_child_samples: int = 20
    subsample: float = 0.8
    colsample_bytree: float = 0.5
    reg_lambda: float = 1.0
    max_bin: int = 1023
    threads: int = 0

    @property
    def name(self) -> str:
        return "lightgbm"

    @property
    def parameters(self) -> dict[str, Parameter]:
        return parameters_of(self)

    def suggest(self, trial: Trial) -> "LightGBM":
        return replace(
            self,
            num_leaves=trial.suggest_int("num_leaves", 7, 127, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            min_child_samples=trial.suggest_int("min_child_samples", 5, 200, log=True),
            subsample=trial.suggest_float("subsample", 0.5, 1.0),
            colsample_bytree=trial.suggest_float("colsample_bytree", 0.3, 1.0),
            reg_lambda=trial.suggest_float("reg_lambda", 0.1, 30.0, log=True),
        )

    def fit(self, train: Sample, validation: Sample, seed: int) -> "LightGBMModel":
        import lightgbm

        rows = lightgbm.Dataset(train.inputs, train.labels, weight=train.weights, params=self._binning())
        stopping: dict[str, Any] = {}
        if self.patience:
            later = lightgbm.Dataset(validation.inputs, validation.labels, reference=rows)
            stops = lightgbm.early_stopping(self.patience, first_metric_only=True, verbose=False)
            stopping = {"valid_sets": [later], "callbacks": [stops]}
        booster = lightgbm.train(
            {
                "objective": "binary",
                "metric": "binary_logloss",
                "num_leaves": self.num_leaves,
                "max_depth": self.max_depth,
                "learning_rate": self.learning_rate,
                "min_child_samples": self.min_child_samples,
                "subsample": self.subsample,
                "subsample_freq": 1,
                "colsample_bytree": self.colsample_bytree,
                "reg_lambda": self.reg_lambda,
                "boost_from_average": False,
                "seed": seed,
                "deterministic": True,
                "force_row_wise": True,
                **self._binning(),
            },
            rows,
            num_boost_round=self.max_rounds,
            **stopping,
        )
        kept = booster.best_iteration if self.patience else booster.current_iteration()
        return LightGBMModel(with_float32_splits(booster.model_to_string(num_iteration=kept)))

    def _binning(self) -> dict[str, Any]:
        return {"max_bin": self.max_bin, "num_threads": self.threads, "verbosity": -1}


class LightGBMModel:
    """A booster that holds the rounds it predicts with and no others."""

    file_name = "model.txt"

    def __init__(self, text: str) -> None:
        import lightgbm

        self.text = text
        self.booster: lightgbm.Booster = lightgbm.Booster(model_str=text)

    @property
    def facts(self) -> dict[str, Parameter]:
        return {"rounds": self.booster.num_trees()}

    def predict(self, inputs: Matrix) -> Scores:
        return np.asarray(self.booster.predict(inputs), dtype=np.float64)

    def importance(self) -> Scores:
        return shares_of(self.booster.feature_importance("gain"))

    def to_onnx(self) -> bytes:
        from onnxmltools.convert import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        inputs = FloatTensorType([None, self.booster.num_feature()])
        graph = convert_lightgbm(self.booster, name="fraud", initial_types=[("inputs", inputs)], zipmap=False)
        return graph.SerializeToString()

    def save(self, path: Path) -> None:
        path.write_text(self.text, encoding="utf-8")


def with_float32_splits(model: str) -> str:
    """The model with each split at the greatest float32 that is not above it.

    Inputs are float32, so that no row goes another way; and the ONNX graph, whose splits are float32,
    rounds none of them up onto the next input value.
    """
    lines = (line for line in model.split("\n") if not line.startswith(_SIZES))
    return "\n".join(_with_float32_numbers(line) if line.startswith(_SPLITS) else line for line in lines)


def _with_float32_numbers(line: str) -> str:
    thresholds = np.array(line.removeprefix(_SPLITS).split(), np.float64)
    return _SPLITS + " ".join(map(repr, float32_below(thresholds).astype(np.float64).tolist()))
