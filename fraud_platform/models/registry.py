"""MLflow: runs, and versions of the registered model. The only module that imports mlflow.

A version holds an artefact directory as it is, through MLflow's loader-module flavour, so that
nothing is pickled.
"""

import fcntl
import json
import logging
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import RegistryError
from fraud_platform.models.artefact import Artefact, verify_digests
from fraud_platform.models.dataset import NAME_LENGTH, Snapshot

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

CHAMPION = "champion"
CONNECT_SECONDS = 5.0
SQLITE = "sqlite:///"
SERVING_LIBRARIES = ("onnxruntime", "numpy", "msgspec")


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: int
    run_id: str
    tags: dict[str, str]


class Run:
    """An open MLflow run."""

    def __init__(self, client: "MlflowClient", tracking_uri: str, run_id: str) -> None:
        self.id = run_id
        self._client = client
        self._tracking_uri = tracking_uri

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record each parameter once; a value cannot be changed."""
        with _reaching(self._tracking_uri):
            for name, value in parameters.items():
                self._client.log_param(self.id, name, value)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record figures, such as `Evaluation.metrics`."""
        with _reaching(self._tracking_uri):
            for name, value in metrics.items():
                self._client.log_metric(self.id, name, value)

    def log_figures(self, figures: Mapping[str, bytes]) -> None:
        """Store PNG bytes as `figures/<name>.png`."""
        with tempfile.TemporaryDirectory() as folder, _reaching(self._tracking_uri):
            for name, png in figures.items():
                (Path(folder) / f"{name}.png").write_bytes(png)
            self._client.log_artifacts(self.id, folder, "figures")

    def log_snapshot(self, snapshot: Snapshot, name: str = "training_set") -> None:
        """Record the training set as the run's dataset: its digest is the head of the content hash."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=snapshot.hash[:NAME_LENGTH],
            source_type="local",
            source=json.dumps({"uri": str(snapshot.path.resolve())}),
            profile=json.dumps({"num_rows": snapshot.rows, "frauds": snapshot.frauds}),
        )
        with _reaching(self._tracking_uri):
            self._client.log_inputs(self.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def log_artefact(self, artefact: Path, name: str, tags: Mapping[str, str] | None = None) -> RegisteredVersion:
        """Store an artefact directory with the run and register it as the next version of `name`."""
        import mlflow

        with _reaching(self._tracking_uri):
            info = mlflow.pyfunc.log_model(
                name=name,
                loader_module=__name__,
                data_path=str(artefact),
                pip_requirements=[f"{library}=={installed_version(library)}" for library in SERVING_LIBRARIES],
                registered_model_name=name,
            )
            number = str(info.registered_model_version)
            for key, value in (tags or {}).items():
                self._client.set_model_version_tag(name, number, key, value)
        return RegisteredVersion(name, int(number), self.id, dict(tags or {}))


@contextmanager
def start_run(
    tracking_uri: str, experiment: str, run_name: str, tags: Mapping[str, str], artifact_location: str | None = None
) -> Iterator[Run]:
    """Open a run; it ends FINISHED, or FAILED where the body raises.

    Args:
        experiment: created on first use.
        tags: dagster_run_id, snapshot_hash, catalog_fingerprint, source …
        artifact_location: where a new experiment keeps its files; default: beside a SQLite file,
            else as the server decides.

    Raises:
        RegistryError: if MLflow does not answer.
    """
    client = _client(tracking_uri)
    import mlflow

    # Left unset where it was unset: MLflow's default would be a SQLite file in the working directory.
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(tracking_uri)
    try:
        with _reaching(tracking_uri):
            found = client.get_experiment_by_name(experiment)
            location = artifact_location or _beside(tracking_uri)
            experiment_id = found.experiment_id if found else client.create_experiment(experiment, location)
            opened = mlflow.start_run(experiment_id=experiment_id, run_name=run_name, tags=dict(tags))
        with opened as run:
            yield Run(client, tracking_uri, run.info.run_id)
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


def set_alias(tracking_uri: str, name: str, alias: str, version: int) -> None:
    """Point `alias` (champion, challenger) at a version; an alias points at one version at a time.

    Raises:
        RegistryError: if there is no such version.
    """
    client = _client(tracking_uri)
    with _reaching(tracking_uri):
        client.set_registered_model_alias(name, alias, str(version))


def by_alias(tracking_uri: str, name: str, alias: str) -> RegisteredVersion | None:
    """The version that `alias` points at, or None where the model or the alias does not exist."""
    client = _client(tracking_uri)
    with _reaching(tracking_uri):
        number = _aliases(client, name).get(alias)
        return None if number is None else _registered(client.get_model_version(name, number))


def champion(tracking_uri: str, name: str) -> RegisteredVersion | None:
    """The version that serves, or None before the first promotion."""
    return by_alias(tracking_uri, name, CHAMPION)


def require_latest(tracking_uri: str, name: str) -> RegisteredVersion:
    """`latest_version`, where there must be one.

    Raises:
        RegistryError: before the first training.
    """
    version = latest_version(tracking_uri, name)
    if version is None:
        raise RegistryError(
            f"No model {name} is registered in MLflow at {tracking_uri}. Materialize `fraud_model` first."
        )
    return version


def open_run(tracking_uri: str, run_id: str) -> Run:
    """A run that exists, to add figures and metrics to; its status stays as it is.

    Raises:
        RegistryError: if MLflow does not answer.
    """
    return Run(_client(tracking_uri), tracking_uri, run_id)


def latest_version(tracking_uri: str, name: str) -> RegisteredVersion | None:
    """The version with the highest number, or None before the first training."""
    client = _client(tracking_uri)
    with _reaching(tracking_uri):
        versions = client.search_model_versions(f"name = '{name}'", max_results=1, order_by=["version_number DESC"])
        return _registered(versions[0]) if versions else None


def download(tracking_uri: str, version: RegisteredVersion, folder: Path) -> Path:
    """Fetch the artefact of a version as `<folder>/<16 hex of its digest>`, verified, whole or not at all.

    Raises:
        RegistryError: if MLflow does not answer or lacks the version.
        ArtefactError: if what arrives is damaged.
    """
    client = _client(tracking_uri)
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as partial, _reaching(tracking_uri):
        source = client.get_model_version_download_uri(version.name, str(version.version))
        fetched = Path(download_artifacts(source, dst_path=partial, tracking_uri=tracking_uri))
        artefact = fetched / Model.load(str(fetched)).flavors["python_function"]["data"]
        target = folder / verify_digests(artefact)[:NAME_LENGTH]
        if target.exists():
            verify_digests(target)
        else:
            shutil.move(artefact, target)
    return target


class _PyfuncModel:
    """What `mlflow.pyfunc.load_model` wraps: a frame of the input columns in, probabilities out."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact

    def predict(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        inputs = frame[list(self.artefact.card.feature_columns)].to_numpy(dtype=np.float32, na_value=np.nan)
        return self.artefact.predict(np.ascontiguousarray(inputs))


def _load_pyfunc(path: str) -> _PyfuncModel:
    """Called by MLflow with the artefact directory. Needs this package to be importable."""
    return _PyfuncModel(Artefact.load(Path(path)))


def _client(tracking_uri: str) -> "MlflowClient":
    # Before the import: MLflow reads these when it is loaded.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if tracking_uri.startswith(("http://", "https://")):
        _check_server(tracking_uri)
    import mlflow

    # It announces every table, model and version on stderr; Dagster's log and metadata say the same.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with _reaching(tracking_uri), _first_use(tracking_uri):
        return mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)


def _check_server(tracking_uri: str) -> None:
    """Fail in seconds: MLflow itself retries an address that does not answer for minutes."""
    try:
        with urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=CONNECT_SECONDS):
            return
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in is for MLflow to say
    except OSError as error:
        raise _unreachable(tracking_uri, error) from error


@contextmanager
def _first_use(tracking_uri: str) -> Iterator[None]:
    """One process at a time opens a SQLite backend: two that create its tables at once break each other."""
    database = _sqlite_file(tracking_uri)
    if database is None:
        yield
        return
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = database.with_name(database.name + ".lock").open("w")
    except OSError as error:
        raise _unreachable(tracking_uri, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sqlite_file(tracking_uri: str) -> Path | None:
    return Path(tracking_uri.removeprefix(SQLITE)) if tracking_uri.startswith(SQLITE) else None


def _beside(tracking_uri: str) -> str | None:
    database = _sqlite_file(tracking_uri)
    return None if database is None else (database.resolve().parent / "mlflow_artifacts").as_uri()


@contextmanager
def _reaching(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's errors into ours, with the address and the fix."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise _unreachable(tracking_uri, error) from error


def _unreachable(tracking_uri: str, error: Exception) -> RegistryError:
    return RegistryError(
        f"MLflow at {tracking_uri} did not do what was asked: {error}. If it does not answer, start it or correct "
        "FRAUD_MLFLOW_TRACKING_URI (unset: a SQLite file in the warehouse); if the model is missing, materialize "
        "`fraud_model`."
    )


def _aliases(client: "MlflowClient", name: str) -> dict[str, str]:
    """alias -> version number; empty where the model does not exist."""
    models = client.search_registered_models(f"name = '{name}'", max_results=1)
    return {alias: str(number) for alias, number in models[0].aliases.items()} if models else {}


def _registered(found: Any) -> RegisteredVersion:
    return RegisteredVersion(found.name, int(found.version), str(found.run_id), dict(found.tags))
