from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud_platform.errors import TrainingError
from fraud_platform.models.algorithms import Sample
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform.models.dataset import Periods, Snapshot, content_hash, write_snapshot
from fraud_platform.models.training import TrainedModel, input_matrix, train
from fraud_platform_tests.models.conftest import CATALOG, INPUTS

QUICK = XGBoost(max_rounds=3, max_depth=2)


@pytest.fixture
def write(tmp_path: Path, periods: Periods):
    return lambda frame: write_snapshot(frame, tmp_path, periods)


def fit(snapshot: Snapshot, columns: list[str] = INPUTS) -> TrainedModel:
    return train(snapshot, QUICK, columns, CATALOG, seed=1)


def test_the_model_learns(trained: TrainedModel, snapshot: Snapshot):
    from sklearn.metrics import roc_auc_score

    test = snapshot.read("test")
    assert roc_auc_score(test["is_fraud"], trained.predict(input_matrix(test, INPUTS))) > 0.8


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_to_the_bit(trained: TrainedModel, snapshot: Snapshot):
    again = train(snapshot, XGBoost(threads=1), INPUTS, CATALOG, seed=1)
    assert again.model.to_onnx() == trained.model.to_onnx()
    assert (again.calibrator, again.thresholds) == (trained.calibrator, trained.thresholds)


@pytest.mark.slow
def test_another_seed_gives_another_model(trained: TrainedModel, snapshot: Snapshot):
    assert train(snapshot, XGBoost(threads=1), INPUTS, CATALOG, seed=2).model.to_onnx() != trained.model.to_onnx()


@pytest.mark.slow
def test_the_test_rows_have_no_influence(training_set: pl.DataFrame, write, trained: TrainedModel):
    spoilt = training_set.with_columns(
        is_fraud=pl.when(split=pl.lit("test")).then(~pl.col("is_fraud")).otherwise("is_fraud"),
        input_0=pl.when(split=pl.lit("test")).then(pl.lit(1e9, pl.Float32)).otherwise("input_0"),
    )
    again = train(write(spoilt), XGBoost(threads=1), INPUTS, CATALOG, seed=1)
    assert again.model.to_onnx() == trained.model.to_onnx()
    assert (again.calibrator, again.thresholds) == (trained.calibrator, trained.thresholds)
    assert again.reference == trained.reference


@pytest.mark.slow
def test_rounds_after_the_best_are_cut_off(trained: TrainedModel, snapshot: Snapshot):
    best = int(trained.parameters["rounds"])
    fewer = train(snapshot, XGBoost(max_rounds=best + 3, patience=1_000), INPUTS, CATALOG, seed=1)
    assert fewer.model.to_onnx() == trained.model.to_onnx()
    assert best < XGBoost().max_rounds - XGBoost().patience


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_period_without_frauds_is_refused(training_set: pl.DataFrame, write, split: str):
    frame = training_set.with_columns(pl.col("is_fraud") & (pl.col("split") != split))
    with pytest.raises(TrainingError, match=rf"The {split} period, .* has 0 frauds in \d+ rows.*Check `labels`"):
        fit(write(frame))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_period_of_frauds_alone_is_refused(training_set: pl.DataFrame, write, split: str):
    frame = training_set.with_columns(pl.col("is_fraud") | (pl.col("split") == split))
    with pytest.raises(TrainingError, match=rf"The {split} period.*no legitimate row"):
        fit(write(frame))


@pytest.mark.parametrize("rows", [0, 99])
def test_too_few_rows_are_refused_with_the_numbers(training_set: pl.DataFrame, write, rows: int):
    few = pl.concat([training_set.filter(pl.col("split") != "train"), training_set.filter(split="train").head(rows)])
    with pytest.raises(TrainingError, match=rf"in {rows} rows; 100 rows are the least"):
        fit(write(few.sort("event_us", "transaction_id")))


def test_an_all_null_input_is_kept_and_named(training_set: pl.DataFrame, write):
    frame = training_set.with_columns(input_4=pl.lit(None, dtype=pl.Float32))
    result = fit(write(frame))
    assert result.warnings == ("1 of 15 inputs are null in every train row: input_4.",)
    assert result.feature_columns == tuple(INPUTS)


def test_a_constant_input_is_kept_and_named(training_set: pl.DataFrame, write):
    learnt = pl.col("split") == "train"
    frame = training_set.with_columns(input_4=pl.when(~learnt).then("input_4").otherwise(pl.lit(3, pl.Float32)))
    result = fit(write(frame))
    assert result.warnings == ("1 of 15 inputs have one and the same value in every train row: input_4.",)
    assert result.feature_columns == tuple(INPUTS)


def test_an_input_that_is_constant_where_it_is_known_is_not_named(training_set: pl.DataFrame, write):
    """That it is missing is something to learn from."""
    known = pl.when(pl.col("input_4") > 0).then(pl.lit(3, pl.Float32))
    assert fit(write(training_set.with_columns(input_4=known))).warnings == ()


def test_an_infinite_input_is_refused_by_name(training_set: pl.DataFrame, write):
    first = training_set.filter(split="train")["transaction_id"][0]
    infinite = pl.when(transaction_id=pl.lit(first)).then(pl.lit(float("inf"), pl.Float32)).otherwise("input_2")
    with pytest.raises(TrainingError, match=r"infinite inputs: \{'input_2': 1\}"):
        fit(write(training_set.with_columns(input_2=infinite)))


@pytest.mark.parametrize("columns", [[], ["input_0", "elsewhere"]])
def test_inputs_that_the_snapshot_lacks_are_refused(snapshot: Snapshot, columns: list[str]):
    with pytest.raises(TrainingError, match="lacks the inputs"):
        fit(snapshot, columns)


def test_the_matrix_has_nan_for_null_and_the_order_asked_for():
    frame = pl.DataFrame({"a": [1.0, None], "b": [2, 3]})
    matrix = input_matrix(frame, ["b", "a"])
    assert (matrix.dtype, matrix.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(matrix, np.array([[2, 1], [3, np.nan]], dtype=np.float32))


def test_a_single_column_matrix_is_two_dimensional():
    assert input_matrix(pl.DataFrame({"a": [1.0]}), ["a"]).shape == (1, 1)


@pytest.mark.slow
def test_validation_only_stops_the_fit():
    """The trees that are kept are those of a fit that knows no validation rows."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(2_000, 3)).astype(np.float32)
    sample = Sample(inputs, inputs[:, 0] + random.normal(size=2_000) > 1.5)
    other = Sample(inputs[:500], random.random(500) < 0.5)
    longer, shorter = (
        XGBoost(patience=60, max_rounds=60).fit(sample, sample, 1),
        XGBoost(patience=1).fit(sample, other, 1),
    )
    rounds = int(shorter.facts["rounds"])
    assert rounds < int(longer.facts["rounds"])
    np.testing.assert_array_equal(
        longer.booster[:rounds].inplace_predict(inputs), shorter.predict(inputs).astype(np.float32)
    )


def test_threads_are_no_parameter_of_the_model():
    assert replace(QUICK, threads=2).parameters == QUICK.parameters


def test_snapshots_differ_by_content_only(training_set: pl.DataFrame, periods: Periods):
    assert content_hash(training_set, periods) == content_hash(training_set.clone().rechunk(), periods)
    later = replace(periods, as_of=periods.as_of + timedelta(days=1))
    assert content_hash(training_set, later) != content_hash(training_set, periods)
