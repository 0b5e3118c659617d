"""Every algorithm through the one interface: what it learns, that its ONNX graph is it, and that it is reproducible."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fraud_platform.models.algorithms import Algorithm, FittedModel, Sample, candidates
from fraud_platform.models.algorithms.isolation_forest import IsolationForest
from fraud_platform.models.algorithms.lightgbm import LightGBM, LightGBMModel, with_float32_splits
from fraud_platform.models.algorithms.logistic_regression import LogisticRegression
from fraud_platform.models.algorithms.random_forest import RandomForest
from fraud_platform.models.algorithms.soft_voting import SoftVotingModel
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform.models.onnx_graphs import float32_below

SMALL: dict[str, Algorithm] = {
    "logistic_regression": LogisticRegression(),
    "random_forest": RandomForest(trees=10, threads=1),
    "xgboost": XGBoost(max_rounds=30, patience=10, threads=1),
    "lightgbm": LightGBM(max_rounds=30, patience=10, threads=1),
    "isolation_forest": IsolationForest(trees=20, threads=1),
}
ALWAYS_MISSING = 5


def sample(rows: int, seed: int) -> Sample:
    """8 inputs: 0 is an amount with a long tail, 1 decides with it, 5 is always missing, a tenth of the rest too."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, 8)).astype(np.float32)
    inputs[:, 0] = np.exp(2 * inputs[:, 0]) * 1000
    labels = random.random(rows) < 1 / (1 + np.exp(-(2 * inputs[:, 1] + np.log(inputs[:, 0] / 1000) - 3)))
    inputs[random.random(inputs.shape) < 0.1] = np.nan
    inputs[:, ALWAYS_MISSING] = np.nan
    return Sample(inputs, labels)


TRAIN, VALIDATION, UNSEEN = sample(4000, 1), sample(1000, 2), sample(10_000, 3)


@pytest.fixture(scope="module", params=SMALL)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str) -> FittedModel:
    return SMALL[name].fit(TRAIN, VALIDATION, seed=1)


def served(graph: bytes, inputs: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["inputs"]
    assert "probabilities" in [o.name for o in session.get_outputs()]
    return session.run(["probabilities"], {"inputs": inputs})[0]


def test_the_small_ones_here_are_all_that_are_listed() -> None:
    assert SMALL.keys() == candidates().keys()
    assert all(type(SMALL[name]) is type(algorithm) for name, algorithm in candidates().items())


def test_scores_are_shares_and_rank_frauds_higher(name: str, model: FittedModel) -> None:
    from sklearn.metrics import roc_auc_score

    scores = model.predict(UNSEEN.inputs)
    assert scores.dtype == np.float64 and scores.shape == (10_000,)
    assert 0 <= scores.min() <= scores.max() <= 1
    assert roc_auc_score(UNSEEN.labels, scores) > (0.55 if name == "isolation_forest" else 0.8)


def test_the_graph_is_the_model_with_missing_inputs_too(model: FittedModel) -> None:
    both = served(model.to_onnx(), UNSEEN.inputs)
    assert both.dtype == np.float32
    assert np.abs(both[:, 1] - model.predict(UNSEEN.inputs)).max() < 1e-6
    assert np.abs(both.sum(axis=1) - 1).max() < 1e-6


def test_rows_on_a_split_go_where_the_model_sends_them(model: FittedModel) -> None:
    rows = TRAIN.inputs[:2000]  # splits lie next to values of the train rows
    for towards in (-np.inf, np.inf):
        moved = np.nextafter(rows, np.float32(towards))
        assert np.abs(served(model.to_onnx(), moved)[:, 1] - model.predict(moved)).max() < 1e-6


def test_the_same_seed_gives_the_same_bytes(name: str, model: FittedModel) -> None:
    assert SMALL[name].fit(TRAIN, VALIDATION, seed=1).to_onnx() == model.to_onnx()


def test_importance_is_a_share_of_each_input(name: str, model: FittedModel) -> None:
    importance = model.importance()
    assert importance.shape == (8,)
    if name == "isolation_forest":
        assert not importance.any()
    else:
        assert importance.sum() == pytest.approx(1) and importance[1] > 0.1
        assert importance[ALWAYS_MISSING] == 0


def test_weights_move_the_scores(name: str, model: FittedModel) -> None:
    weights = np.where(TRAIN.labels, 10.0, 1.0)
    weighted = SMALL[name].fit(replace(TRAIN, weights=weights), VALIDATION, seed=1)
    higher = weighted.predict(UNSEEN.inputs).mean() > model.predict(UNSEEN.inputs).mean()
    assert higher == (name != "isolation_forest")  # which learns without labels, and so without their weights


def test_a_native_file_is_written_where_there_is_a_format(model: FittedModel, tmp_path: Path) -> None:
    if model.file_name is None:
        with pytest.raises(NotImplementedError):
            model.save(tmp_path / "model")
        return
    model.save(tmp_path / model.file_name)
    content = (tmp_path / model.file_name).read_bytes()
    assert content and not content.startswith(b"\x80")  # a pickle's first byte


@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_a_constant_input_is_no_obstacle(name: str, constant: float) -> None:
    inputs = TRAIN.inputs.copy()
    inputs[:, 2] = constant
    fitted = SMALL[name].fit(replace(TRAIN, inputs=inputs), VALIDATION, seed=1)
    assert np.isfinite(fitted.predict(UNSEEN.inputs)).all()
    assert np.abs(served(fitted.to_onnx(), UNSEEN.inputs)[:, 1] - fitted.predict(UNSEEN.inputs)).max() < 1e-6


class Lowest:
    """Suggests the low end of each range and notes its name."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def suggest_int(self, name: str, low: int, high: int, **_: Any) -> int:
        self.names.append(name)
        return low

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        self.names.append(name)
        return low


def test_a_search_varies_parameters_that_exist_around_the_defaults(name: str) -> None:
    trial, algorithm = Lowest(), candidates()[name]
    suggested = algorithm.suggest(trial)
    assert set(trial.names) <= algorithm.parameters.keys()
    changed = {key for key, value in suggested.parameters.items() if value != algorithm.parameters[key]}
    assert changed == set(trial.names)


def test_a_soft_vote_is_the_mean_of_its_members_as_one_graph() -> None:
    members = [SMALL[name].fit(TRAIN, VALIDATION, seed=1) for name in ("logistic_regression", "xgboost", "lightgbm")]
    vote = SoftVotingModel(members)
    expected = np.mean([member.predict(UNSEEN.inputs) for member in members], axis=0)
    assert np.array_equal(vote.predict(UNSEEN.inputs), expected)
    assert np.abs(served(vote.to_onnx(), UNSEEN.inputs)[:, 1] - expected).max() < 1e-6
    assert vote.importance().sum() == pytest.approx(1)


def test_lightgbm_keeps_every_prediction_when_its_splits_become_float32() -> None:
    import lightgbm

    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(TRAIN.inputs, TRAIN.labels),
        num_boost_round=20,
    )
    exact = booster.predict(UNSEEN.inputs)
    moved = LightGBMModel(with_float32_splits(booster.model_to_string()))
    assert np.array_equal(exact, moved.predict(UNSEEN.inputs))


def test_float32_below_is_the_greatest_that_is_not_above() -> None:
    exact = np.array([0.1, 1.0, -0.1, 16777217.0, 1e-46, -1e-46])
    below = float32_below(exact)
    assert (below.astype(np.float64) <= exact).all()
    assert (np.nextafter(below, np.float32(np.inf)).astype(np.float64) > exact).all()


def test_early_stopping_keeps_the_best_round_and_no_patience_keeps_all() -> None:
    quick = {"max_rounds": 60, "patience": 3, "learning_rate": 0.3, "threads": 1}
    for algorithm in (XGBoost(**quick), LightGBM(**quick)):
        assert int(algorithm.fit(TRAIN, VALIDATION, 1).facts["rounds"]) < 50
        assert algorithm.__class__(max_rounds=12, patience=0, threads=1).fit(TRAIN, VALIDATION, 1).facts["rounds"] == 12


def test_a_logistic_regression_draws_as_many_rows_as_it_may() -> None:
    few = LogisticRegression(max_rows=500).fit(TRAIN, VALIDATION, seed=1)
    drawn = np.sort(np.random.default_rng(1).choice(len(TRAIN.labels), 500, replace=False))
    assert np.array_equal(
        few.predict(UNSEEN.inputs),
        LogisticRegression().fit(TRAIN.rows(drawn), VALIDATION, seed=1).predict(UNSEEN.inputs),
    )
