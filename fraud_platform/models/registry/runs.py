"""Runs, and runs nested below them: parameters, figures, files and data sets, as the MLflow UI shows them."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fraud_platform.errors import RegistryError
from fraud_platform.models.dataset import NAME_LENGTH, Snapshot
from fraud_platform.models.registry.candidates import Candidate, store_candidate
from fraud_platform.models.registry.connection import artifacts_beside, connect, reaching

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTHING: Mapping[str, Any] = {}


class Run:
    """A run of MLflow that can be written to."""

    def __init__(
        self, client: "MlflowClient", tracking_uri: str, run_id: str, experiment_id: str | None = None
    ) -> None:
        self.id = run_id
        self._client = client
        self._tracking_uri = tracking_uri
        self._known_experiment_id = experiment_id

    def log(
        self,
        parameters: Mapping[str, Any] = NOTHING,
        metrics: Mapping[str, float] = NOTHING,
        tags: Mapping[str, str] = NOTHING,
    ) -> None:
        """Record all of it in one call. A parameter's value cannot be changed later; a figure's and a tag's can."""
        from mlflow.entities import Metric, Param, RunTag

        now = time.time_ns() // 1_000_000
        with reaching(self._tracking_uri):
            self._client.log_batch(
                self.id,
                metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()],
                params=[Param(key, str(value)) for key, value in parameters.items()],
                tags=[RunTag(key, str(value)) for key, value in tags.items()],
            )

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record each parameter once; a value cannot be changed."""
        self.log(parameters=parameters)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record figures, such as `Evaluation.metrics`."""
        self.log(metrics=metrics)

    def log_text(self, name: str, text: str) -> None:
        """Store a text as the file `name`, whose suffix says how MLflow shows it: `summary.md`."""
        with reaching(self._tracking_uri):
            self._client.log_text(self.id, text, name)

    def log_table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Store columns of one length as `<name>.json`, which MLflow shows as a table."""
        with reaching(self._tracking_uri):
            self._client.log_table(self.id, {key: list(values) for key, values in columns.items()}, f"{name}.json")

    def log_figures(self, figures: Mapping[str, bytes]) -> None:
        """Store PNG bytes as `figures/<name>.png`."""
        with tempfile.TemporaryDirectory() as folder, reaching(self._tracking_uri):
            for name, png in figures.items():
                (Path(folder) / f"{name}.png").write_bytes(png)
            self._client.log_artifacts(self.id, folder, "figures")

    def log_snapshot(
        self, snapshot: Snapshot, context: Literal["training", "evaluation"] = "training", name: str | None = None
    ) -> None:
        """Record a training set as what the run read: its digest is the head of the content hash.

        Args:
            name: default `training_set` or `evaluation_set`. MLflow keeps one context for each name and
                digest in a run, so a snapshot that serves both needs two names.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name or f"{context}_set",
            digest=snapshot.hash[:NAME_LENGTH],
            source_type="local",
            source=json.dumps({"uri": str(snapshot.path.resolve())}),
            profile=json.dumps({"num_rows": snapshot.rows, "frauds": snapshot.frauds}),
        )
        with reaching(self._tracking_uri):
            self._client.log_inputs(self.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def log_candidate(self, artefact: Path, name: str) -> Candidate:
        """Store an artefact directory with the run, without registering it.

        Args:
            name: of the model in MLflow's list of the run's models, such as the algorithm.

        Raises:
            ArtefactError: if the directory is damaged; nothing is stored then.
        """
        return store_candidate(self._client, self._tracking_uri, self.id, artefact, name)

    @contextmanager
    def child(
        self,
        name: str,
        tags: Mapping[str, str] = NOTHING,
        *,
        pruned_by: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> Iterator["Run"]:
        """Open a run nested below this one. It ends FINISHED, or FAILED where the body raises.

        Args:
            pruned_by: exceptions that say that a trial was given up early. They leave the run KILLED, the
                state that MLflow's own Optuna storage gives such trials, with the tag `pruned`; they go on
                to the caller like any other.
        """
        nested = {"mlflow.parentRunId": self.id, **tags}
        with _opened(self._client, self._tracking_uri, self.experiment_id, name, nested, pruned_by) as run:
            yield run

    @cached_property
    def experiment_id(self) -> str:
        """The experiment that the run belongs to."""
        if self._known_experiment_id is not None:
            return self._known_experiment_id
        with reaching(self._tracking_uri):
            return self._client.get_run(self.id).info.experiment_id


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
    client = connect(tracking_uri)
    from mlflow.tracking.context.registry import resolve_tags

    with reaching(tracking_uri):
        experiment_id = _experiment(client, experiment, artifact_location or artifacts_beside(tracking_uri))
    with _opened(client, tracking_uri, experiment_id, run_name, resolve_tags(dict(tags))) as run:
        yield run


def open_run(tracking_uri: str, run_id: str) -> Run:
    """A run that exists, to add figures and metrics to; its status stays as it is.

    Raises:
        RegistryError: if MLflow does not answer.
    """
    return Run(connect(tracking_uri), tracking_uri, run_id)


def experiment_of(tracking_uri: str, name: str) -> str:
    """The id of an experiment, which is created where it is missing, with its files beside a SQLite file.

    Raises:
        RegistryError: if MLflow does not answer.
    """
    client = connect(tracking_uri)
    with reaching(tracking_uri):
        return _experiment(client, name, artifacts_beside(tracking_uri))


def _experiment(client: "MlflowClient", name: str, location: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, location)
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
            # Another process created it at the same moment.
    return found.experiment_id


@contextmanager
def _opened(
    client: "MlflowClient",
    tracking_uri: str,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    pruned_by: type[BaseException] | tuple[type[BaseException], ...] = (),
) -> Iterator[Run]:
    with reaching(tracking_uri):
        created = client.create_run(experiment_id, tags=dict(tags), run_name=name)
    run = Run(client, tracking_uri, created.info.run_id, experiment_id)
    try:
        yield run
    except BaseException as error:
        try:
            _end_early(client, tracking_uri, run, pruned=isinstance(error, pruned_by))
        except RegistryError as unreachable:  # the error of the body is the one to be seen
            error.add_note(f"The run {run.id} stays RUNNING in MLflow: {unreachable}")
        raise
    with reaching(tracking_uri):
        client.set_terminated(run.id, "FINISHED")


def _end_early(client: "MlflowClient", tracking_uri: str, run: Run, *, pruned: bool) -> None:
    if pruned:
        run.log(tags={"pruned": "true"})
    with reaching(tracking_uri):
        client.set_terminated(run.id, "KILLED" if pruned else "FAILED")
