"""What the console changes, and who may."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bentos.fraud_scoring.desk import Desk
from fraud_platform.decisions.journal import decision_key
from fraud_platform.errors import ConflictingTransaction, StoreError
from fraud_platform_tests.bentos.console.conftest import Client
from fraud_platform_tests.bentos.console.fakes import FakeReplay, FakeService
from fraud_platform_tests.bentos.console.html_checks import Document, problems_of
from fraud_platform_tests.bentos.console.samples import decided, file, judge

ID = decision_key("tx-1").hex()
CASE = f"/console/decisions/{ID}"
SCORED = {
    "transaction_id": "by hand",
    "event_time": "2026-03-01T12:00:00Z",
    "customer_id": "customer-7",
    "amount_cents": "1999",
}


def verdict(**form: str) -> dict[str, str]:
    return {"decision_id": ID, "verdict": "fraud", "seen": ""} | form


def seen_now(service: FakeService) -> str:
    label = Desk(service).label("tx-1")
    assert label is not None
    return str(label.reported_us)


@pytest.mark.parametrize(("word", "is_fraud"), [("fraud", True), ("legitimate", False)])
def test_a_verdict_becomes_an_analysts_label_and_leaves_the_queue(
    client: Client, service: FakeService, word: str, is_fraud: bool
) -> None:
    file(service.store, decided("tx-1"), decided("tx-2"))
    before = datetime.now(UTC)
    answer = client.post("/console/verdicts", verdict(verdict=word))
    assert (answer.status_code, answer.headers["Location"]) == (303, CASE)
    ((report, by),) = service.labels
    assert (report.transaction_id, report.is_fraud, report.source, by) == ("tx-1", is_fraud, "analyst", "ana")
    assert report.reported_at is not None and before <= report.reported_at <= datetime.now(UTC)
    assert Desk(service).waiting() == 1


@pytest.mark.parametrize(("where", "tag"), [("queue", "li"), ("case", "div")])
def test_htmx_gets_the_part_that_shows_the_verdict(client: Client, service: FakeService, where: str, tag: str) -> None:
    file(service.store, decided("tx-1"))
    answer = client.post("/console/verdicts", verdict(where=where), htmx=True)
    part = Document(answer.text)
    assert answer.status_code == 200 and problems_of(answer.text) == []
    assert part.elements[0].tag == tag and "tx-1: fraud" in part.elements[0].attributes["data-say"]
    assert "Fraud ana" in " ".join(part.text.split())
    (button,) = part.all("button", name="verdict")
    assert (button.attributes["value"], "data-undo" in button.attributes) == ("legitimate", True)


def test_a_verdict_is_corrected_by_the_opposite_one(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))
    client.post("/console/verdicts", verdict())
    client.post("/console/verdicts", verdict(verdict="legitimate", seen=seen_now(service)))
    case = Desk(service).case(ID)
    assert [label.is_fraud for label in case.labels] == [False, True]
    assert case.row.label is not None and not case.row.label.is_fraud


def test_a_verdict_does_not_overwrite_one_that_its_author_has_not_seen(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))
    judge(service.store, "tx-1", False, by="ben")
    answer = client.post("/console/verdicts", verdict(where="queue"), htmx=True)
    assert service.labels == []
    assert "Somebody else gave a verdict meanwhile" in Document(answer.text).text
    again = Document(answer.text).all("input", name="seen")[0].attributes["value"]
    client.post("/console/verdicts", verdict(seen=again))
    assert len(service.labels) == 1


@pytest.mark.parametrize("form", [{"verdict": "maybe"}, {"verdict": ""}])
def test_another_word_is_no_verdict(client: Client, service: FakeService, form: dict[str, str]) -> None:
    file(service.store, decided("tx-1"))
    assert client.post("/console/verdicts", verdict(**form)).status_code == 422
    assert service.labels == []


@pytest.mark.parametrize("decision_id", ["", "0" * 32, "../x"])
def test_a_verdict_on_an_unknown_decision_is_refused(client: Client, service: FakeService, decision_id: str) -> None:
    assert client.post("/console/verdicts", verdict(decision_id=decision_id)).status_code == 404
    assert service.labels == []


def test_without_htmx_a_verdict_leads_back_to_where_it_was_given(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))
    assert client.post("/console/verdicts", verdict(where="queue")).headers["Location"] == "/console/queue"


def test_a_replay_is_shown_beside_what_was_decided(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))
    part = client.post(f"{CASE}/replay", htmx=True)
    assert "The same again" in part.text and problems_of(part.text) == []
    service.replayed = FakeReplay(0.9, "block", False, "4", "Version 3 is no longer loaded; version 4 was asked.")
    page = client.post(f"{CASE}/replay")
    assert page.status_code == 200 and problems_of(page.text) == []
    for expected in ("Another result", "90.0", "Version 3 is no longer loaded"):
        assert expected in page.text


def test_scoring_by_hand_decides_and_shows_why(client: Client, service: FakeService) -> None:
    answer = client.post("/console/score", SCORED | {"age": "41.5", "channel": "", "latitude": ""})
    assert answer.status_code == 200 and problems_of(answer.text) == []
    assert "12 purchases in the last hour" in answer.text
    row = Desk(service).row(decision_key("by hand").hex())
    assert (row.decided.event["amount_cents"], row.decided.event["age"]) == (1999, 41.5)
    assert row.decided.event["latitude"] is None


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"amount_cents": "19,99"}, "amount_cents"),
        ({"amount_cents": "-5"}, "amount_cents"),
        ({"amount_cents": "9" * 30}, "amount_cents"),
        ({"amount_cents": ""}, "amount_cents"),
        ({"event_time": "yesterday"}, "event_time"),
        ({"event_time": "2026-03-01T12:00:00"}, "event_time"),
        ({"customer_id": "<script>"}, None),
        ({"customer_id": "مرحبا"}, "customer_id"),
        ({"customer_id": "x" * 129}, "customer_id"),
        ({"latitude": "NaN"}, "latitude"),
        ({"latitude": "91"}, "latitude"),
        ({"age": "old"}, "age"),
        ({"channel": "pigeon"}, "channel"),
        ({"merchant_country": "<b>"}, "merchant_country"),
    ],
)
def test_an_error_of_the_form_is_shown_at_its_field(
    client: Client, service: FakeService, form: dict[str, str], field: str | None
) -> None:
    answer = client.post("/console/score", SCORED | form)
    assert problems_of(answer.text) == []
    page = Document(answer.text)
    wrong = [of.attributes["name"] for of in page.elements if of.attributes.get("aria-invalid") == "true"]
    assert (answer.status_code, wrong) == ((422, [field]) if field else (200, []))
    for name, value in form.items():  # what was typed is still there
        (kept,) = [of for of in page.elements if of.attributes.get("name") == name]
        assert kept.tag == "select" or kept.attributes["value"] == value


def test_an_id_that_was_decided_otherwise_is_said_at_its_field(client: Client, service: FakeService) -> None:
    async def conflict(body: bytes) -> Any:
        raise ConflictingTransaction("Transaction by hand was decided before with other content.")

    service.decide = conflict
    answer = client.post("/console/score", SCORED)
    assert answer.status_code == 409
    (field,) = [of for of in Document(answer.text).elements if of.attributes.get("aria-invalid") == "true"]
    assert field.attributes["name"] == "transaction_id"


def test_an_entry_is_listed_from_a_case_and_taken_off_again(client: Client, service: FakeService) -> None:
    form = {"list": "block", "subject": "card_id=card=5", "why": "Stolen", "days": "30", "where": "case"}
    part = client.post("/console/lists", form, htmx=True)
    assert "card=5" in Document(part.text).text
    (entry,) = service.loaded_rules().lists.entries
    assert (entry.list, entry.entity, entry.value, entry.owner, entry.why) == (
        "block",
        "card_id",
        "card=5",
        "ana",
        "Stolen",
    )
    assert entry.until is not None and timedelta(days=29) < entry.until - datetime.now(UTC) <= timedelta(days=30)
    removed = client.post("/console/lists/remove", {"list": "block", "entity": "card_id", "value": "card=5"})
    assert (removed.status_code, removed.headers["Location"]) == (303, "/console/rules#lists")
    assert service.loaded_rules().lists.entries == ()
    assert [(actor, action) for actor, action, _ in service.audit.lines] == [
        ("ana", "list_entry_added"),
        ("ana", "list_entry_removed"),
    ]


def test_an_entry_without_a_time_stays(client: Client, service: FakeService) -> None:
    form = {"list": "watch", "entity": "merchant_id", "value": "shop-3", "why": "Chargebacks", "days": ""}
    assert client.post("/console/lists", form).status_code == 303
    (entry,) = service.loaded_rules().lists.entries
    assert (entry.list, entry.until) == ("watch", None)


@pytest.mark.parametrize(
    "form", [{"why": ""}, {"entity": "amount_cents"}, {"list": "grey"}, {"value": ""}, {"value": "مرحبا"}]
)
def test_an_entry_that_cannot_be_is_refused_and_said(
    client: Client, service: FakeService, form: dict[str, str]
) -> None:
    given = {"list": "block", "entity": "card_id", "value": "card-5", "why": "Stolen", "days": ""} | form
    answer = client.post("/console/lists", given)
    assert answer.status_code == 422 and problems_of(answer.text) == []
    assert Document(answer.text).all("p", class_="warning", role="alert")
    assert not service.settings.lists.exists()


def test_what_is_not_listed_cannot_be_taken_off(client: Client) -> None:
    answer = client.post("/console/lists/remove", {"list": "block", "entity": "card_id", "value": "none"}, htmx=True)
    assert answer.status_code == 422 and "not on the block list" in answer.text


def test_a_store_that_cannot_be_read_is_said_on_every_page(client: Client, service: FakeService) -> None:
    def broken(*_: Any) -> Any:
        raise StoreError("The online store cannot be read. Make room on the disk.")

    service.store.last_sequence = service.store.waiting = service.store.queue = broken
    for path in ("/", "/console/queue", "/console/health", "/console/rules"):
        answer = client.get(path)
        assert answer.status_code == 503 and "Make room on the disk" in answer.text
        assert problems_of(answer.text) == []


def test_a_defect_is_not_told_to_the_browser(client: Client, service: FakeService) -> None:
    def defect() -> Any:
        raise RuntimeError("a secret of the code")

    service.health = defect
    answer = client.get("/console/health")
    assert answer.status_code == 500 and "secret" not in answer.text


def test_a_failed_change_leaves_the_row_as_it_is_and_is_said(client: Client, service: FakeService) -> None:
    file(service.store, decided("tx-1"))

    async def broken(*_: Any) -> bool:
        raise StoreError("The online store cannot be written.")

    service.label = broken
    answer = client.post("/console/verdicts", verdict(where="queue"), htmx=True)
    assert (answer.status_code, answer.headers["HX-Retarget"]) == (503, "#said")


def test_the_form_asks_only_for_what_the_source_gives(client: Client) -> None:
    names = [
        of.attributes["name"]
        for of in client.page("/console/score").elements
        if of.attributes.get("id", "").startswith("in-")
    ]
    assert names == [
        "transaction_id", "event_time", "customer_id", "amount_cents", "merchant_id", "merchant_country",
        "currency", "channel", "card_id", "latitude", "age",
    ]  # fmt: skip


def test_numbers_are_sent_as_numbers_and_nonsense_as_it_was_typed() -> None:
    from bentos.fraud_scoring.console.forms import transaction_body, transaction_fields

    fields = transaction_fields(["latitude"], ["age"])
    body = transaction_body({"amount_cents": "007", "latitude": "1e3", "age": "0x10", "customer_id": "7"}, fields)
    assert msgspec.json.decode(body) == {"amount_cents": 7, "latitude": 1000.0, "age": "0x10", "customer_id": "7"}
