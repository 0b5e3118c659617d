"""Contributions of every algorithm: what they add up to, and what is refused."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from fraud_platform.errors import ArtefactError
from fraud_platform.models.additive import LinearMember, Member, Shares, TreeMember, read_members, write_members
from fraud_platform.models.algorithms import Algorithm, FittedModel, Matrix, Sample
from fraud_platform.models.algorithms.isolation_forest import IsolationForest
from fraud_platform.models.algorithms.lightgbm import LightGBM
from fraud_platform.models.algorithms.logistic_regression import LogisticRegression
from fraud_platform.models.algorithms.random_forest import RandomForest
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.calibration import Calibrator
from fraud_platform.models.dataset import Snapshot
from fraud_platform.models.explanation import Explainer, carried
from fraud_platform.models.onnx_members import explained, members_of
from fraud_platform.models.training import TrainedModel, input_matrix
from fraud_platform.models.verification import verify_explanation
from fraud_platform_tests.models.algorithms.test_algorithms import SMALL, TRAIN, UNSEEN, VALIDATION
from fraud_platform_tests.models.conftest import INPUTS
from fraud_platform_tests.models.explained_models import WIDTH, members, with_nothing

CALIBRATORS = {
    "sigmoid": Calibrator("sigmoid", slope=1.3, intercept=0.4),
    "isotonic": Calibrator("isotonic", scores=(0.1, 0.3, 0.6), probabilities=(0.0, 0.2, 0.9)),
    "none": Calibrator(),
}


def explainer(
    parts: Sequence[Member], calibrator: Calibrator = CALIBRATORS["sigmoid"], width: int = WIDTH
) -> Explainer:
    return Explainer(tuple(f"input_{number}" for number in range(width)), parts, calibrator)


def served(model: FittedModel, rows: Matrix, calibrator: Calibrator = CALIBRATORS["sigmoid"]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.to_onnx(), providers=["CPUExecutionProvider"])
    return calibrator(session.run(["probabilities"], {"inputs": rows})[0][:, 1].astype(np.float64))


def added_up(of: Explainer, rows: Matrix) -> np.ndarray:
    return np.array([base + values.sum() for base, values in map(of.contributions, rows)])


@pytest.mark.parametrize("calibrator", CALIBRATORS.values(), ids=CALIBRATORS)
@pytest.mark.parametrize("name", [*SMALL, "soft_voting"])
def test_parts_add_up_to_the_probability(fitted: dict[str, FittedModel], name: str, calibrator: Calibrator) -> None:
    rows = with_nothing(UNSEEN.inputs[:300])
    sums = added_up(explainer(members(fitted[name]), calibrator), rows)
    np.testing.assert_allclose(sums, served(fitted[name], rows, calibrator), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [*SMALL, "soft_voting"])
def test_rows_on_a_split_are_explained_as_they_are_scored(fitted: dict[str, FittedModel], name: str) -> None:
    rows = TRAIN.inputs[:200]  # splits lie next to values of the train rows
    for towards in (-np.inf, np.inf):
        moved = np.nextafter(rows, np.float32(towards))
        np.testing.assert_allclose(
            added_up(explainer(members(fitted[name])), moved), served(fitted[name], moved), atol=1e-6
        )


def test_parts_add_up_exactly_to_a_probability_that_is_given(fitted: dict[str, FittedModel]) -> None:
    of, row = explainer(members(fitted["soft_voting"])), UNSEEN.inputs[0]
    probability = float(served(fitted["soft_voting"], row[np.newaxis])[0])
    base, values = of.contributions(row, probability)
    assert base + values.sum() == pytest.approx(probability, abs=1e-15)
    np.testing.assert_array_equal(values, of.contributions(row).values)


def constant(value: float) -> Sample:
    """Rows that nothing can be learnt from."""
    return Sample(np.full_like(TRAIN.inputs, value), TRAIN.labels)


UGLY: dict[str, tuple[Algorithm, Sample]] = {
    "xgboost stumps": (XGBoost(max_rounds=5, max_depth=1, patience=0, threads=1), TRAIN),
    "lightgbm stumps": (LightGBM(max_rounds=5, num_leaves=2, patience=0, threads=1), TRAIN),
    "forest of stumps": (RandomForest(trees=5, max_depth=1, threads=1), TRAIN),
    "one tree": (RandomForest(trees=1, threads=1), TRAIN),
    "isolation in two rows": (IsolationForest(trees=5, rows_a_tree=2, threads=1), TRAIN),
    "xgboost leaves": (XGBoost(max_rounds=3, patience=0, threads=1), constant(1.0)),
    "lightgbm leaves": (LightGBM(max_rounds=3, patience=0, threads=1), constant(1.0)),
    "forest of leaves": (RandomForest(trees=3, threads=1), constant(1.0)),
    "logistic regression of one row": (LogisticRegression(), constant(1.0)),
    "everything missing": (XGBoost(max_rounds=3, patience=0, threads=1), constant(np.nan)),
    "one fraud": (RandomForest(trees=5, threads=1), Sample(TRAIN.inputs, np.arange(len(TRAIN.labels)) == 7)),
    "another prior": (XGBoost(max_rounds=5, base_score=0.01, patience=0, threads=1), TRAIN),
}


def test_a_calibration_that_jumps_at_the_score_is_no_obstacle(fitted: dict[str, FittedModel]) -> None:
    """The graph's float32 may be on one side and the explanation's double on the other."""
    row = UNSEEN.inputs[0]
    score = float(served(fitted["xgboost"], row[np.newaxis], Calibrator())[0])
    calibrator = Calibrator("isotonic", scores=(0.0, score - 1e-9, score + 1e-9), probabilities=(0.0, 0.1, 0.9))
    of = explainer(members(fitted["xgboost"]), calibrator)
    parts = of.score_parts(row)
    assert parts.base + parts.values.sum() == pytest.approx(score, abs=1e-6)
    for probability in (0.1, 0.9):
        base, values = of.contributions(row, probability)
        assert np.isfinite(values).all() and base + values.sum() == pytest.approx(probability, abs=1e-15)


@pytest.mark.parametrize(("algorithm", "sample"), UGLY.values(), ids=UGLY)
def test_models_that_learnt_little_are_explained_too(algorithm: Algorithm, sample: Sample) -> None:
    model = algorithm.fit(sample, VALIDATION, seed=1)
    rows = with_nothing(UNSEEN.inputs[:50])
    of = explainer(members(model, sample.inputs))
    np.testing.assert_allclose(added_up(of, rows), served(model, rows), rtol=1e-6, atol=1e-6)


def test_a_model_of_rows_that_no_train_row_is_like_is_explained(fitted: dict[str, FittedModel]) -> None:
    """Covers of one row: most nodes are reached by none."""
    of = explainer(members(fitted["xgboost"], TRAIN.inputs[:1]))
    np.testing.assert_allclose(
        added_up(of, UNSEEN.inputs[:50]), served(fitted["xgboost"], UNSEEN.inputs[:50]), atol=1e-6
    )


def test_the_input_that_decides_weighs_most_and_an_empty_one_nothing(fitted: dict[str, FittedModel]) -> None:
    """`sample` in the tests of the algorithms: 0 and 1 decide, 5 is always missing."""
    frauds = UNSEEN.inputs[UNSEEN.labels][:200]
    for name in [*SMALL, "soft_voting"]:
        of = explainer(members(fitted[name]))
        mean = np.mean([of.contributions(row).values for row in frauds], axis=0)
        assert mean[5] == pytest.approx(0, abs=1e-12)
        if name != "isolation_forest":
            assert set(np.argsort(mean)[-2:]) == {0, 1} and mean[1] > 0


@pytest.mark.parametrize(
    ("parts", "function", "expected"),
    [
        ([0.0, 0.0], np.exp, [0.0, 0.0]),
        ([1.0, -1.0], lambda total: 3 * total, [3.0, -3.0]),  # they cancel out: the slope
        ([1.0, -1.0], lambda total: -3 * total, [-3.0, 3.0]),
        ([2.0, 1.0], lambda total: total**2, [10.0, 5.0]),  # from 1 to 16 by 3: 5 for each
        ([2.0, 1.0], lambda total: 0.25, [0.0, 0.0]),
    ],
    ids=["nothing", "cancelling", "cancelling and falling", "by one factor", "flat"],
)
def test_parts_are_carried_through_a_function_in_their_proportions(parts, function, expected) -> None:
    base, values = carried(Shares(1.0, np.array(parts)), function)
    assert base == function(1.0)
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize(
    "vector", [np.zeros(WIDTH), np.zeros(WIDTH - 1, np.float32), np.zeros((1, WIDTH), np.float32)], ids=str
)
def test_a_vector_of_another_kind_is_refused(fitted: dict[str, FittedModel], vector: np.ndarray) -> None:
    with pytest.raises(ArtefactError, match=r"reasons are of float32 \(8,\)"):
        explainer(members(fitted["xgboost"])).contributions(vector)


def test_a_graph_that_is_neither_trees_nor_linear_is_refused() -> None:
    from onnx import TensorProto, helper

    one = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["inputs"], ["probabilities"])],
        "other",
        [one("inputs", TensorProto.FLOAT, [None, 2])],
        [one("probabilities", TensorProto.FLOAT, [None, 2])],
    )
    with pytest.raises(ArtefactError, match="made of Tanh"):
        members_of(helper.make_model(graph).SerializeToString())


def test_averages_are_over_train_rows_evenly_over_time(
    fitted: dict[str, FittedModel], snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fraud_platform.models.onnx_members.MOST_ROWS", 50)
    columns = INPUTS[:WIDTH]
    (member,) = explained(fitted["logistic_regression"].to_onnx(), snapshot, columns)
    rows = input_matrix(snapshot.read("train"), columns)
    every_kth = rows[np.linspace(0, len(rows) - 1, 50).astype(int)]
    (expected,) = members(fitted["logistic_regression"], every_kth)
    assert isinstance(member, LinearMember) and isinstance(expected, LinearMember)
    np.testing.assert_array_equal(member.means, expected.means)


@pytest.mark.slow
def test_an_artefact_is_explained_as_it_scores(saved: Path, trained: TrainedModel, snapshot: Snapshot) -> None:
    artefact, of = Artefact.load(saved), Explainer.load(saved)
    rows = input_matrix(snapshot.read("test"), INPUTS)[:100]
    assert of.feature_columns == tuple(INPUTS)
    np.testing.assert_allclose(added_up(of, rows), artefact.predict(rows), atol=1e-6)
    assert verify_explanation(trained, artefact) < 1e-6


@pytest.mark.slow
def test_an_explanation_of_another_model_is_found_out(saved: Path, trained: TrainedModel, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    file = copy / "explanation.npz"
    before = sha256(file.read_bytes()).hexdigest()
    (member,) = read_members(file, len(INPUTS))
    assert isinstance(member, TreeMember)
    write_members([TreeMember(member.trees, member.base + 0.01, member.fill, member.link)], file)
    sums = (copy / "SHA256SUMS").read_text()
    (copy / "SHA256SUMS").write_text(sums.replace(before, sha256(file.read_bytes()).hexdigest()))
    with pytest.raises(ArtefactError, match=r"explanation\.npz does not explain model\.onnx"):
        verify_explanation(trained, Artefact.load(copy))


@pytest.mark.slow
def test_a_changed_file_is_named(saved: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    with (copy / "explanation.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtefactError, match=r"explanation\.npz was changed"):
        Explainer.load(copy)


@pytest.mark.slow
def test_explaining_imports_nothing_that_trains(saved: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from fraud_platform.models.explanation import Explainer\n"
        f"Explainer.load(Path({str(saved)!r})).contributions(np.zeros({len(INPUTS)}, np.float32))\n"
        "heavy = {'xgboost', 'lightgbm', 'sklearn', 'mlflow', 'onnx', 'onnxruntime', 'onnxmltools', 'skl2onnx',"
        " 'dagster', 'matplotlib', 'pandas', 'polars', 'duckdb'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
