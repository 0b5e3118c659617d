"""Decisions looked up, replayed and labelled through the routes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bentos.fraud_scoring.worker import Worker
from fraud_platform.decisions.journal import decision_key
from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform_tests.bentos.test_api import assert_error
from fraud_platform_tests.bentos.workers import Client, settings_in, stub_model, transaction, worker_of
from fraud_platform_tests.features.building import build


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    store = LmdbStore(tmp_path / "store", map_bytes=1 << 26)
    worker = worker_of(store, settings_in(tmp_path))
    build(store, worker.catalog.fingerprint)
    yield worker
    store.close()


@pytest.fixture
def client(worker: Worker) -> Client:
    return Client(worker)


def decided(client: Client, transaction_id: str = "t1", amount_cents: int = 200_000) -> dict[str, Any]:
    return client.post("/predict", json=transaction(transaction_id, amount_cents=amount_cents)).json()


def label(client: Client, transaction_id: str = "t1", **given: Any) -> Any:
    return client.post("/labels", json={"transaction_id": transaction_id, "is_fraud": True} | given)


@pytest.mark.parametrize("by", ["decision_id", "transaction_id"])
def test_a_decision_is_found_by_either_id(client: Client, by: str) -> None:
    answer = decided(client)
    found = client.get(f"/decisions/{answer[by]}").json()
    assert found["decision"] == answer
    assert found["transaction"]["amount_cents"] == 200_000
    assert found["features"]["amount"] == 200_000
    assert (found["served_by"], found["shadow"]) == ("champion", None)


@pytest.mark.parametrize("unknown", ["t2", "0" * 32, "%F0%9F%92%B8", "a" * 5000, "%00"])
def test_an_unknown_decision_is_said_to_be_unknown(client: Client, unknown: str) -> None:
    decided(client)
    assert_error(client.get(f"/decisions/{unknown}"), 404, "unknown_decision")


def test_an_id_that_looks_like_a_decision_is_found_too(client: Client) -> None:
    answer = decided(client, "0123456789abcdef0123456789abcdef")
    assert client.get("/decisions/0123456789abcdef0123456789abcdef").json()["decision"] == answer


def test_a_replay_gives_the_same_decision(client: Client) -> None:
    answer = decided(client)
    found = client.post(f"/decisions/{answer['decision_id']}/replay").json()
    assert (found["same"], found["why"], found["decision"]) == (True, None, answer)


def test_a_replay_tells_what_rules_of_today_would_do(client: Client, worker: Worker) -> None:
    decided(client)
    worker.settings.lists.write_text(
        "entries:\n- {list: block, entity: customer_id, value: ann, owner: o, why: w, added: 2026-01-01T00:00:00Z}\n"
    )
    worker.scorer.rules = type(worker.rules).of_settings(worker.settings, worker.catalog)
    found = client.post("/decisions/t1/replay").json()
    assert (found["same"], found["action"]) == (False, "block")
    assert found["why"] == "the action was review and is block; rules or lists have changed since"


def test_a_replay_needs_the_model_that_decided(client: Client, worker: Worker) -> None:
    decided(client)
    worker.scorer.router = Router(Candidate("8", stub_model()))
    error = assert_error(client.post("/decisions/t1/replay"), 409, "model_not_loaded")
    assert "version 7" in error["message"] and "loaded: 8" in error["message"]


def test_a_label_is_news_once(client: Client, worker: Worker) -> None:
    decided(client)
    assert worker.store.waiting() == 1
    moment = {"reported_at": "2026-03-02T00:00:00Z"}
    assert label(client, **moment).json() == {"transaction_id": "t1", "is_fraud": True, "news": True}
    assert label(client, **moment).json()["news"] is False
    assert worker.store.waiting() == 0


def test_a_label_may_come_first_late_and_be_corrected(client: Client) -> None:
    assert label(client, reported_at="2026-02-01T00:00:00Z").json()["news"]
    decided(client)
    assert label(client, reported_at="2026-09-01T00:00:00Z", is_fraud=False, source="analyst").json()["news"]
    assert not label(client, reported_at="2026-08-01T00:00:00Z").json()["news"]  # an older report changes nothing


def test_a_label_for_a_transaction_that_never_comes_is_kept(client: Client, worker: Worker) -> None:
    assert label(client, "never").json()["news"]
    assert len(worker.store.entries(0, 10)) == 1


def test_a_label_leaves_an_audit_line_without_the_transaction_s_id(client: Client, worker: Worker) -> None:
    label(client, "secret-id", source="analyst")
    (line,) = worker.settings.audit_log.read_text().splitlines()
    found = json.loads(line)
    assert (found["actor"], found["action"]) == ("local", "label_given")
    assert decision_key("secret-id").hex() in line and "secret-id" not in line


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"is_fraud": "yes"}, "is_fraud"),
        ({"is_fraud": None}, "is_fraud"),
        ({"transaction_id": ""}, "transaction_id"),
        ({"transaction_id": "a\n"}, "transaction_id"),
        ({"transaction_id": 7}, "transaction_id"),
        ({"reported_at": "yesterday"}, "reported_at"),
        ({"reported_at": "2026-03-01T00:00:00"}, "reported_at"),
        ({"reported_at": "1999-12-31T00:00:00Z"}, "reported_at"),
        ({"reported_at": TOMORROW}, "reported_at"),
        ({"source": "simulated"}, "source"),
        ({"source": "gossip"}, "source"),
        ({"fraud_type": "Stolen Card!"}, "fraud_type"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_no_label_is_refused_at_its_field(client: Client, given: dict[str, Any], field: str) -> None:
    error = assert_error(label(client, **given), 422, "invalid_label")
    assert (error["field"], bool(error["fix"])) == (field, True)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b'{"is_fraud": true}', b"[" * 60_000, b"\xff"])
def test_what_is_not_even_an_object_is_refused(client: Client, content: bytes) -> None:
    assert_error(client.post("/labels", content=content), 422, "invalid_label")


def test_a_label_that_names_a_field_twice_is_refused(client: Client) -> None:
    content = b'{"transaction_id": "t1", "is_fraud": true, "is_fraud": false}'
    assert assert_error(client.post("/labels", content=content), 422, "invalid_label")["field"] == "is_fraud"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_self_test_leaves_no_trace(client: Client, worker: Worker, method: str) -> None:
    found = client.request(method, "/test").json()
    assert (found["status"], found["decision"]["model_version"]) == ("ok", "7")
    assert worker.store.entries(0, 10) == []
