"""Models and rules replaced under a running service of two workers: the old or the new answers every request."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fraud_platform.decisions.deployment import Challenger, Deployed, Deployment, write_deployment
from fraud_platform.defs.service import running_service
from fraud_platform.settings import Settings
from fraud_platform_tests.bentos.conftest import model_folder

pytestmark = pytest.mark.slow

SECONDS = 20.0
RULE = """
rules:
  - {name: tiny, when: amount_cents == 777, action: block, weight: 10, mode: live, owner: test, why: a test}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: []\n")
    return file


@pytest.fixture
def client(the_day_before: Settings, bento: str, rules: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    environment = {"FRAUD_RULES": str(rules), "FRAUD_RELOAD_SECONDS": "0.2"}
    with running_service(the_day_before, bento, tmp_path / "run", 2, environment) as client:
        yield client


class Load:
    """Sends payments without a pause, each over a connection of its own, until the block ends."""

    def __init__(self, client: httpx.Client) -> None:
        self._url = client.base_url.join("/predict")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.answers: list[httpx.Response] = []
        self.last: dict[str, Any] = {}

    def _send(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            answer = httpx.post(self._url, json=payment(f"load-{number}"))
            self.answers.append(answer)
            self.last = answer.json()

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def payment(transaction_id: str, amount_cents: int = 777) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "event_time": "2026-02-10T12:00:00Z",
        "customer_id": "swapped",
        "amount_cents": amount_cents,
    }


def wait_until(done: Callable[[], bool]) -> None:
    """Ask until it is so; asking is what takes the time."""
    waiter, waited = threading.Event(), 0.0
    while not done():
        assert waited < SECONDS, "it did not come about in time"
        waiter.wait(0.05)
        waited += 0.05


def both(client: httpx.Client, holds: Callable[[dict[str, Any]], bool]) -> bool:
    """Whether twenty answers of /health in a row, each over a connection of its own, are so: both workers'."""
    return all(holds(httpx.get(client.base_url.join("/health")).json()) for _ in range(20))


def test_a_model_is_swapped_in_every_worker_without_a_lost_request(
    client: httpx.Client, the_day_before: Settings, bento: str
) -> None:
    artefact = str(model_folder(the_day_before, bento))
    with Load(client) as load:
        wait_until(lambda: len(load.answers) > 20)
        write_deployment(the_day_before.deployment, Deployment(champion=Deployed("77", artefact)))
        wait_until(lambda: both(client, lambda health: health["model_version"] == "77"))
        wait_until(lambda: load.last.get("model_version") == "77")
    assert {answer.status_code for answer in load.answers} == {200}
    assert {answer.json()["model_version"] for answer in load.answers} == {"1", "77"}
    assert 'fraud_model_workers{model_version="77",role="champion"} 2.0' in client.get("/metrics").text
    lines = [json.loads(line) for line in the_day_before.audit_log.read_text().splitlines()]
    assert [line["action"] for line in lines] == ["model_taken_up"] * 2


def test_a_damaged_model_changes_nothing_and_is_said(
    client: httpx.Client, the_day_before: Settings, bento: str, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(model_folder(the_day_before, bento), damaged)
    (damaged / "model.onnx").write_bytes(b"no graph")
    write_deployment(the_day_before.deployment, Deployment(champion=Deployed("78", str(damaged))))
    wait_until(lambda: both(client, lambda health: health["status"] == "degraded"))
    health = client.get("/health").json()
    assert health["model_version"] == "1"
    (detail,) = [part["detail"] for part in health["parts"] if not part["ok"]]
    assert "model.onnx" in detail and "champion" in detail
    assert client.post("/predict", json=payment("undamaged")).json()["degraded"] is False
    the_day_before.deployment.unlink()
    wait_until(lambda: both(client, lambda health: health["status"] == "ok"))


def test_a_challenger_in_shadow_is_logged_and_counted_and_never_answers(
    client: httpx.Client, the_day_before: Settings, bento: str
) -> None:
    artefact = str(model_folder(the_day_before, bento))
    write_deployment(the_day_before.deployment, Deployment(challenger=Challenger("79", artefact, "shadow")))
    wait_until(lambda: 'fraud_model_workers{model_version="79",role="challenger"} 2.0' in client.get("/metrics").text)
    answer = client.post("/predict", json=payment("shadowed")).json()
    assert answer["model_version"] == "1"
    shadow = client.get("/decisions/shadowed").json()["shadow"]
    assert (shadow["model_version"], shadow["fraud_probability"]) == ("79", answer["fraud_probability"])
    assert 'fraud_shadow_total{agrees="true",model_version="79"}' in client.get("/metrics").text


def test_rules_are_taken_up_and_a_broken_file_keeps_the_old_ones(client: httpx.Client, rules: Path) -> None:
    assert client.post("/predict", json=payment("before")).json()["matched_rules"] == []
    rules.write_text(RULE)
    wait_until(lambda: both(client, lambda health: any("1 rules" in part["detail"] for part in health["parts"])))
    ruled = client.post("/predict", json=payment("ruled")).json()
    assert (ruled["action"], ruled["matched_rules"]) == ("block", ["tiny"])
    rules.write_text(RULE + "  - broken")
    wait_until(lambda: both(client, lambda health: health["status"] == "degraded"))
    assert client.post("/predict", json=payment("still")).json()["matched_rules"] == ["tiny"]
    assert 'fraud_configuration_broken{what="rules and lists"} 2.0' in client.get("/metrics").text
    rules.write_text(RULE)
    wait_until(lambda: both(client, lambda health: health["status"] == "ok"))
