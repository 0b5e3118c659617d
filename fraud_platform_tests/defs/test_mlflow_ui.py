"""What a person finds in MLflow's own pages after a demo: runs, trials, datasets, artefacts and aliases."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from fraud_platform.models import registry
from fraud_platform_tests.chromium import PAGE_MS
from fraud_platform_tests.installation import Installation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

START_SECONDS = 90


@pytest.fixture(scope="module")
def server(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`make mlflow` on the installation's store."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("mlflow") / "server.log"
    store = installation.settings.tracking_uri
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--workers", "1"],
            env=installation.environment,
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_up(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_up(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"mlflow server did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def page(browser: "Browser", server: str, tmp_path: Path) -> Iterator["Page"]:
    with browser.new_context(base_url=server, viewport={"width": 1600, "height": 1400}) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        yield page
        page.screenshot(path=tmp_path / "page.png")


@pytest.fixture(scope="module")
def champion(installation: Installation) -> registry.RegisteredVersion:
    return registry.require_champion(installation.settings.tracking_uri, installation.settings.model_name)


def runs_page(installation: Installation) -> str:
    settings = installation.settings
    return f"/#/experiments/{registry.experiment_of(settings.tracking_uri, settings.model_name)}/runs"


def test_every_candidate_is_a_run_with_its_training_set(page: "Page", installation: Installation) -> None:
    page.goto(runs_page(installation))
    for name in installation.settings.algorithms:
        page.get_by_text(name).first.wait_for()
    page.get_by_text("training_set").first.wait_for()


def test_trials_are_below_the_run_that_searched(page: "Page", installation: Installation) -> None:
    page.goto(runs_page(installation))
    page.get_by_role("link", name="xgboost").first.click()
    page.get_by_text("Child runs", exact=True).wait_for()
    for number in range(installation.settings.tuning_trials):
        page.get_by_role("link", name=f"trial {number}").wait_for()


def test_a_run_has_its_artefact(page: "Page", installation: Installation, champion: registry.RegisteredVersion) -> None:
    page.goto(f"{runs_page(installation)}/{champion.run_id}/artifacts")
    page.get_by_text("fraud_model").first.wait_for()


def test_the_registered_model_has_its_aliases(page: "Page", champion: registry.RegisteredVersion) -> None:
    page.goto(f"/#/models/{champion.name}/versions/{champion.version}")
    for alias in ("challenger", "champion"):
        page.get_by_text(f"@ {alias}").first.wait_for()
    page.get_by_text("catalog_fingerprint").first.wait_for()
