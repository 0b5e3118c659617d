import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fraud_platform.errors import ArtefactError, RegistryError
from fraud_platform.models import registry
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.dataset import Snapshot
from fraud_platform.models.registry import RegisteredVersion
from fraud_platform_tests.models.conftest import INPUTS

MODEL = "fraud_model"
TAGS = {"dagster_run_id": "run", "catalog_fingerprint": "fingerprint", "source": "synthetic"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'new' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def version(uri: str, saved: Path, snapshot: Snapshot) -> RegisteredVersion:
    """One logged and registered model."""
    with registry.start_run(uri, "fraud", "first", TAGS) as run:
        run.log_parameters({"max_depth": 6})
        run.log_metrics({"roc_auc": 0.9})
        run.log_figures({"roc": b"png"})
        run.log_snapshot(snapshot)
        return run.log_artefact(saved, MODEL, TAGS)


@pytest.fixture
def run(uri: str, version: RegisteredVersion) -> Any:
    import mlflow

    return mlflow.MlflowClient(uri).get_run(version.run_id)


@pytest.mark.slow
def test_a_run_has_its_parameters_metrics_tags_and_status(run: Any):
    assert run.data.params == {"max_depth": "6"}
    assert run.data.metrics == {"roc_auc": 0.9}
    assert TAGS.items() <= run.data.tags.items()
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")


@pytest.mark.slow
def test_a_run_names_its_training_set_by_content(run: Any, snapshot: Snapshot):
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("training_set", snapshot.hash[:16])
    assert json.loads(used.dataset.source)["uri"] == str(snapshot.path)
    assert json.loads(used.dataset.profile)["num_rows"] == snapshot.rows


@pytest.mark.slow
def test_files_lie_beside_the_database(run: Any, folder: Path):
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(folder / "new" / "mlflow_artifacts")
    assert (artifacts / "figures" / "roc.png").read_bytes() == b"png"


@pytest.mark.slow
def test_nothing_is_pickled(version: RegisteredVersion, folder: Path):
    names = [path.name for path in (folder / "new" / "mlflow_artifacts").rglob("*") if path.is_file()]
    assert "model.onnx" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]


@pytest.mark.slow
def test_the_latest_version_is_the_one_registered_last(uri: str, version: RegisteredVersion, saved: Path):
    with registry.start_run(uri, "fraud", "second", TAGS) as opened:
        second = opened.log_artefact(saved, "counted")
    with registry.start_run(uri, "fraud", "third", TAGS) as opened:
        third = opened.log_artefact(saved, "counted")
    assert (second.version, third.version) == (1, 2)
    assert registry.latest_version(uri, "counted") == third
    assert registry.latest_version(uri, MODEL) == version


@pytest.mark.slow
def test_the_champion_is_the_version_that_the_alias_points_at(uri: str, version: RegisteredVersion):
    assert registry.champion(uri, MODEL) is None
    registry.set_alias(uri, MODEL, "champion", version.version)
    assert registry.champion(uri, MODEL) == version
    assert registry.by_alias(uri, MODEL, "challenger") is None


@pytest.mark.slow
def test_a_model_that_was_never_registered_has_no_version(uri: str, version: RegisteredVersion):
    assert (registry.latest_version(uri, "nothing"), registry.champion(uri, "nothing")) == (None, None)


@pytest.mark.slow
def test_an_alias_for_a_version_that_does_not_exist_is_refused(uri: str, version: RegisteredVersion):
    with pytest.raises(RegistryError, match=r"mlflow\.db.*99.*materialize `fraud_model`"):
        registry.set_alias(uri, MODEL, "champion", 99)


@pytest.mark.slow
def test_what_is_downloaded_is_what_was_saved(uri: str, version: RegisteredVersion, saved: Path, tmp_path: Path):
    first = registry.download(uri, version, tmp_path)
    assert first.name == saved.name
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        p.name: p.read_bytes() for p in saved.iterdir()
    }
    assert registry.download(uri, version, tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]


@pytest.mark.slow
def test_a_version_that_does_not_exist_cannot_be_downloaded(uri: str, version: RegisteredVersion, tmp_path: Path):
    with pytest.raises(RegistryError, match="version=99"):
        registry.download(uri, RegisteredVersion(MODEL, 99, "", {}), tmp_path)


@pytest.mark.slow
def test_a_damaged_registry_is_found_on_download(uri: str, saved: Path, folder: Path, tmp_path: Path):
    with registry.start_run(uri, "fraud", "damaged", TAGS) as opened:
        damaged = opened.log_artefact(saved, "damaged")
    descriptions = (folder / "new" / "mlflow_artifacts").rglob("MLmodel")
    (stored,) = (path.parent for path in descriptions if damaged.run_id in path.read_text())
    (stored / "data" / saved.name / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtefactError, match=r"model\.onnx was changed"):
        registry.download(uri, damaged, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_mlflow_loads_the_model_and_predicts_from_a_frame(
    version: RegisteredVersion, uri: str, saved: Path, tmp_path: Path
):
    import mlflow
    import pandas as pd

    matrix = np.array([[np.nan, *range(14)]], dtype=np.float32)
    frame = pd.DataFrame(matrix, columns=INPUTS)[INPUTS[::-1]].assign(other="text")
    source = mlflow.MlflowClient(uri).get_model_version_download_uri(MODEL, str(version.version))
    path = mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path), tracking_uri=uri)
    loaded = mlflow.pyfunc.load_model(path)
    np.testing.assert_array_equal(loaded.predict(frame), Artefact.load(saved).predict(matrix))


@pytest.mark.slow
def test_a_body_that_raises_leaves_a_failed_run_and_its_own_error(uri: str):
    import mlflow

    with pytest.raises(ZeroDivisionError), registry.start_run(uri, "fraud", "broken", TAGS) as opened:
        raise ZeroDivisionError
    assert mlflow.MlflowClient(uri).get_run(opened.id).info.status == "FAILED"
    assert mlflow.active_run() is None


@pytest.mark.slow
def test_a_run_leaves_the_tracking_uri_as_it_was(uri: str, tmp_path: Path):
    import mlflow

    mlflow.set_tracking_uri("sqlite:///elsewhere.db")
    try:
        with registry.start_run(uri, "fraud", "guest", TAGS):
            assert mlflow.get_tracking_uri() == uri
        assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.slow
def test_processes_that_open_a_new_backend_at_once_all_succeed(tmp_path: Path):
    code = "import sys; from fraud_platform.models.registry import champion; assert champion(sys.argv[1], 'm') is None"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'mlflow.db'}"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_is_not_there_is_named_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(RegistryError, match=rf"{closed}.*FRAUD_MLFLOW_TRACKING_URI"):
        registry.champion(closed, MODEL)
    assert time.monotonic() - started < 10


def test_a_server_that_does_not_answer_is_given_up(silent_server: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "CONNECT_SECONDS", 0.1)
    with pytest.raises(RegistryError, match=silent_server):
        registry.latest_version(silent_server, MODEL)


def test_a_database_that_cannot_be_created_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryError, match=r"file/mlflow\.db"):
        registry.champion(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", MODEL)


def test_importing_the_registry_imports_no_mlflow():
    code = "import sys, fraud_platform.models.registry; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
