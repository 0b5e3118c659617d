"""What can be trained: each algorithm takes NumPy arrays and returns a model that converts to ONNX."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost

Matrix = NDArray[np.float32]
"""Shape (rows, inputs); NaN = missing."""
Labels = NDArray[np.bool_]
Scores = NDArray[np.float64]
Parameter = int | float | str


@dataclass(frozen=True)
class Sample:
    """The inputs (n, d) and the labels (n,) of one split."""

    inputs: Matrix
    labels: Labels


class FittedModel(Protocol):
    """A fitted model. Its file is native to its library, never a pickle."""

    @property
    def file_name(self) -> str:
        """The name of the native file in the artefact."""
        ...

    @property
    def facts(self) -> dict[str, Parameter]:
        """What the fit found (rounds kept …)."""
        ...

    def predict(self, inputs: Matrix) -> Scores:
        """The fraud probability of each row, shape (n,)."""
        ...

    def to_onnx(self) -> bytes:
        """An ONNX graph whose output `probabilities` is float32 (n, 2): legitimate, fraud."""
        ...

    def save(self, path: Path) -> None:
        """Write the native file."""
        ...


class Algorithm(Protocol):
    """Parameters, and how to fit with them. The same seed and data give the same model."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Parameter]: ...

    def fit(self, train: Sample, validation: Sample, seed: int) -> FittedModel:
        """Fit on `train`; `validation` may only choose when to stop."""
        ...


@dataclass(frozen=True)
class XGBoost:
    """Gradient-boosted trees, stopped when the average precision of the validation rows no longer rises.

    `base_score` and `max_bin` differ from the library's defaults because those cost a quarter of
    the average precision on the published benchmark: a fitted intercept under so rare a class, and bins
    too coarse for the tail of the amounts where the fraud is.
    """

    max_depth: int = 6
    learning_rate: float = 0.1
    max_rounds: int = 600
    patience: int = 50
    min_child_weight: float = 1.0
    subsample: float = 0.8
    colsample_bytree: float = 0.8
    reg_lambda: float = 1.0
    max_bin: int = 1024
    base_score: float = 0.5
    threads: int = 0

    @property
    def name(self) -> str:
        return "xgboost"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """All but `threads`, which changes the time and not the model."""
        return {name: value for name, value in asdict(self).items() if name != "threads"}

    def fit(self, train: Sample, validation: Sample, seed: int) -> "XGBoostModel":
        import xgboost

        # Inputs stay unnamed (f0, f1 …), which is what the ONNX converter reads; model.json has their names.
        training_rows = xgboost.QuantileDMatrix(train.inputs, train.labels, max_bin=self.max_bin, nthread=self.threads)
        validation_rows = xgboost.QuantileDMatrix(
            validation.inputs, validation.labels, max_bin=self.max_bin, nthread=self.threads, ref=training_rows
        )
        booster = xgboost.train(
            {
                "objective": "binary:logistic",
                "tree_method": "hist",
                "eval_metric": "aucpr",
                "base_score": self.base_score,
                "max_depth": self.max_depth,
                "learning_rate": self.learning_rate,
                "min_child_weight": self.min_child_weight,
                "subsample": self.subsample,
                "colsample_bytree": self.colsample_bytree,
                "reg_lambda": self.reg_lambda,
                "max_bin": self.max_bin,
                "nthread": self.threads,
                "seed": seed,
            },
            training_rows,
            num_boost_round=self.max_rounds,
            evals=[(validation_rows, "validation")],
            early_stopping_rounds=self.patience,
            verbose_eval=False,
        )
        # The rounds after the best are cut off, so that the native file and the ONNX graph hold the same trees.
        return XGBoostModel(booster[: booster.best_iteration + 1])


class XGBoostModel:
    """A booster that holds the rounds it predicts with and no others."""

    file_name = "model.ubj"

    def __init__(self, booster: "xgboost.Booster") -> None:
        self.booster = booster

    @property
    def facts(self) -> dict[str, Parameter]:
        return {"rounds": self.booster.num_boosted_rounds()}

    def predict(self, inputs: Matrix) -> Scores:
        return np.asarray(self.booster.inplace_predict(inputs), dtype=np.float64)

    def to_onnx(self) -> bytes:
        from onnxmltools.convert import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType

        inputs = FloatTensorType([None, self.booster.num_features()])
        graph = convert_xgboost(self.booster, name="fraud", initial_types=[("inputs", inputs)])
        return graph.SerializeToString()

    def save(self, path: Path) -> None:
        # "ubj" is taken from the ending; a temporary name beside it must end the same.
        self.booster.save_model(path)
