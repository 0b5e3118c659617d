"""The console on a worker as the service has it: a real scorer, store, guard and audit, a stub in the model's place."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bentos.fraud_scoring.api import Stage
from bentos.fraud_scoring.console.routes import CHANGING, READING, console_routes
from bentos.fraud_scoring.desk import Desk
from bentos.fraud_scoring.worker import Worker
from fraud_platform.access import create
from fraud_platform.decisions.journal import decision_key
from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.costs import Thresholds
from fraud_platform_tests.bentos.console.conftest import HTMX, Client
from fraud_platform_tests.bentos.console.html_checks import Document, problems_of
from fraud_platform_tests.bentos.console.samples import card
from fraud_platform_tests.bentos.console.serving import served
from fraud_platform_tests.bentos.workers import CATALOG, settings_in, stub_model, worker_of
from fraud_platform_tests.chromium import PAGE_MS
from fraud_platform_tests.features.building import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TYPED = {
    "transaction_id": "by hand",
    "event_time": "2026-03-01T12:00:00Z",
    "customer_id": "ann",
    "amount_cents": "200000",
    "card_id": "card-1",
}
ID = decision_key("by hand").hex()


def model_with_a_card() -> Artefact:
    """The stub, with a card that can be shown."""
    names = tuple(CATALOG.names)
    once = (1.0,) + (0.0,) * (len(names) - 1)
    shown = card(catalog=CATALOG.origin, feature_columns=names, thresholds=Thresholds(0.5), importance=once)
    return cast(Artefact, SimpleNamespace(card=shown, predict=stub_model().predict))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    store = LmdbStore(tmp_path / "store", map_bytes=1 << 26)
    worker = worker_of(store, settings_in(tmp_path), Router(Candidate("7", model_with_a_card())))
    build(store, worker.catalog.fingerprint)
    yield worker
    store.close()


@pytest.fixture
def client(worker: Worker) -> Client:
    return Client(Stage(worker))


def token_of(page: Document) -> dict[str, str]:
    return {"csrf_token": page.all("input", name="csrf_token")[0].attributes["value"]}


def audited(worker: Worker) -> list[str]:
    return [json.loads(line)["action"] for line in worker.settings.audit_log.read_text().splitlines()]


def test_a_payment_is_scored_found_in_the_queue_judged_and_corrected(client: Client, worker: Worker) -> None:
    form = token_of(client.page("/console/score"))
    assert "90.0" in client.post("/console/score", TYPED | form).text
    assert client.page("/console/queue").all("li", id=f"q-{ID}")
    client.post("/console/verdicts", {"decision_id": ID, "verdict": "fraud", "seen": ""} | form)
    assert not client.page("/console/queue").all("li", id=f"q-{ID}")
    (seen,) = client.page(f"/console/decisions/{ID}").all("input", name="seen")
    correction = {"decision_id": ID, "verdict": "legitimate", "seen": seen.attributes["value"]}
    client.post("/console/verdicts", correction | form)
    case = Desk(worker).case(ID)
    assert [(label.is_fraud, label.source, label.by) for label in case.labels] == [
        (False, "analyst", "local"),
        (True, "analyst", "local"),
    ]
    assert audited(worker) == ["label_given", "label_given"]


def test_a_decision_is_replayed_from_its_page(client: Client) -> None:
    form = token_of(client.page("/console/score"))
    client.post("/console/score", TYPED | form)
    assert "The same again" in client.post(f"/console/decisions/{ID}/replay", form, htmx=True).text


def test_a_replay_whose_model_is_gone_is_explained(client: Client, worker: Worker) -> None:
    form = token_of(client.page("/console/score"))
    client.post("/console/score", TYPED | form)
    worker.scorer.router = Router(Candidate("8", model_with_a_card()))
    answer = client.post(f"/console/decisions/{ID}/replay", form, htmx=True)
    assert answer.status_code == 409 and "Model version 7 decided, and is not loaded" in answer.text


def test_every_input_of_a_decision_is_shown_by_name(client: Client, worker: Worker) -> None:
    client.post("/console/score", TYPED | token_of(client.page("/console/score")))
    inputs = dict(Desk(worker).inputs(Desk(worker).row(ID).decided))
    assert list(inputs) == CATALOG.names and inputs["amount"] == 200_000


def test_an_entry_of_a_list_counts_from_the_next_reload_on(client: Client, worker: Worker) -> None:
    form = token_of(client.page("/console/rules"))
    client.post("/console/lists", form | {"list": "block", "entity": "card_id", "value": "card-1", "why": "Stolen"})
    assert "card-1" in client.page("/console/rules").text, "shown before it is in force"
    worker.scorer.rules = RuleSet.of_settings(worker.settings, CATALOG)
    answer = client.post("/console/score", TYPED | {"amount_cents": "100"} | token_of(client.page("/console/score")))
    assert "block list: card_id" in answer.text
    assert audited(worker) == ["list_entry_added"]


def test_a_rules_file_that_the_worker_cannot_use_is_said(client: Client, worker: Worker) -> None:
    worker.settings.lists.parent.mkdir(parents=True, exist_ok=True)
    worker.settings.lists.write_text("entries: [")
    asyncio.run(worker.watched[1].look())
    assert "lists.yaml" in client.page("/console/rules").text
    assert "not usable" in client.page("/console/health").text


@pytest.mark.parametrize("path", ["/console/health", "/console/model", "/", "/console/rules"])
def test_pages_show_what_the_worker_has(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200 and problems_of(answer.text) == []


def test_before_the_model_is_loaded_every_page_says_so() -> None:
    client = Client(Stage())
    for path in (*READING, *CHANGING):
        method = "POST" if path in CHANGING else "GET"
        answer = client.request(method, path.replace("{decision_id}", ID).replace("{rest:path}", "none"))
        assert answer.status_code == 503 and "The service is starting" in answer.text
    assert client.get("/console/static/console.css").status_code == 200


def test_with_keys_an_analyst_logs_in_and_out(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    key = create(settings.api_keys, "ana", ("analyst",))
    store = LmdbStore(tmp_path / "store", map_bytes=1 << 26)
    build(store, CATALOG.fingerprint)
    worker = worker_of(store, settings, Router(Candidate("7", model_with_a_card())))
    client = Client(Stage(worker))
    assert client.get("/").headers["Location"] == "/console/login?next=%2F"
    wrong = client.request("POST", "/console/login", data={"key": "fp_wrong", "next": "/"})
    assert wrong.status_code == 401 and "fp_wrong" not in wrong.text
    right = client.request("POST", "/console/login", data={"key": key, "next": "/console/queue"})
    assert (right.status_code, right.headers["Location"]) == (303, "/console/queue")
    cookie = {"Cookie": right.headers["Set-Cookie"].partition(";")[0]}
    page = Document(client.get("/console/queue", headers=cookie).text)
    assert "ana" in page.text
    forged = client.request(
        "POST", "/console/logout", data=token_of(page), headers=cookie | {"Sec-Fetch-Site": "cross-site"}
    )
    assert forged.status_code == 403
    out = client.request("POST", "/console/logout", data=token_of(page), headers=cookie)
    assert out.headers["Location"] == "/console/login"
    assert client.get("/console/queue", headers=cookie).status_code == 303
    store.close()


def test_a_key_that_may_only_score_is_told_so_at_the_login(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    key = create(settings.api_keys, "shop", ("score",))
    worker: Any = worker_of(LmdbStore(tmp_path / "store", map_bytes=1 << 26), settings)
    answer = Client(Stage(worker)).request("POST", "/console/login", data={"key": key})
    assert answer.status_code == 403 and "not for the console" in answer.text
    worker.store.close()


def test_polls_that_find_nothing_new_cost_no_page(client: Client) -> None:
    client.post("/console/score", TYPED | token_of(client.page("/console/score")))
    assert client.get("/console/live?since=1", headers=HTMX).status_code == 204


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_logs_in_scores_judges_and_logs_out(browser: "Browser", tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    key = create(settings.api_keys, "ana", ("analyst",))
    store = LmdbStore(tmp_path / "store", map_bytes=1 << 26)
    build(store, CATALOG.fingerprint)
    worker = worker_of(store, settings, Router(Candidate("7", model_with_a_card())))
    with served(console_routes(Stage(worker))) as address, browser.new_context(base_url=address) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        page.goto("/console/score")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        for name in ("customer_id", "amount_cents", "card_id"):
            page.get_by_label(name).fill(TYPED[name])
        page.get_by_label("transaction_id").fill(TYPED["transaction_id"])
        page.get_by_role("button", name="Score").click()
        page.get_by_text("90.0").wait_for()
        page.keyboard.press("g")
        page.keyboard.press("q")
        page.get_by_text("1 waiting").first.wait_for()
        page.keyboard.press("f")
        page.get_by_text("by hand: fraud").wait_for()
        page.goto(f"/console/decisions/{ID}")
        page.get_by_role("button", name="Decide again").click()
        page.get_by_text("The same again").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("API key").wait_for()
        page.goto("/console/queue")
        page.get_by_label("API key").wait_for()
    label = Desk(worker).label("by hand")
    assert label is not None and (label.is_fraud, label.by, label.source) == (True, "ana", "analyst")
    store.close()
