import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fraud_platform.errors import ArtefactError, RegistryError
from fraud_platform.models import registry
from fraud_platform.models.artefact import Artefact, verify_digests
from fraud_platform.models.registry import Candidate, RegisteredVersion
from fraud_platform_tests.models.conftest import INPUTS
from fraud_platform_tests.models.registry.conftest import TAGS, variant

pytestmark = pytest.mark.slow

MODEL = "fraud_model"


def stored(uri: str, artefact: Path, name: str = "xgboost") -> Candidate:
    with registry.start_run(uri, "candidates", name, TAGS) as run:
        run.log({"max_depth": 6}, {"roc_auc": 0.9})
        return run.log_candidate(artefact, name)


@pytest.fixture(scope="module")
def candidate(uri: str, saved: Path) -> Candidate:
    return stored(uri, saved)


@pytest.fixture(scope="module")
def version(uri: str, candidate: Candidate) -> RegisteredVersion:
    return registry.register_candidate(uri, candidate, MODEL, TAGS | {"algorithm": "xgboost"})


def files_of(candidate: Candidate, folder: Path) -> Path:
    (description,) = (
        path for path in (folder / "new").rglob("MLmodel") if f"model_id: {candidate.model_id}" in path.read_text()
    )
    return description.parent


def test_a_candidate_belongs_to_its_run_and_is_not_registered(uri: str, saved: Path, mlflow_client: Any):
    found = stored(uri, saved, "alone")
    model = mlflow_client.get_logged_model(found.model_id)
    run = mlflow_client.get_run(found.run_id)
    assert (model.name, model.source_run_id, model.experiment_id) == ("alone", found.run_id, run.info.experiment_id)
    assert (str(model.status), model.params, found.digest) == ("READY", {"max_depth": "6"}, verify_digests(saved))
    assert [output.model_id for output in run.outputs.model_outputs] == [found.model_id]
    assert [(metric.key, metric.value) for metric in model.metrics] == [("roc_auc", 0.9)]
    assert mlflow_client.search_registered_models("name = 'alone'") == []


def test_nothing_is_pickled(candidate: Candidate, folder: Path):
    names = [path.name for path in files_of(candidate, folder).rglob("*") if path.is_file()]
    assert "model.onnx" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]


def test_a_version_points_at_the_files_of_its_candidate(
    uri: str, version: RegisteredVersion, candidate: Candidate, folder: Path, mlflow_client: Any
):
    source = mlflow_client.get_model_version_download_uri(MODEL, str(version.version))
    assert Path(source.removeprefix("file://")) == files_of(candidate, folder)
    assert version.run_id == candidate.run_id
    assert version.tags == TAGS | {"algorithm": "xgboost", "artefact_digest": candidate.digest}


def test_the_same_artefact_is_registered_once(uri: str, version: RegisteredVersion, saved: Path):
    again = registry.register_candidate(uri, stored(uri, saved, "again"), MODEL, {"algorithm": "other"})
    assert again == version
    assert [found.version for found in registry.versions(uri, MODEL)] == [version.version]


def test_another_artefact_is_the_next_version(uri: str, saved: Path, tmp_path: Path):
    first = registry.register_candidate(uri, stored(uri, saved), "counted")
    second = registry.register_candidate(uri, stored(uri, variant(saved, tmp_path / "v", seed=99)), "counted")
    assert (first.version, second.version) == (1, 2)
    assert registry.latest_version(uri, "counted") == second


def test_what_is_downloaded_is_what_was_saved(
    uri: str, version: RegisteredVersion, candidate: Candidate, saved: Path, tmp_path: Path
):
    first = registry.download(uri, version, tmp_path)
    assert first.name == saved.name
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        p.name: p.read_bytes() for p in saved.iterdir()
    }
    assert registry.download(uri, candidate, tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]


def test_a_version_that_does_not_exist_cannot_be_downloaded(uri: str, version: RegisteredVersion, tmp_path: Path):
    with pytest.raises(RegistryError, match="version=99"):
        registry.download(uri, RegisteredVersion(MODEL, 99, "", {}), tmp_path)


def test_a_candidate_that_does_not_exist_can_be_neither_registered_nor_downloaded(uri: str, tmp_path: Path):
    missing = Candidate("0" * 32, "m-" + "0" * 32, "digest")
    with pytest.raises(RegistryError, match=missing.model_id):
        registry.register_candidate(uri, missing, "missing")
    with pytest.raises(RegistryError, match=missing.model_id):
        registry.download(uri, missing, tmp_path)


def test_a_damaged_directory_is_not_stored(uri: str, saved: Path, tmp_path: Path, mlflow_client: Any):
    damaged = tmp_path / "damaged"
    shutil.copytree(saved, damaged)
    (damaged / "model.onnx").write_bytes(b"damaged")
    with (
        pytest.raises(ArtefactError, match=r"model\.onnx was changed"),
        registry.start_run(uri, "fraud", "damaged", TAGS) as run,
    ):
        run.log_candidate(damaged, "damaged")
    assert mlflow_client.get_run(run.id).outputs.model_outputs == []


def test_a_damaged_registry_is_found_on_download(uri: str, saved: Path, folder: Path, tmp_path: Path):
    damaged = stored(uri, saved, "damaged")
    (files_of(damaged, folder) / "data" / saved.name / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtefactError, match=r"model\.onnx was changed"):
        registry.download(uri, damaged, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_sound_artefact_in_its_place_is_found_on_download(uri: str, saved: Path, folder: Path, tmp_path: Path):
    swapped = stored(uri, saved, "swapped")
    place = files_of(swapped, folder) / "data" / saved.name
    shutil.rmtree(place)
    variant(saved, place, seed=7)
    with pytest.raises(ArtefactError, match=rf"{saved.name} was stored"):
        registry.download(uri, swapped, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_files_that_are_gone_are_named(uri: str, saved: Path, folder: Path, tmp_path: Path):
    gone = registry.register_candidate(uri, lost := stored(uri, saved, "gone"), "gone")
    shutil.rmtree(files_of(lost, folder))
    with pytest.raises(RegistryError, match=r"Version 1 of gone cannot be read from"):
        registry.download(uri, gone, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_mlflow_loads_the_model_and_predicts_from_a_frame(
    version: RegisteredVersion, uri: str, saved: Path, tmp_path: Path, mlflow_client: Any
):
    import mlflow
    import pandas as pd

    matrix = np.array([[np.nan, *range(14)]], dtype=np.float32)
    frame = pd.DataFrame(matrix, columns=INPUTS)[INPUTS[::-1]].assign(other="text")
    source = mlflow_client.get_model_version_download_uri(MODEL, str(version.version))
    path = mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path), tracking_uri=uri)
    loaded = mlflow.pyfunc.load_model(path)
    np.testing.assert_array_equal(loaded.predict(frame), Artefact.load(saved).predict(matrix))
