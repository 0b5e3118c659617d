"""The service as it is deployed: `bentoml serve` on the Bento that the demo built."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from fraud_platform.defs.service import running_service
from fraud_platform.defs.serving import build_bento
from fraud_platform.errors import ServiceError
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.models.artefact import DIGESTS_FILE
from fraud_platform.settings import Settings
from fraud_platform.transactions.request import TransactionDecoder
from fraud_platform_tests.bentos.conftest import (
    LastDay,
    bento_folder,
    copied_bentos,
    installation_before,
    model_folder,
)
from fraud_platform_tests.features.building import build
from fraud_platform_tests.installation import Installation

pytestmark = pytest.mark.slow

FIRST_ANSWER_SECONDS = 0.5
"""A hundred times what a decision takes, and less than compiling one function."""


def transaction(transaction_id: str, **changes: Any) -> dict[str, Any]:
    given = {"event_time": "2026-02-10T12:00:00Z", "customer_id": "ann", "amount_cents": 1999, "merchant_id": "m1"}
    return given | {"transaction_id": transaction_id} | changes


@pytest.fixture(scope="module")
def settings(
    installation: Installation, last_day_of_batch: LastDay, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    return installation_before(installation, last_day_of_batch, tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared service runs: a folder that has nothing to do with the checkout."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def client(settings: Settings, bento: str, folder: Path) -> Iterator[httpx.Client]:
    """A service of two workers that the tests share."""
    with running_service(settings, bento, folder, workers=2) as client:
        yield client


def decisions_by_worker(folder: Path) -> dict[str, float]:
    """How often each worker process has answered with a decision, from the files that the workers share."""
    counted: dict[str, float] = {}
    for file in (folder / "bentoml" / "prometheus_multiproc_dir").glob("counter_*.db"):
        values = MmapedDict.read_all_values_from_file(str(file))
        counted[file.stem] = sum(value for key, value, *_ in values if "fraud_decisions_" in key and "_by" not in key)
    return counted


def sent_to_both_workers(client: httpx.Client, folder: Path, body: dict[str, Any]) -> list[httpx.Response]:
    """The answers to one request sent over fresh connections until each worker has decided on it."""
    before = decisions_by_worker(folder)
    answers = []
    for _ in range(500):
        answers.append(httpx.post(client.base_url.join("/predict"), json=body))
        after = decisions_by_worker(folder)
        if len(after) == 2 and all(after[worker] > before.get(worker, 0) for worker in after):
            return answers
    pytest.fail(f"One worker of two answered all 500 requests: {decisions_by_worker(folder)}")


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    """The sum of the samples of a metric with these labels."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def test_the_service_runs_from_the_bento_and_not_from_the_checkout(
    client: httpx.Client, settings: Settings, bento: str, folder: Path
) -> None:
    assert client.get("/health").status_code == 200
    started = [line for line in (folder / "service.log").read_text().splitlines() if "Model version" in line]
    source = bento_folder(settings, bento).resolve() / "src" / "fraud_platform"
    assert len(started) >= 1
    assert all(json.loads(line)["message"].endswith(f"code {source}") for line in started)


def test_metrics_add_up_over_both_workers(client: httpx.Client, folder: Path) -> None:
    names = ("fraud_decisions_total", "fraud_decisions_repeated_total", "fraud_decision_seconds_count")
    before = [metric(client, name) for name in names]
    sent = len(sent_to_both_workers(client, folder, transaction("counted")))
    client.post("/predict/batch", json=[transaction(f"counted-{n}") for n in range(50)])
    assert [metric(client, name) - was for name, was in zip(names, before, strict=True)] == [51, sent - 1, sent]
    buckets = metric(client, "fraud_decision_seconds_bucket", le="+Inf")
    assert buckets == metric(client, "fraud_decision_seconds_count")


def test_the_other_worker_gives_the_same_decision(client: httpx.Client, folder: Path) -> None:
    answers = sent_to_both_workers(client, folder, transaction("shared"))
    assert len({answer.json()["decision_id"] for answer in answers}) == 1
    assert all(answer.json() == answers[0].json() for answer in answers)


def test_one_transaction_sent_many_times_at_once_is_decided_once(client: httpx.Client) -> None:
    url = client.base_url.join("/predict")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.post(url, json=transaction("at once")).json(), range(40)))
    assert len({answer["decision_id"] for answer in answers}) == 1


def test_payments_of_one_customer_through_both_workers_all_count(
    client: httpx.Client, settings: Settings, last_day_of_batch: LastDay
) -> None:
    url = client.base_url.join("/predict")
    bodies = [
        transaction(f"race-{n}", customer_id="racer", event_time=f"2026-02-10T12:00:00.{n:06d}Z") for n in range(60)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: httpx.post(url, json=body), bodies))
    assert {answer.status_code for answer in answers} == {200}
    online, store = OnlineFeatures(last_day_of_batch.catalog), LmdbStore(settings.online_store)
    decoder = TransactionDecoder(last_day_of_batch.catalog.attributes)
    event = decoder.decode(json.dumps(bodies[0] | {"event_time": "2026-02-10T12:00:01Z"}).encode())
    keys = online.keys(event)
    states = store.read([], list(keys.values())).states
    store.close()
    vector = online.compute({**event, "known_fraud": 0}, keys, states).vector
    assert vector[last_day_of_batch.catalog.names.index("customer_count_1h")] == len(bodies)


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("GET", "/nowhere", b"", {}, 404),
        ("GET", "/healthz", b"", {}, 404),
        ("GET", "/docs.json", b"", {}, 404),
        ("GET", "/predict", b"", {}, 405),
        ("POST", "/metrics", b"", {}, 405),
        ("POST", "/predict", b"{}", {"Content-Type": "text/plain"}, 415),
        ("POST", "/predict", b"{", {}, 422),
        ("POST", "/predict", b" " * 200_000, {}, 413),
        ("POST", "/predict/batch", b"[" * 100_000, {}, 422),
        ("POST", "/predict/batch", b"[]", {}, 422),
    ],
    ids=lambda value: str(value)[:20],
)
def test_every_error_has_the_one_shape(
    client: httpx.Client, method: str, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    response = client.request(method, path, content=content, headers=headers)
    assert response.status_code == status
    assert set(response.json()) == {"code", "message", "field", "fix"}


def test_an_oversized_chunked_body_is_refused(client: httpx.Client) -> None:
    response = client.post("/predict", content=(b" " * 8192 for _ in range(20)))
    assert "content-length" not in response.request.headers
    assert (response.status_code, response.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/test", "/openapi.json", "/docs", "/"])
def test_probes_documents_and_the_console_answer(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_decision_outlives_the_service_and_the_first_one_after_a_start_is_fast(
    settings: Settings, bento: str, tmp_path: Path
) -> None:
    with running_service(settings, bento, tmp_path) as client:
        first = client.post("/predict", json=transaction("kept")).json()
    with running_service(settings, bento, tmp_path) as client:
        started = time.perf_counter()
        new = client.post("/predict", json=transaction("first after the start"))
        assert time.perf_counter() - started < FIRST_ANSWER_SECONDS
        assert new.status_code == 200
        assert client.post("/predict", json=transaction("kept")).json() == first
        assert client.post("/predict", json=transaction("kept", amount_cents=1)).status_code == 409


def test_a_request_in_flight_is_answered_and_no_process_is_left(settings: Settings, bento: str, tmp_path: Path) -> None:
    """The body is half sent when SIGTERM comes, and its rest follows."""
    half_sent, stopping = threading.Event(), threading.Event()

    def halves() -> Iterator[bytes]:
        yield b'{"transaction_id": "in flight", "event_time": "2026-02-10T12:00:00Z", '
        half_sent.set()
        assert stopping.wait(30)
        yield b'"customer_id": "ann", "amount_cents": 5}'

    with running_service(settings, bento, tmp_path, workers=2) as client, ThreadPoolExecutor(1) as pool:
        (service,) = [p for p in psutil.Process().children() if str(client.base_url.port) in p.cmdline()]
        workers = service.children(recursive=True)
        assert len(workers) >= 2
        answer = pool.submit(httpx.post, client.base_url.join("/predict"), content=halves(), timeout=30)
        assert half_sent.wait(30)
        service.send_signal(signal.SIGTERM)
        _until_refused(client)
        stopping.set()
        response = answer.result(30)
        assert (response.status_code, response.json()["transaction_id"]) == (200, "in flight")
        _, alive = psutil.wait_procs([service, *workers], 20)
        assert alive == []


def _until_refused(client: httpx.Client) -> None:
    """Until the workers have taken the signal: they accept no more connections."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.get(client.base_url.join("/health"), timeout=0.5)
        except httpx.TransportError:
            return
    pytest.fail("The service took new connections 20 s after SIGTERM.")


def test_without_the_checkout_on_any_path_the_service_runs(
    settings: Settings, bento: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter below the virtual environment, with its libraries as a plain path: no .pth file is read,
    so that the editable install of the checkout does not exist.
    """
    libraries = {"PYTHONPATH": next(path for path in sys.path if path.endswith("site-packages"))}
    monkeypatch.setattr(sys, "executable", sys._base_executable)  # type: ignore[attr-defined]
    probe = [sys.executable, "-c", "import starlette, fraud_platform"]
    found = subprocess.run(probe, cwd=tmp_path, env=libraries, capture_output=True, text=True, check=False)
    assert "No module named 'fraud_platform'" in found.stderr
    with running_service(settings, bento, tmp_path, environment=libraries) as client:
        assert client.post("/predict", json=transaction("elsewhere")).status_code == 200


def test_relative_paths_start_where_the_service_is_started(settings: Settings, bento: str) -> None:
    folder = settings.warehouse.parent
    with running_service(settings, bento, folder, environment={"FRAUD_WAREHOUSE": "warehouse"}) as client:
        assert client.get("/health").status_code == 200
    assert f"store {settings.online_store.resolve()}" in (folder / "service.log").read_text()


def refusal(settings: Settings, bento: str, folder: Path) -> str:
    """What the service says that does not start."""
    with pytest.raises(ServiceError) as caught, running_service(settings, bento, folder):
        pass
    message = str(caught.value)
    assert "ended with exit 1" in message and "does not start: " in message
    assert "Traceback" not in message
    return message


def test_without_a_store_the_service_does_not_start(settings: Settings, bento: str, tmp_path: Path) -> None:
    empty = settings.model_copy(update={"warehouse": tmp_path / "warehouse"})
    (tmp_path / "warehouse" / settings.source.stem).mkdir(parents=True)
    (empty.bentoml_home).symlink_to(settings.bentoml_home.resolve())
    message = refusal(empty, bento, tmp_path / "run")
    assert f"There is no online store in {empty.online_store}" in message and "online_state" in message
    assert not empty.online_store.exists()


def test_on_a_store_that_was_never_built_the_service_does_not_start(
    the_day_before: Settings, bento: str, tmp_path: Path
) -> None:
    for file in the_day_before.online_store.iterdir():
        file.unlink()
    LmdbStore(the_day_before.online_store).close()
    assert "was never built" in refusal(the_day_before, bento, tmp_path / "run")


def test_on_a_store_of_another_catalog_the_service_does_not_start(
    the_day_before: Settings, bento: str, tmp_path: Path
) -> None:
    store = LmdbStore(the_day_before.online_store)
    build(store, "0123456789abcdef")
    store.close()
    message = refusal(the_day_before, bento, tmp_path / "run")
    assert "catalog 0123456789abcdef" in message and "online_state" in message


def test_a_model_of_another_catalog_does_not_start(
    the_day_before: Settings, last_day_of_batch: LastDay, bento: str, tmp_path: Path
) -> None:
    model = copied_bentos(the_day_before, bento)
    source = bento_folder(the_day_before, bento) / "src" / "fraud_platform" / "features" / "catalog.py"
    source.write_text(source.read_text().replace("AMOUNT_CAP_CENTS = 10_000_000", "AMOUNT_CAP_CENTS = 20_000_000"))
    message = refusal(the_day_before, bento, tmp_path / "run")
    assert f"trained on catalog {last_day_of_batch.catalog.fingerprint}" in message
    assert (model / DIGESTS_FILE).exists()


def test_a_corrupt_artefact_does_not_start(the_day_before: Settings, bento: str, tmp_path: Path) -> None:
    graph = copied_bentos(the_day_before, bento) / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    message = refusal(the_day_before, bento, tmp_path / "run")
    assert "model.onnx was changed after it was written" in message


def test_building_twice_gives_two_bentos_of_the_same_content_and_one_model(
    installation: Installation, bento: str, tmp_path: Path
) -> None:
    artefact = installation.settings.models / model_folder(installation.settings, bento).name
    first, second = (build_bento(artefact, "1", tmp_path) for _ in range(2))
    assert first["bento"] != second["bento"]
    assert first["model"] == second["model"]
    assert contents(Path(first["path"]) / "src") == contents(Path(second["path"]) / "src")
    models = tmp_path / "models" / "fraud_model"
    assert len([path for path in models.iterdir() if path.is_dir()]) == 1


def test_a_bento_serves_the_model_that_it_was_built_with(
    settings: Settings, bento: str, last_day_of_batch: LastDay, tmp_path: Path
) -> None:
    """A newer model in BentoML's store, as the next training leaves it there, changes nothing."""
    changed = installation_copy(settings, bento, tmp_path)
    newer = changed.bentoml_home / "models" / "fraud_model"
    (newer / "0000000000000000").mkdir()
    (newer / "0000000000000000" / "model.yaml").write_text(
        (model_folder(changed, bento) / "model.yaml")
        .read_text()
        .replace(model_folder(changed, bento).name, "0000000000000000")
    )
    (newer / "latest").write_text("0000000000000000")
    with running_service(changed, bento, tmp_path / "run") as client:
        assert client.get("/health").status_code == 200


def installation_copy(settings: Settings, bento: str, folder: Path) -> Settings:
    """The same store, and copies of the Bentos and models."""
    copy = settings.model_copy(update={"warehouse": folder / "warehouse"})
    copy.bentoml_home.mkdir(parents=True)
    copy.online_store.symlink_to(settings.online_store.resolve())
    for name in ("bentos", "models"):
        (copy.bentoml_home / name).symlink_to((settings.bentoml_home / name).resolve())
    copied_bentos(copy, bento)
    return copy


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {os.fspath(path.relative_to(folder)): path.read_bytes() for path in files}
