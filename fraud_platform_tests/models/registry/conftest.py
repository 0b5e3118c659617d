"""One MLflow backend for the tests of the registry; each test uses a registered model of its own."""

import hashlib
import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

TAGS = {"dagster_run_id": "run", "catalog_fingerprint": "fingerprint", "source": "synthetic"}

Versions = Callable[[int], str]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'new' / 'mlflow.db'}"


@pytest.fixture
def mlflow_client(uri: str) -> Any:
    """MLflow's own client, to look at what was written."""
    from fraud_platform.models.registry.connection import connect

    return connect(uri)


@pytest.fixture(scope="session")
def model_names() -> Any:
    return (f"model_{number}" for number in count())


@pytest.fixture
def model(mlflow_client: Any, model_names: Any) -> Versions:
    """Register a model with so many versions, which hold no files; gives its name."""

    def register(number: int) -> str:
        name = next(model_names)
        mlflow_client.create_registered_model(name)
        for _ in range(number):
            mlflow_client.create_model_version(name, "file:///nowhere")
        return name

    return register


def variant(artefact: Path, folder: Path, **fields: Any) -> Path:
    """Another sound artefact: a copy whose card says otherwise."""
    shutil.copytree(artefact, folder)
    card = folder / "model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | fields))
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    digests = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for _, name in lines]
    (folder / "SHA256SUMS").write_text("".join(digests))
    return folder
