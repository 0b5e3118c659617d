"""What the pages show."""

from datetime import timedelta

import msgspec
import pytest

from bentos.fraud_scoring.console import pages
from bentos.fraud_scoring.console.visits import CONTENT_SECURITY_POLICY
from fraud_platform.decisions.backtest_report import BacktestReport, RuleResult, Together, report_file
from fraud_platform.decisions.journal import Reason, Shadow, decision_key
from fraud_platform.decisions.lists import add, new_entry
from fraud_platform_tests.bentos.console.conftest import HTMX, Client
from fraud_platform_tests.bentos.console.fakes import (
    FakeHealth,
    FakeModel,
    FakeModels,
    FakePackage,
    FakePart,
    FakeService,
)
from fraud_platform_tests.bentos.console.html_checks import Document, problems_of
from fraud_platform_tests.bentos.console.samples import NOW, card, decided, file, judge

CASE = f"/console/decisions/{decision_key('tx-1').hex()}"
PAGES = (
    "/",
    "/console/queue",
    "/console/score",
    "/console/rules",
    "/console/model",
    "/console/health",
    "/console/search",
    "/console/search?q=customer-7",
    "/console/search?q=nobody",
)
PARTS = ("/console/live", "/console/queue/count")

RULES = """rules:
- {name: burst, when: customer_count_1h > 8, action: block, weight: 60, mode: live, owner: ana, why: Card testing}
- {name: tried, when: is_foreign == 1, action: review, weight: 5, mode: shadow, owner: ana, why: A try}
- {name: old, when: is_night == 1, action: review, weight: 5, mode: live, until: 2020-01-01, owner: ana, why: Over}
"""


def backtest(name: str) -> BacktestReport:
    """One rule's figures."""
    result = RuleResult(
        name=name, mode="live", action="block", weight=60, rows=5000, days=30, frauds=50, alerts=186,
        alerts_per_day=6.2,
        found=76, precision=0.41, recall=0.22, saved=412_300, added=-200, model_alerts_too=0.83, frauds_only_here=3,
    )  # fmt: skip
    model = Together(name="model", reviews_per_day=7, blocks_per_day=1, found=40, precision=0.2, recall=0.8, saved=1)
    return BacktestReport(
        made_at=NOW, rules_digest="", first=NOW.date(), last=NOW.date(), days=30, as_of=NOW.date(), label_delay_days=7,
        rows=5000, frauds=50, rows_without_score=0, model_versions=("3",), rules=(result,), inactive=(), model=model,
        with_rules=msgspec.structs.replace(model, reviews_per_day=9),
    )  # fmt: skip


@pytest.mark.parametrize("path", [*PAGES, CASE, f"{CASE}/peek", *PARTS, "/console/login?next=/"])
def test_every_page_keeps_the_rules_of_html_and_of_its_policy(client: Client, service: FakeService, path: str) -> None:
    file(service.store, decided("tx-1"), decided("tx-2", "approve"), decided("tx-3", "block"))
    judge(service.store, "tx-3", True)
    if "login" in path:
        service.guard.current = None
    answer = client.get(path, headers=HTMX if path in PARTS or path.endswith("peek") else {})
    assert answer.status_code == 200
    assert problems_of(answer.text) == []


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_something_to_say_when_there_is_nothing(client: Client, service: FakeService, path: str) -> None:
    service.models = FakeModels(champion=None)
    answer = client.get(path)
    assert answer.status_code == 200
    assert problems_of(answer.text) == []
    assert Document(answer.text).all("h1")


def test_headers_forbid_what_a_page_does_not_need(client: Client) -> None:
    for path in ("/", "/console/decisions/none", "/console/static/console.js", "/console/static/none"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/").headers["Cache-Control"] == "no-store"
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_what_a_decision_lacks_is_shown_as_missing(client: Client, service: FakeService) -> None:
    nothing = dict.fromkeys(
        (
            "merchant_id",
            "merchant_category",
            "currency",
            "channel",
            "device_id",
            "ip_address",
            "card_id",
            "home_country",
        )
    )
    without_model = {"fraud_probability": None, "expected_loss": 0, "matched_rules": ("block list: card_id",)}
    file(service.store, decided("tx-1", event=nothing, reasons=(), decision=without_model))
    for path in (CASE, "/", "/console/queue", f"{CASE}/peek"):
        answer = client.get(path)
        assert answer.status_code == 200 and problems_of(answer.text) == []
    text = client.page(CASE).text
    assert "no model" in text and "None" not in text.replace("Similar cases None", "")
    assert "A rule or list decided" in text


def test_the_live_list_says_nothing_where_nothing_came(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))
    assert client.get("/console/live?since=1", headers=HTMX).status_code == 204
    file(service.store, decided("tx-2"))
    answer = client.get("/console/live?since=1", headers=HTMX)
    assert answer.status_code == 200
    (since,) = Document(answer.text).all("input", name="since")
    assert since.attributes["value"] == "2"
    assert [row.attributes["id"] for row in Document(answer.text).all("tr", data_row="")] == [
        f"live-{decision_key(of).hex()}" for of in ("tx-2", "tx-1")
    ]


@pytest.mark.parametrize("since", ["", "-1", "x", "9" * 40, "１"])
def test_a_senseless_position_gives_the_whole_list(client: Client, service: FakeService, since: str) -> None:
    file(service.store, decided("tx-1"))
    assert client.get("/console/live", params={"since": since}, headers=HTMX).status_code == 200


def test_filters_of_the_live_list_add_up(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1", "block"), decided("tx-2", "review"))
    page = client.page("/?action=block&risk=high")
    assert len(page.all("tr", data_row="")) == 1
    on = {link.text: link.attributes["href"] for link in page.all("a", class_="chip", aria_current="true")}
    assert set(on) == {"Blocked", "High", "Any service"}
    addresses = {link.text: link.attributes["href"] for link in page.all("a", class_="chip")}
    assert addresses["Review"] == "/?action=review&risk=high"
    assert addresses["All actions"] == "/?risk=high"
    state = {
        of.attributes["name"]: of.attributes["value"]
        for of in page.all("input", type="hidden")
        if "name" in of.attributes
    }
    assert (state["action"], state["risk"], state["degraded"]) == ("block", "high", "")


def test_an_unknown_filter_shows_all(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))
    assert len(client.page("/?action=explode&risk=none&degraded=yes").all("tr", data_row="")) == 1


def test_the_queue_shows_more_on_request_and_never_all(
    client: Client, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "QUEUE_ROWS", 3)
    monkeypatch.setattr(pages, "MOST_QUEUE_ROWS", 5)
    file(service.store, *(decided(f"tx-{i}") for i in range(9)))
    shown = {
        path: len(client.page(path).all("li", data_row=""))
        for path in ("/console/queue", "/console/queue?show=5", "/console/queue?show=99", "/console/queue?show=x")
    }
    assert shown == dict(zip(shown, (3, 5, 5, 3), strict=True))
    assert "9 waiting" in client.page("/console/queue").text
    assert client.page("/console/queue").all("a", href="/console/queue?show=5")
    assert "The first 5 are shown" in client.page("/console/queue?show=5").text


def test_a_case_shows_reasons_as_bars_that_fit_each_other(client: Client, service: FakeService) -> None:
    reasons = (Reason("amount", "Twice the usual", 2.0, 0.3), Reason("is_night", "At noon", 0.0, -0.1))
    file(service.store, decided("tx-1", reasons=reasons))
    bars = [of.attributes for of in client.page(CASE).all("rect", class_="fill") if "x" in of.attributes]
    assert [(bar["x"], bar["width"]) for bar in bars] == [("25.0", "75.0"), ("0.0", "25.0")]


def test_a_case_tells_everything_that_is_known_of_it(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-0", "approve", at=NOW - timedelta(days=1)))
    shadow = Shadow("4", 0.9, "block")
    file(
        service.store,
        decided("tx-1", shadow=shadow, shadow_rules=("tried",), decision={"matched_rules": ("burst",), "late": True}),
    )
    judge(service.store, "tx-1", True, by="ben", source="chargeback", fraud_type="stolen_card")
    text = client.page(CASE).text
    for expected in (
        "123.45 EUR", "41.0", "12 purchases in the last hour", "burst", "tried", "block at 90.0", "another decision",
        "late", "Fraud chargeback, stolen card, ben", "customer-7", "All 4 model inputs", "2026-03-01 12:00:00 UTC",
    ):  # fmt: skip
        assert expected in text


def test_search_goes_straight_to_the_only_decision(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))
    answer = client.get("/console/search", params={"q": " tx-1 "})
    assert (answer.status_code, answer.headers["Location"]) == (303, CASE)
    assert "Too long" in client.page(f"/console/search?q={'x' * 129}").text


def test_the_model_page_shows_what_the_card_says(client: Client, service: FakeService) -> None:
    service.models = FakeModels(challenger=FakeModel("4", FakePackage(card(algorithm="lightgbm"))))
    text = client.page("/console/model").text
    for expected in (
        "Version 3", "Average precision 41.0", "36.9", "7,970.85", "stolen card", "4.7", "Beside the challenger",
        "version 4, lightgbm", "amount in minor units", "Error 0.6",
    ):  # fmt: skip
        assert expected in text, expected


def test_a_card_without_figures_has_a_page(client: Client, service: FakeService) -> None:
    bare = card(evaluation={}, importance=(), periods={}, splits={})
    service.models = FakeModels(FakeModel("3", FakePackage(bare)))
    answer = client.get("/console/model")
    assert answer.status_code == 200 and problems_of(answer.text) == []


def test_lists_show_their_entries_and_that_their_time_is_over(client: Client, service: FakeService) -> None:
    until = NOW - timedelta(days=1)
    add(service.settings.lists, new_entry("block", "card_id", "card-5", "ana", "stolen", until), lambda *_: None)
    assert "card-5 stolen ana" in client.page("/console/rules").text
    assert client.page("/console/rules").all("tr", class_="over")


def test_rules_are_shown_with_what_they_did_on_history(client: Client, service: FakeService) -> None:
    service.settings.rules.write_text(RULES)
    service.rules = service.loaded_rules()
    report_file(service.settings).parent.mkdir(parents=True)
    report_file(service.settings).write_bytes(msgspec.json.encode(backtest("burst")))
    answer = client.get("/console/rules")
    assert problems_of(answer.text) == []
    text = Document(answer.text).text
    for expected in (
        "burst live block weight 60 · ana", "customer_count_1h > 8", "Alerts a day 6.2", "Precision 41.0",
        "Adds to the model −2.00",
        "Not in the backtest", "tried shadow review", "old over review", "the model and the live rules 9",
    ):  # fmt: skip
        assert expected in text, expected


def test_a_backtest_that_cannot_be_read_is_said(client: Client, service: FakeService) -> None:
    service.settings.rules.write_text(RULES)
    service.rules = service.loaded_rules()
    report_file(service.settings).parent.mkdir(parents=True)
    report_file(service.settings).write_text("{")
    assert "rule_backtest.json cannot be read" in client.page("/console/rules").text


def test_a_broken_rules_file_is_said(client: Client, service: FakeService) -> None:
    service.rules_problem = "rules.yaml: rule burst: when: there is no column amont."
    assert "there is no column amont" in client.page("/console/rules").text


def test_health_shows_what_is_not_usable(client: Client, service: FakeService) -> None:
    service.state = FakeHealth("unavailable", (FakePart("store", False, "The disk is full."),))
    file(service.store, *(decided(f"tx-{i}") for i in range(3)))
    service.store.acknowledge(1, 10)
    text = client.page("/console/health").text
    assert "unavailable" in text and "not usable The disk is full." in text
    assert "Outbox not yet in the warehouse 2 of 3" in text
    assert "No drift report yet" in text


@pytest.mark.parametrize("content", ["{", "[]", '{"share_drifted": "x"}'])
def test_a_drift_file_that_cannot_be_read_is_said(client: Client, service: FakeService, content: str) -> None:
    service.settings.reports.mkdir(parents=True)
    (service.settings.reports / "drift.json").write_text(content)
    assert "drift.json cannot be read" in client.page("/console/health").text
