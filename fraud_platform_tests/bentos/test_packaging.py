"""What goes into the Bento, and what the service imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bentos.fraud_scoring import build
from fraud_platform.defs.service import running_service
from fraud_platform.settings import Settings
from fraud_platform_tests.bentos.conftest import bento_folder
from fraud_platform_tests.installation import ROOT

FORBIDDEN = (
    "dagster",
    "mlflow",
    "evidently",
    "great_expectations",
    "sklearn",
    "xgboost",
    "matplotlib",
    "duckdb",
    "pandas",
)


def test_importing_the_service_imports_nothing_that_trains_monitors_or_orchestrates(tmp_path: Path) -> None:
    code = "import json, sys, bentos.fraud_scoring.service; print(json.dumps([n.split('.')[0] for n in sys.modules]))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(run.stdout.splitlines()[-1])).isdisjoint(FORBIDDEN)


def test_only_what_serves_is_packaged(tmp_path: Path) -> None:
    build.stage(tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert "bentos/fraud_scoring/service.py" in files and "fraud_platform/decisions/scorer.py" in files
    folders = {"/".join(file.split("/")[:2]) for file in files if file.count("/") > 1}
    assert folders == {"bentos/fraud_scoring", *(f"fraud_platform/{part}" for part in build.PARTS)}
    assert not [file for file in files if "/test" in file or "_tests/" in file or file.endswith(".pyc")]


def test_every_library_that_is_packaged_is_installed_here() -> None:
    assert [name for name in build.LIBRARIES if not build.version(name)] == []


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new virtual environment."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / "bin" / "python"


@pytest.mark.slow
def test_the_bento_alone_serves_in_a_new_environment(
    the_day_before: Settings, bento: str, bare_python: Path, tmp_path: Path
) -> None:
    listed = bento_folder(the_day_before, bento) / "env" / "python" / "requirements.txt"
    subprocess.run([bare_python, "-m", "pip", "install", "--quiet", "-r", listed], check=True, timeout=600)
    installed = json.loads(
        subprocess.run(
            [bare_python, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
        ).stdout
    )
    names = {package["name"].lower().replace("-", "_") for package in installed}
    assert names.isdisjoint({*FORBIDDEN, "scikit_learn", "fraud_platform"})
    body = {
        "transaction_id": "bare",
        "event_time": "2026-02-10T12:00:00Z",
        "customer_id": "ann",
        "amount_cents": 500_000,
    }
    with running_service(the_day_before, bento, tmp_path / "run", python=str(bare_python)) as client:
        answer = client.post("/predict", json=body)
        assert answer.status_code == 200, answer.text
        assert client.get("/").status_code == 200
        assert client.get("/console/static/console.css").status_code == 200
