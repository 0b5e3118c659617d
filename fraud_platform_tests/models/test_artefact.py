import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fraud_platform.errors import ArtefactError
from fraud_platform.models.algorithms import Matrix, Sample
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform.models.artefact import CARD_FILE, CHUNK_ROWS, Artefact, save, verify_digests
from fraud_platform.models.dataset import Snapshot
from fraud_platform.models.evaluation import Evaluation, evaluate_split
from fraud_platform.models.training import TrainedModel, input_matrix
from fraud_platform.models.verification import verify_onnx
from fraud_platform_tests.models.conftest import CATALOG, INPUTS

# A real model is trained, converted and saved first, which takes longer than all of these tests.
pytestmark = pytest.mark.slow

FILES = ["SHA256SUMS", "explanation.npz", "model.json", "model.onnx", "model.ubj"]


@pytest.fixture(scope="module")
def artefact(saved: Path) -> Artefact:
    return Artefact.load(saved)


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def rows(snapshot: Snapshot) -> Matrix:
    return input_matrix(snapshot.read("test"), INPUTS)


def test_the_directory_holds_its_files_and_is_named_by_its_digest(saved: Path):
    assert sorted(path.name for path in saved.iterdir()) == FILES
    assert saved.name == verify_digests(saved)[:16]


def test_sha256sum_agrees(saved: Path):
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=saved, check=True, capture_output=True)


def test_the_card_says_where_the_model_comes_from(artefact: Artefact, trained: TrainedModel, snapshot: Snapshot):
    card = artefact.card
    assert card.feature_columns == tuple(INPUTS)
    assert (card.calibrator, card.thresholds) == (trained.calibrator, trained.thresholds)
    assert card.importance == tuple(trained.model.importance())
    assert card.snapshot_hash == snapshot.hash
    assert (card.catalog, card.source) == (CATALOG, "synthetic")
    assert card.periods["as_of"] == snapshot.periods.as_of.isoformat()
    assert card.splits["train"]["rows"] == snapshot.splits["train"].rows
    assert msgspec.convert(card.evaluation, Evaluation) == evaluate_split(snapshot, trained)
    assert card.reference == trained.reference
    assert {"xgboost", "onnxruntime"} <= set(card.libraries)


def test_saving_again_gives_the_same_directory(trained: TrainedModel, snapshot: Snapshot, saved: Path):
    before = (saved / CARD_FILE).stat().st_mtime_ns
    assert save(trained, evaluate_split(snapshot, trained), saved.parent) == saved
    assert (saved / CARD_FILE).stat().st_mtime_ns == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_onnx_is_the_native_model_missing_values_included(artefact: Artefact, trained: TrainedModel):
    assert verify_onnx(trained, artefact) <= 1e-6


@pytest.mark.parametrize("base_score", [0.5, 0.01])
def test_onnx_agrees_on_the_split_values_themselves(base_score: float):
    """Where an input equals a split value, `<` and `<=` part; so does a float32 read as float64."""
    import onnxruntime

    random = np.random.default_rng(5)
    inputs = (random.integers(0, 50, (3_000, 4)) / 10).astype(np.float32)
    inputs[random.random(inputs.shape) < 0.2] = np.nan
    sample = Sample(inputs, np.nan_to_num(inputs[:, 0]) + random.normal(size=3_000) > 4)
    model = XGBoost(max_rounds=30, base_score=base_score).fit(sample, sample, 1)
    splits = model.booster.trees_to_dataframe().dropna(subset=["Split"])["Split"].to_numpy(dtype=np.float32)
    at_splits = np.repeat(splits[:, None], 4, axis=1)
    session = onnxruntime.InferenceSession(model.to_onnx(), providers=["CPUExecutionProvider"])
    for near in (at_splits, np.nextafter(at_splits, np.float32(-9)), np.nextafter(at_splits, np.float32(9))):
        served = session.run(["probabilities"], {"inputs": near})[0][:, 1]
        np.testing.assert_allclose(served, model.predict(near), rtol=0, atol=1e-6)


def test_another_model_is_found_out(artefact: Artefact, trained: TrainedModel, snapshot: Snapshot):
    random = np.random.default_rng(0)
    inputs = rows(snapshot)
    other = XGBoost(max_rounds=5).fit(*[Sample(inputs, random.random(len(inputs)) < 0.3)] * 2, seed=1)
    with pytest.raises(ArtefactError, match=r"model\.onnx is not the native model"):
        verify_onnx(replace(trained, model=other), artefact)


def test_a_failed_verification_leaves_nothing(trained: TrainedModel, snapshot: Snapshot, tmp_path: Path):
    class Wrong:
        file_name = trained.model.file_name
        facts = trained.model.facts
        importance = staticmethod(trained.model.importance)
        to_onnx = staticmethod(trained.model.to_onnx)
        save = staticmethod(trained.model.save)

        def predict(self, inputs: Matrix) -> np.ndarray:
            return np.full(len(inputs), np.nan)

    with pytest.raises(ArtefactError, match="is not the native model"):
        save(replace(trained, model=Wrong()), evaluate_split(snapshot, trained), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_row_at_a_time_equals_the_batch(artefact: Artefact, snapshot: Snapshot):
    matrix = rows(snapshot)[:200]
    single = np.concatenate([artefact.predict(matrix[number : number + 1]) for number in range(len(matrix))])
    np.testing.assert_allclose(single, artefact.predict(matrix), rtol=0, atol=1e-7)


def test_chunks_give_what_rows_give(artefact: Artefact, snapshot: Snapshot):
    matrix = rows(snapshot)
    many = np.resize(matrix, (CHUNK_ROWS + 100, matrix.shape[1])).astype(np.float32)
    scores = artefact.predict(many)
    assert (scores.dtype, scores.shape) == (np.float64, (len(many),))
    np.testing.assert_allclose(scores[-100:], artefact.predict(many[-100:]), rtol=0, atol=1e-7)


def test_no_rows_give_no_scores(artefact: Artefact):
    assert artefact.predict(np.empty((0, len(INPUTS)), dtype=np.float32)).shape == (0,)


def test_a_row_of_missing_values_has_a_score(artefact: Artefact):
    score = artefact.predict(np.full((1, len(INPUTS)), np.nan, dtype=np.float32))
    assert 0 < score[0] < 1


def test_a_matrix_in_column_order_is_read_right(artefact: Artefact, snapshot: Snapshot):
    matrix = rows(snapshot)[:50]
    np.testing.assert_array_equal(artefact.predict(np.asfortranarray(matrix)), artefact.predict(matrix))


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((1, 15)), np.zeros((1, 14), np.float32), np.zeros(15, np.float32)],
    ids=["float64", "too narrow", "one dimension"],
)
def test_a_matrix_of_another_kind_is_refused(artefact: Artefact, matrix: np.ndarray):
    with pytest.raises(ArtefactError, match=r"takes float32 \(n, 15\)"):
        artefact.predict(matrix)


def test_threads_may_share_an_artefact(artefact: Artefact, snapshot: Snapshot):
    matrix = rows(snapshot)
    expected = artefact.predict(matrix)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(artefact.predict, [matrix] * 20):
            np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str):
    (copy / name).unlink()
    with pytest.raises(ArtefactError, match=name):
        Artefact.load(copy)


@pytest.mark.parametrize("name", ["explanation.npz", "model.json", "model.onnx", "model.ubj"])
def test_a_changed_file_is_named(copy: Path, name: str):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"{name} was changed"):
        Artefact.load(copy)


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(ArtefactError, match="nowhere"):
        Artefact.load(tmp_path / "nowhere")


def rewrite_card(path: Path, change: dict) -> None:
    """A card that was changed together with its digest, as another version of the code would write it."""
    import hashlib

    old = (path / CARD_FILE).read_bytes()
    new = json.dumps(json.loads(old) | change).encode()
    (path / CARD_FILE).write_bytes(new)
    sums = (path / "SHA256SUMS").read_text()
    digests = [hashlib.sha256(content).hexdigest() for content in (old, new)]
    (path / "SHA256SUMS").write_text(sums.replace(digests[0], digests[1]))


def test_another_format_version_is_refused(copy: Path):
    rewrite_card(copy, {"format_version": 99})
    with pytest.raises(ArtefactError, match="format version 99 and this code reads 3"):
        Artefact.load(copy)


def test_a_card_with_too_few_columns_is_refused(copy: Path):
    rewrite_card(copy, {"feature_columns": INPUTS[:-1]})
    with pytest.raises(ArtefactError, match=r"takes 15 inputs and model\.json lists 14"):
        Artefact.load(copy)


def test_serving_imports_nothing_that_trains(saved: Path):
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from fraud_platform.models.artefact import Artefact\n"
        f"Artefact.load(Path({str(saved)!r})).predict(np.zeros((1, {len(INPUTS)}), np.float32))\n"
        "heavy = {'xgboost', 'sklearn', 'scipy', 'mlflow', 'onnx', 'onnxmltools', 'skl2onnx', 'dagster', 'matplotlib',"
        " 'pandas', 'polars', 'duckdb'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
