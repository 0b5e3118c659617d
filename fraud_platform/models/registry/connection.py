"""The way to MLflow: a client that fails in seconds, and MLflow's errors in our words."""

import fcntl
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fraud_platform.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_SECONDS = 5.0
SQLITE = "sqlite:///"


def connect(tracking_uri: str) -> "MlflowClient":
    """A client of the tracking server and its registry.

    Raises:
        RegistryError: if MLflow does not answer, or its database cannot be opened.
    """
    # Before the import: MLflow reads these when it is loaded.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    if tracking_uri.startswith(("http://", "https://")):
        _check_server(tracking_uri)
    import mlflow

    # It announces every table, model and version on stderr; Dagster's log and metadata say the same.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with reaching(tracking_uri), _first_use(tracking_uri):
        return mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)


@contextmanager
def reaching(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's errors into ours, with the address and the fix."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise _unreachable(tracking_uri, error) from error


@contextmanager
def default_uri(tracking_uri: str) -> Iterator[None]:
    """Make this MLflow the one that functions without a client use, and then put back what was.

    Left unset where it was unset: MLflow's own default would be a SQLite file in the working directory.
    """
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


def artifacts_beside(tracking_uri: str) -> str | None:
    """Where a new experiment keeps its files: beside a SQLite file; None: as the server decides."""
    database = _sqlite_file(tracking_uri)
    return None if database is None else (database.resolve().parent / "mlflow_artifacts").as_uri()


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


def _unreachable(tracking_uri: str, error: Exception) -> RegistryError:
    return RegistryError(
        f"MLflow at {tracking_uri} did not do what was asked: {error}. If it does not answer, start it or correct "
        "FRAUD_MLFLOW_TRACKING_URI (unset: a SQLite file in the warehouse); if it lacks the version, "
        "`fraud-platform model list` shows those that exist."
    )
