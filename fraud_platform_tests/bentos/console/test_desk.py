"""The read model, held against what was filed."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from bentos.fraud_scoring import desk as desk_module
from bentos.fraud_scoring.cases import Found, Queue, Recent, Row, Wanted
from bentos.fraud_scoring.desk import CaseNotFound, Desk
from fraud_platform.decisions.deployment import Deployment, LastPromotion, write_deployment
from fraud_platform.decisions.journal import Labelled, Shadow, decision_key
from fraud_platform_tests.bentos.console.fakes import FakeModel, FakeModels, FakePackage, FakeService
from fraud_platform_tests.bentos.console.samples import INPUTS, NOW, card, decided, file, judge


@pytest.fixture
def desk(service: FakeService) -> Desk:
    return Desk(service)


def ids(rows: tuple[Row, ...]) -> list[str]:
    return [row.decided.decision.transaction_id for row in rows]


def test_recent_are_the_newest_first_with_their_verdicts(desk: Desk, service: FakeService) -> None:
    file(service.store, *(decided(f"tx-{i}") for i in range(5)))
    judge(service.store, "tx-3", True)
    found = desk.recent(0, 3)
    assert ids(found.rows) == ["tx-4", "tx-3", "tx-2"]
    assert [row.label and row.label.is_fraud for row in found.rows] == [None, True, None]
    assert found.last == 6, "the label is an entry too"
    assert found.actions == {"review": 5}


def test_recent_gives_only_what_came_after(desk: Desk, service: FakeService) -> None:
    file(service.store, *(decided(f"tx-{i}") for i in range(5)))
    assert ids(desk.recent(3, 10).rows) == ["tx-4", "tx-3"]
    assert desk.recent(5, 10).rows == ()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), ["c", "b", "a"]),
        (Wanted(action="block"), ["b"]),
        (Wanted(risk="low"), ["a"]),
        (Wanted(degraded=True), ["c"]),
        (Wanted(action="block", degraded=True), []),
    ],
)
def test_a_filter_leaves_what_is_wanted(desk: Desk, service: FakeService, wanted: Wanted, expected: list[str]) -> None:
    degraded = decided("c", "review", decision={"degraded": True}, served_by="fallback")
    file(service.store, decided("a", "approve"), decided("b", "block"), degraded)
    found = desk.recent(0, 10, wanted)
    assert ids(found.rows) == expected
    assert found.actions == {"approve": 1, "review": 1, "block": 1}, "the summary is of all"


def test_a_rare_kind_is_found_far_back_and_not_beyond_the_limit(
    desk: Desk, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "WINDOW", 10)
    monkeypatch.setattr(desk_module, "LOOKED_THROUGH", 40)
    file(service.store, decided("far", "block"), *(decided(f"tx-{i}", "approve") for i in range(35)))
    assert ids(desk.recent(0, 5, Wanted(action="block")).rows) == ["far"]
    file(service.store, *(decided(f"more-{i}", "approve") for i in range(30)))
    found = desk.recent(0, 5, Wanted(action="block"))
    assert found.rows == () and found.exhausted and found.looked_through == 40


def test_recent_ends_where_the_outbox_was_trimmed(desk: Desk, service: FakeService) -> None:
    file(service.store, *(decided(f"tx-{i}") for i in range(8)))
    service.store.acknowledge(8, keep=2)
    found = desk.recent(0, 50)
    assert ids(found.rows) == ["tx-7", "tx-6"] and not found.exhausted


def test_an_empty_store_has_nothing_to_show(desk: Desk) -> None:
    assert desk.recent(0, 50) == Recent((), 0, {}, 0, 0, exhausted=False)
    assert desk.queue(50) == Queue((), 0)
    assert desk.history("nobody") == ()
    assert desk.search("nothing") == Found((), (), None)


def test_the_queue_is_by_expected_loss_and_a_verdict_takes_off(desk: Desk, service: FakeService) -> None:
    amounts = {"small": 1_000, "large": 900_000, "middle": 50_000}
    file(service.store, *(decided(name, event={"amount_cents": cents}) for name, cents in amounts.items()))
    file(service.store, decided("approved", "approve"), decided("blocked", "block"))
    assert ids(desk.queue(10).rows) == ["large", "middle", "small"]
    assert (ids(desk.queue(1).rows), desk.queue(1).waiting) == (["large"], 3)
    judge(service.store, "large", False)
    assert ids(desk.queue(10).rows) == ["middle", "small"]


def test_a_case_has_its_history_its_verdicts_and_what_is_related(desk: Desk, service: FakeService) -> None:
    elsewhere = {"customer_id": "other", "card_id": "card-0", "device_id": "device-0", "merchant_id": "shop-0"}
    file(service.store, decided("earlier", "approve"), decided("same card", event=elsewhere | {"card_id": "card-5"}))
    file(
        service.store,
        decided("same reason", event=elsewhere),
        decided("the case"),
        decided("not", "approve", event=elsewhere),
    )
    judge(service.store, "the case", True, NOW)
    judge(service.store, "the case", False, NOW + timedelta(hours=1), by="ben")
    judge(service.store, "same card", True)
    case = desk.case(decision_key("the case").hex())
    assert ids(case.history) == ["the case", "earlier"]
    assert [(label.is_fraud, label.by) for label in case.labels] == [(False, "ben"), (True, "ana")]
    assert case.row.label is not None and not case.row.label.is_fraud
    related = {of.kind: ids(of.rows) for of in case.related}
    assert related == {"reason": ["same reason", "same card"], "card_id": ["same card"]}
    (by_card,) = [of for of in case.related if of.kind == "card_id"]
    assert by_card.rows[0].label is not None and by_card.rows[0].label.is_fraud


def test_a_label_that_is_no_longer_in_the_outbox_is_shown_from_its_record(desk: Desk, service: FakeService) -> None:
    file(service.store, decided())
    judge(service.store, "tx-1", True)
    service.store.acknowledge(2, keep=0)
    case = desk.case(decision_key("tx-1").hex())
    assert [label.is_fraud for label in case.labels] == [True]
    assert case.history == ()


def test_an_approved_case_has_no_reason_to_be_similar_by(desk: Desk, service: FakeService) -> None:
    nobody = {"card_id": None, "device_id": None, "merchant_id": None}
    file(service.store, decided("tx-1", "approve", event=nobody), decided("tx-2", event=nobody))
    assert desk.case(decision_key("tx-1").hex()).related == ()


@pytest.mark.parametrize("decision_id", ["", "00", "0" * 32, "z" * 32, "ab " * 10 + "ab", "0" * 33, "０" * 32])
def test_an_unknown_decision_is_said_to_be_unknown(desk: Desk, decision_id: str) -> None:
    with pytest.raises(CaseNotFound):
        desk.case(decision_id)


def test_search_finds_by_every_id(desk: Desk, service: FakeService) -> None:
    file(service.store, decided("tx-1"), decided("tx-2", "approve"))
    by_transaction = desk.search("tx-1")
    assert ids(by_transaction.exact) == ["tx-1"]
    assert desk.search(decision_key("tx-1").hex().upper()).exact == by_transaction.exact
    groups = {
        of: [(group.kind, ids(group.rows)) for group in desk.search(of).groups] for of in ("customer-7", "card-5")
    }
    assert groups == {"customer-7": [("customer_id", ["tx-2", "tx-1"])], "card-5": [("card_id", ["tx-1"])]}


def test_search_finds_a_verdict_whose_transaction_never_came(desk: Desk, service: FakeService) -> None:
    judge(service.store, "tx-9", True)
    orphan = desk.search("tx-9").orphan
    assert isinstance(orphan, Labelled) and orphan.is_fraud


def test_inputs_are_named_by_the_model_of_the_decisions_catalog(desk: Desk, service: FakeService) -> None:
    vector = np.array([1.5, np.nan, 0.0, -2.0], "<f4").tobytes()
    assert desk.inputs(decided(vector=vector)) == tuple(zip(INPUTS, (1.5, None, 0.0, -2.0), strict=True))
    assert desk.inputs(decided(decision={"catalog_fingerprint": "another"})) == ()
    assert desk.inputs(decided(vector=b"")) == ()
    service.models = FakeModels(champion=None)
    assert desk.inputs(decided(vector=vector)) == ()


def test_the_model_page_compares_with_what_else_is_loaded(desk: Desk, service: FakeService) -> None:
    other = card(feature_columns=(*INPUTS[:3], "is_night"), algorithm="lightgbm", snapshot_hash="another")
    service.models = FakeModels(fallback=FakeModel("2", FakePackage(other)))
    page = desk.model_card()
    assert [(of.role, of.version) for of in page.models] == [("champion", "3"), ("fallback", "2")]
    (comparison,) = page.comparisons
    assert not comparison.same_rows
    assert (comparison.added, comparison.removed) == (("merchant_fraud_rate_7d",), ("is_night",))
    assert [of.share for of in page.models[0].importance] == [0.5, 0.3, 0.2], "what is not used is not shown"


def test_the_promotion_is_read_from_the_deployment_file(desk: Desk, service: FakeService) -> None:
    file_ = service.settings.deployment
    assert desk.model_card().promotion is None and desk.model_card().problem is None
    promotion = LastPromotion("promoted", 2, "It saves more.", "the gate", NOW)
    write_deployment(file_, Deployment(promotion=promotion))
    assert desk.model_card().promotion == promotion
    file_.write_text("{")
    assert "deployment.json cannot be used" in (desk.model_card().problem or "")


def test_a_shadow_that_agrees_is_no_signal() -> None:
    from bentos.fraud_scoring.console.rendering import signals

    assert signals(decided(shadow=Shadow("4", 0.5, "review"))) == []
    assert [word for word, _ in signals(decided(shadow=Shadow("4", 0.9, "block")))] == ["shadow differs"]


def test_rules_of_a_broken_file_of_lists_are_those_in_force(desk: Desk, service: FakeService, tmp_path: Path) -> None:
    service.settings.lists.parent.mkdir(parents=True)
    service.settings.lists.write_text("entries: [")
    book = desk.rules()
    assert book.entries == () and "lists.yaml" in (book.problem or "")
