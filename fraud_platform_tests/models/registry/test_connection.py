import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fraud_platform.errors import RegistryError
from fraud_platform.models import registry
from fraud_platform.models.registry import connection

MODEL = "fraud_model"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


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


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "ask",
    [
        lambda uri: registry.champion(uri, MODEL),
        lambda uri: registry.versions(uri, MODEL),
        lambda uri: registry.history(uri, MODEL),
        lambda uri: registry.promote(uri, MODEL, 1, why="", by="", at=NOW),
        lambda uri: registry.rollback(uri, MODEL, why="", by="", at=NOW),
        lambda uri: registry.refuse(uri, MODEL, 1, why="", by="", at=NOW),
    ],
    ids=["champion", "versions", "history", "promote", "rollback", "refuse"],
)
def test_a_server_that_is_not_there_is_named_at_once(closed: str, ask: Callable[[str], object]):
    started = time.monotonic()
    with pytest.raises(RegistryError, match=rf"{closed}.*FRAUD_MLFLOW_TRACKING_URI"):
        ask(closed)
    assert time.monotonic() - started < 10


def test_a_server_that_does_not_answer_is_given_up(silent_server: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.1)
    with pytest.raises(RegistryError, match=silent_server):
        registry.latest_version(silent_server, MODEL)


def test_a_database_that_cannot_be_created_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryError, match=r"file/mlflow\.db"):
        registry.champion(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", MODEL)


def test_importing_the_registry_imports_no_mlflow():
    code = "import sys, fraud_platform.models.registry; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
