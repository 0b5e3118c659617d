"""The same registry behind `mlflow server`, as several machines share it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fraud_platform.models import registry
from fraud_platform.models.dataset import Snapshot

pytestmark = pytest.mark.slow

START_SECONDS = 180


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server that keeps the files itself; gives its address."""
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder)]
    with (folder / "server.log").open("wb") as log:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def wait_for(address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError(log.read_text()[-3000:])


def test_a_candidate_goes_all_the_way_through_a_server(server: str, saved: Path, snapshot: Snapshot, tmp_path: Path):
    with registry.start_run(server, "fraud", "first", {"source": "synthetic"}) as run:
        run.log_snapshot(snapshot)
        run.log_table("comparison", {"model": ["a"], "cost": [1.5]})
        with run.child("trial 0") as trial:
            trial.log({"depth": 6}, {"cost": 1.0})
        candidate = run.log_candidate(saved, "xgboost")
    version = registry.register_candidate(server, candidate, "fraud_model", {"algorithm": "xgboost"})
    assert registry.register_candidate(server, candidate, "fraud_model") == version
    assert registry.run_metrics(server, trial.id) == {"cost": 1.0}
    now = datetime.now(UTC)
    registry.promote(server, "fraud_model", version.version, why="the first", by="gate", at=now)
    assert registry.find(server, "fraud_model", "champion").aliases == ("champion",)
    assert [(entry.event, entry.at) for entry in registry.history(server, "fraud_model")] == [("promoted", now)]
    for model, folder in ((version, "by_version"), (candidate, "by_candidate")):
        artefact = registry.download(server, model, tmp_path / folder)
        assert {p.name: p.read_bytes() for p in artefact.iterdir()} == {p.name: p.read_bytes() for p in saved.iterdir()}
