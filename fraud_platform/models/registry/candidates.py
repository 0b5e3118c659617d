"""Artefact directories in MLflow: stored with a run, registered later, fetched again.

A candidate is stored once, as a logged model of its run. Registering it makes a version that points
at the same files.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from fraud_platform.errors import ArtefactError, RegistryError
from fraud_platform.models.artefact import verify_digests
from fraud_platform.models.dataset import NAME_LENGTH
from fraud_platform.models.registry.connection import connect, default_uri, reaching
from fraud_platform.models.registry.versions import RegisteredVersion, as_registered, read_versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST = "artefact_digest"
"""The tag of a version that names the artefact which it holds."""

LOADER = "fraud_platform.models.registry.loading"
PUT_BACK = "Put its files back, or use another version: `fraud-platform model list`."
SERVING_LIBRARIES = ("onnxruntime", "numpy", "msgspec")


@dataclass(frozen=True)
class Candidate:
    """An artefact that is stored with a run.

    Attributes:
        model_id: MLflow's own name of the stored model.
        digest: of the artefact, SHA-256.
    """

    run_id: str
    model_id: str
    digest: str

    @property
    def model_uri(self) -> str:
        """How MLflow's own functions name the model."""
        return f"models:/{self.model_id}"


def store_candidate(client: "MlflowClient", tracking_uri: str, run_id: str, artefact: Path, name: str) -> Candidate:
    """`Run.log_candidate`."""
    digest = verify_digests(artefact)
    import mlflow
    from mlflow.models import Model

    with reaching(tracking_uri), default_uri(tracking_uri):
        run = client.get_run(run_id)
        # Made here, because MLflow would make it in its default experiment where no run is active.
        stored = client.create_logged_model(
            run.info.experiment_id, name, source_run_id=run_id, tags={DIGEST: digest}, params=run.data.params
        )
        Model.log(
            None,
            mlflow.pyfunc,
            run_id=run_id,
            model_id=stored.model_id,
            loader_module=LOADER,
            data_path=str(artefact),
            pip_requirements=[f"{library}=={installed_version(library)}" for library in SERVING_LIBRARIES],
        )
    return Candidate(run_id, stored.model_id, digest)


def register_candidate(
    tracking_uri: str, candidate: Candidate, name: str, tags: Mapping[str, str] | None = None
) -> RegisteredVersion:
    """Make a candidate the next version of the registered model; the files stay where they are.

    The same artefact again, also from another run, gives the version that exists, as it is.

    Raises:
        RegistryError: if MLflow does not answer or lacks the candidate.
    """
    client = connect(tracking_uri)
    import mlflow

    with reaching(tracking_uri), default_uri(tracking_uri):
        for version in read_versions(client, name):
            if version.tags.get(DIGEST) == candidate.digest:
                return version
        # The tags come with the version in one call: no version is ever without its digest.
        return as_registered(
            mlflow.register_model(candidate.model_uri, name, tags={**(tags or {}), DIGEST: candidate.digest})
        )


def download(tracking_uri: str, model: RegisteredVersion | Candidate, folder: Path) -> Path:
    """Fetch an artefact as `<folder>/<16 hex of its digest>`, verified, whole or not at all.

    Raises:
        RegistryError: if MLflow does not answer, or lacks the version or its files.
        ArtefactError: if what arrives is damaged, or another artefact than the one that was stored.
    """
    client = connect(tracking_uri)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as partial, reaching(tracking_uri):
        source = _source(client, model)
        try:
            fetched = Path(download_artifacts(source, dst_path=partial, tracking_uri=tracking_uri))
            artefact = fetched / Model.load(str(fetched)).flavors["python_function"]["data"]
        except (MlflowException, OSError, KeyError) as error:
            raise RegistryError(
                f"The files of {_words(model)} cannot be read from {source}: {error}. {PUT_BACK}"
            ) from error
        digest = verify_digests(
            artefact,
            place=f"{source.rstrip('/')}/{artefact.relative_to(fetched)}",
            fix=f"{_words(model)} cannot be used. {PUT_BACK}",
        )
        expected = model.digest if isinstance(model, Candidate) else model.tags.get(DIGEST, digest)
        if digest != expected:
            raise ArtefactError(
                f"{_words(model)} at {source} is artefact {digest[:NAME_LENGTH]}, and {expected[:NAME_LENGTH]} was "
                f"stored. {PUT_BACK}"
            )
        target = folder / digest[:NAME_LENGTH]
        if target.exists():
            # Not mended in passing: somebody may want to know where the damage comes from.
            verify_digests(target, fix=f"Delete {target}: MLflow has {_words(model)} whole, and it is fetched again.")
        else:
            shutil.move(artefact, target)
    return target


def _source(client: "MlflowClient", model: RegisteredVersion | Candidate) -> str:
    if isinstance(model, Candidate):
        return client.get_logged_model(model.model_id).artifact_location
    return client.get_model_version_download_uri(model.name, str(model.version))


def _words(model: RegisteredVersion | Candidate) -> str:
    if isinstance(model, Candidate):
        return f"Candidate {model.model_id} of run {model.run_id}"
    return f"Version {model.version} of {model.name}"
