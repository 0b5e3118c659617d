"""The routes, in process: a real scorer and store behind them, a stub in the model's place."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from bentos.fraud_scoring import body
from bentos.fraud_scoring.api import Stage, build_app
from bentos.fraud_scoring.worker import Worker
from fraud_platform.errors import StoreError
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
from fraud_platform_tests.bentos.workers import (
    CATALOG,
    TRANSACTION,
    Client,
    settings_in,
    transaction,
    worker_of,
)
from fraud_platform_tests.features.building import build

ANSWER = {
    "transaction_id",
    "decision_id",
    "is_fraud",
    "fraud_probability",
    "risk_level",
    "action",
    "expected_loss",
    "reasons",
    "matched_rules",
    "model_version",
    "catalog_fingerprint",
    "timestamp",
    "late",
    "degraded",
}
ERROR = {"code", "message", "field", "fix"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LmdbStore]:
    store = LmdbStore(tmp_path_factory.mktemp("store"), map_bytes=1 << 28)
    build(store, CATALOG.fingerprint)
    yield store
    store.close()


@pytest.fixture(scope="module")
def worker(store: LmdbStore, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    return worker_of(store, settings_in(tmp_path_factory.mktemp("warehouse")))


@pytest.fixture(scope="module")
def client(worker: Worker) -> Client:
    return Client(worker)


def assert_error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The response is an error in the one shape; gives its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert set(answer) == ERROR
    assert answer["code"] == code
    assert answer["message"]
    return answer


def test_a_raw_transaction_gets_a_decision(client: Client) -> None:
    answer = client.post("/predict", json=transaction("raw")).json()
    assert set(answer) == ANSWER
    assert (answer["transaction_id"], answer["model_version"]) == ("raw", "7")
    assert answer["catalog_fingerprint"] == CATALOG.fingerprint
    assert (answer["is_fraud"], answer["risk_level"], answer["action"]) == (False, "low", "approve")


def test_a_suspicious_transaction_is_reviewed(client: Client) -> None:
    answer = client.post("/predict", json=transaction("large", amount_cents=200_000)).json()
    assert (answer["is_fraud"], answer["risk_level"], answer["action"]) == (True, "high", "review")


def test_only_the_required_fields_are_enough(client: Client) -> None:
    required = {"transaction_id": "least", "event_time": "2026-03-01T12:00:00Z", "customer_id": "a", "amount_cents": 1}
    assert client.post("/predict", json=required).status_code == 200


def test_the_same_transaction_again_gets_the_same_decision(client: Client) -> None:
    first = client.post("/predict", json=transaction("again"))
    reordered = dict(reversed(transaction("again").items()))
    assert client.post("/predict", json=reordered).json() == first.json()


def test_the_same_id_with_another_body_is_a_conflict(client: Client) -> None:
    client.post("/predict", json=transaction("clash"))
    error = assert_error(
        client.post("/predict", json=transaction("clash", amount_cents=1)), 409, "conflicting_transaction"
    )
    assert error["field"] == "transaction_id"


def test_a_batch_is_answered_item_by_item_in_order(client: Client) -> None:
    items = [
        transaction("b1"),
        transaction("b2", amount_cents=-5),
        transaction("b3"),
        "not an object",
        transaction("b1", amount_cents=5),
        transaction("b1"),
    ]
    answers = client.post("/predict/batch", json=items).json()
    assert [answer.get("transaction_id") or answer["error"]["code"] for answer in answers] == [
        "b1",
        "invalid_transaction",
        "b3",
        "invalid_transaction",
        "conflicting_transaction",
        "b1",
    ]
    assert answers[1]["error"]["field"] == "amount_cents"
    assert answers[5] == answers[0]
    assert all(set(answer["error"]) == ERROR for answer in answers if "error" in answer)


def test_a_batch_of_10_000_transactions_is_answered(client: Client) -> None:
    items = [transaction("one of many")] * 10_000
    assert len(client.post("/predict/batch", json=items).json()) == 10_000


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[" + b"0," * 10_000 + b"0]", id="10,001 items"),
        pytest.param(b"[]", id="empty"),
        pytest.param(b'{"transaction_id": "t"}', id="an object"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"[{}, ", id="truncated"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"[" + b"[" * 100_000 + b"]" * 100_000 + b"]", id="deep and closed"),
        pytest.param(b"[\xff]", id="not UTF-8"),
    ],
)
def test_what_is_not_a_batch_is_refused(client: Client, content: bytes) -> None:
    assert_error(client.post("/predict/batch", content=content), 422, "invalid_batch")


def text(**changes: Any) -> bytes:
    return json.dumps(transaction("malformed", **changes)).encode()


@pytest.mark.parametrize(
    ("content", "field"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"null", None, id="null"),
        pytest.param(b"[]", None, id="an array"),
        pytest.param(text()[:-1], None, id="truncated"),
        pytest.param(text() + b" {}", None, id="trailing characters"),
        pytest.param(text()[:-1] + b', "amount_cents": 5}', "amount_cents", id="a field twice"),
        pytest.param(text(latitude=float("nan")), None, id="NaN"),
        pytest.param(text(amount_cents=float("inf")), None, id="Infinity"),
        pytest.param(text()[:-1] + b', "tenure2": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "tenure2", id="deep"),
        pytest.param(b'{"a":' * 10_000, "a", id="deep objects"),
        pytest.param(text().decode().encode("utf-16"), None, id="UTF-16"),
        pytest.param(text(customer_id="é").decode("ascii").encode("latin-1"), "customer_id", id="not ASCII"),
        pytest.param(text().replace(b"ann", b"\xff\xfe"), None, id="not UTF-8"),
        pytest.param(text().replace(b"ann", rb"\ud800"), None, id="half a surrogate pair"),
        pytest.param(text(customer_count_1h=3), "customer_count_1h", id="a computed feature"),
        pytest.param(text(amount_cents="19.99"), "amount_cents", id="an amount as text"),
        pytest.param(text(amount_cents=19.99), "amount_cents", id="an amount in major units"),
        pytest.param(text(amount_cents=10**30), "amount_cents", id="an amount beyond int64"),
        pytest.param(text(event_time="2026-03-01T12:00:00"), "event_time", id="a time without an offset"),
        pytest.param(text(event_time=1772366400), "event_time", id="a time as a number"),
        pytest.param(text(customer_id=""), "customer_id", id="an empty identifier"),
        pytest.param(text(channel="pigeon"), "channel", id="an unknown channel"),
        pytest.param(text(latitude=91), "latitude", id="a latitude that is none"),
    ],
)
def test_what_is_not_a_transaction_is_refused(client: Client, content: bytes, field: str | None) -> None:
    error = assert_error(client.post("/predict", content=content), 422, "invalid_transaction")
    assert (error["field"], bool(error["fix"])) == (field, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=str,
)
def test_another_content_type_is_refused(client: Client, headers: dict[str, str]) -> None:
    assert_error(client.post("/predict", content=text(), headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [{}, JSON, {"Content-Type": 'Application/JSON; charset="UTF-8"'}, {"Content-Encoding": "identity"}],
    ids=str,
)
def test_json_in_utf8_is_taken(client: Client, headers: dict[str, str]) -> None:
    assert client.post("/predict", content=text(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "limit"), [("/predict", body.TRANSACTION_BYTES), ("/predict/batch", body.BATCH_BYTES)]
)
def test_a_body_over_the_limit_is_refused(client: Client, path: str, limit: int) -> None:
    assert client.post(path, content=b" " * limit).status_code == 422
    assert_error(client.post(path, content=b" " * (limit + 1)), 413, "request_too_large")


def test_a_chunked_body_over_the_limit_is_not_read_to_its_end(worker: Worker) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    status, answer = asyncio.run(call(worker, "/predict", endless()))
    assert (status, answer["code"]) == (413, "request_too_large")
    assert sent <= body.TRANSACTION_BYTES + 1000


def test_a_body_that_does_not_come_is_given_up(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.05)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    status, answer = asyncio.run(call(worker, "/predict", stalled()))
    assert (status, answer["code"]) == (408, "request_timeout")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/nowhere", 404, "not_found"),
        ("POST", "/predict/", 404, "not_found"),
        ("POST", "//predict", 404, "not_found"),
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/predict/batch", 405, "method_not_allowed"),
        ("OPTIONS", "/predict", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("PUT", "/metrics", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("GET", "/labels", 405, "method_not_allowed"),
        ("DELETE", "/decisions/1", 405, "method_not_allowed"),
        ("GET", "/decisions/1/replay", 405, "method_not_allowed"),
        ("GET", "/decisions/", 404, "not_found"),
    ],
)
def test_what_no_route_takes_is_refused(client: Client, method: str, path: str, status: int, code: str) -> None:
    response = client.request(method, path)
    assert_error(response, status, code)
    assert ("allow" in response.headers) == (status == 405)


@pytest.fixture
def failing(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Lets the transaction `boom` meet an error."""
    score_all = worker.scorer.score_all

    def fail(error: Exception) -> None:
        def scored(events: Sequence[dict[str, Any]]) -> list[Any]:
            if any(event["transaction_id"] == "boom" for event in events):
                raise error
            return score_all(events)

        monkeypatch.setattr(worker.scorer, "score_all", scored)

    return fail


def test_a_defect_is_logged_with_its_traceback_and_tells_the_client_nothing(
    client: Client, failing: Callable[[Exception], None], caplog: pytest.LogCaptureFixture
) -> None:
    failing(KeyError("/secret/path"))
    with caplog.at_level(logging.ERROR, "bentoml.fraud_scoring"):
        response = client.post("/predict", json=transaction("boom"))
    assert_error(response, 500, "internal_error")
    assert "secret" not in response.text and "KeyError" not in response.text
    assert caplog.records[-1].exc_info is not None and "/secret/path" in caplog.text


def test_a_defect_on_one_item_does_not_cost_the_others_their_decisions(
    client: Client, failing: Callable[[Exception], None]
) -> None:
    failing(ZeroDivisionError())
    answers = client.post("/predict/batch", json=[transaction("d1"), transaction("boom"), transaction("d2")]).json()
    assert [answer.get("transaction_id") or answer["error"]["code"] for answer in answers] == [
        "d1",
        "internal_error",
        "d2",
    ]


def test_a_store_that_fails_makes_the_service_unavailable(client: Client, failing: Callable[[Exception], None]) -> None:
    failing(StoreError("The disk is full."))
    assert_error(client.post("/predict", json=transaction("boom")), 503, "unavailable")


def test_until_the_model_is_loaded_the_service_is_unavailable() -> None:
    client = Client(None)
    assert_error(client.get("/health"), 503, "unavailable")
    assert_error(client.post("/predict", json=TRANSACTION), 503, "unavailable")


def test_health_names_the_model_and_how_each_part_is(client: Client) -> None:
    answer = client.get("/health").json()
    assert (answer["status"], answer["model_version"]) == ("ok", "7")
    assert answer["catalog_fingerprint"] == CATALOG.fingerprint
    assert [part["name"] for part in answer["parts"]] == ["store", "model", "models", "rules and lists", "keys"]
    assert all(part["ok"] for part in answer["parts"])


def test_the_process_lives_and_is_ready(client: Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_health_fails_once_the_store_is_rebuilt_for_another_catalog(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, map_bytes=1 << 26)
    client = Client(worker_of(store, settings_in(tmp_path)))
    assert client.get("/health").status_code == 200
    build(store, "0123456789abcdef")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    detail = answer.json()["parts"][0]["detail"]
    assert "0123456789abcdef" in detail and "online_state" in detail
    assert_error(client.get("/readyz"), 503, "unavailable")
    store.close()


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_what_is_answered_and_refused_is_counted(client: Client) -> None:
    def counts() -> tuple[float, ...]:
        return (
            sample("fraud_decisions_total", action="approve", risk_level="low"),
            sample("fraud_stage_seconds_count", stage="commit"),
            sample("fraud_refusals_total", code="invalid_transaction"),
            sample("fraud_refusals_total", code="not_found"),
            sample("fraud_http_requests_total", route="/predict/batch", status="200"),
            sample("fraud_http_request_seconds_count", route="/predict/batch"),
            sample("fraud_http_requests_total", route="other", status="404"),
        )

    before = counts()
    client.post("/predict/batch", json=[transaction("n1"), transaction("n2"), {}])
    client.get("/nowhere")
    assert [after - was for after, was in zip(counts(), before, strict=True)] == [2, 1, 1, 1, 1, 1, 1]


def test_metrics_are_prometheus_text(client: Client) -> None:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert "fraud_decision_seconds_bucket" in response.text


def test_unknown_paths_do_not_add_series(client: Client) -> None:
    client.get("/nowhere")
    series = len(client.get("/metrics").text.splitlines())
    for number in range(20):
        client.get(f"/nowhere/{number}")
    assert len(client.get("/metrics").text.splitlines()) == series


def test_single_transactions_pass_between_the_items_of_a_batch(worker: Worker) -> None:
    batch = json.dumps([transaction(f"long-{number}") for number in range(300)]).encode()
    finished: list[str] = []

    async def send(path: str, content: bytes) -> None:
        await call(worker, path, pieces(content))
        finished.append(path)

    async def both() -> None:
        await asyncio.gather(send("/predict/batch", batch), send("/predict", json.dumps(transaction("short")).encode()))

    asyncio.run(both())
    assert finished == ["/predict", "/predict/batch"]


@given(st.sampled_from(["/predict", "/predict/batch"]), st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@settings(max_examples=300)
def test_no_bytes_make_the_service_fail(client: Client, path: str, content: bytes) -> None:
    response = client.post(path, content=content, headers=JSON)
    if response.status_code == 200:
        assert all(set(item["error"]) == ERROR for item in response.json())
    else:
        assert_error(response, 422, "invalid_batch" if path == "/predict/batch" else "invalid_transaction")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["ann", "FR", "m1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MUTATION = st.dictionaries(st.sampled_from([*TRANSACTION_COLUMNS, "tenure", "unknown"]), ANYTHING, max_size=3)
TIMES = st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat())


@given(MUTATION, TIMES, st.sets(st.sampled_from(list(TRANSACTION)), max_size=2), st.integers(0, 10**9))
@settings(max_examples=300)
def test_no_mutated_transaction_makes_the_service_fail(
    client: Client, changed: dict[str, Any], moment: str, removed: set[str], number: int
) -> None:
    mutant = transaction(f"mutant-{number}", event_time=moment) | changed
    content = json.dumps({name: value for name, value in mutant.items() if name not in removed})
    response = client.post("/predict", content=content.encode(errors="replace"))
    assert response.status_code in (200, 409, 422), response.text
    assert set(response.json()) == (ANSWER if response.status_code == 200 else ERROR)


@given(st.data())
@settings(max_examples=200)
def test_no_damaged_byte_makes_the_service_fail(client: Client, data: st.DataObject) -> None:
    content = bytearray(json.dumps(transaction("damaged")).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert client.post("/predict", content=bytes(content)).status_code in (200, 409, 422)


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def call(worker: Worker, path: str, chunks: AsyncIterator[bytes]) -> tuple[int, Any]:
    """POST straight to the ASGI application, so that the body comes as slowly as `chunks` gives it."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "root_path": ""}
    scope |= {"headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1)}
    await build_app(Stage(worker))(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])
