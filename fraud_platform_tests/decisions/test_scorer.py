import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from fraud_platform.decisions.journal import Decided, Labelled, decision_key, decode
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.errors import ArtefactError, ConflictingTransaction, StoreError
from fraud_platform.features.expressions import DAY
from fraud_platform.features.selection import build_catalog
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.costs import Thresholds
from fraud_platform_tests.features.building import build

CATALOG = build_catalog({"customer_id", "merchant_id", "amount_cents", "event_time"}, [], 7 * DAY)
EVENT = {
    "transaction_id": "t1",
    "event_us": 1_700_000_000_000_000,
    "customer_id": "ann",
    "merchant_id": "m",
    "amount_cents": 5000,
}
COUNT = CATALOG.names.index("customer_count_1d")


def counting_model(fingerprint: str = CATALOG.fingerprint) -> Artefact:
    """Its "probability" is the customer's count of the last day over 1,000: what the state holds can be read off."""
    card = SimpleNamespace(catalog=SimpleNamespace(fingerprint=fingerprint), thresholds=Thresholds(0.002))
    model = SimpleNamespace(card=card, predict=lambda matrix: matrix[:, COUNT].astype(np.float64) / 1000)
    return cast(Artefact, model)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    store = LmdbStore(tmp_path, map_bytes=1 << 26)
    yield store
    store.close()


@pytest.fixture
def scorer(store: LmdbStore) -> Scorer:
    return Scorer(counting_model(), CATALOG, store, "3")


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {**EVENT, "transaction_id": f"t{number}", "event_us": EVENT["event_us"] + number * 1000, **changes}


def test_a_transaction_is_seen_by_the_next_of_its_customer(scorer: Scorer) -> None:
    probabilities = [scorer.score(event(number)).fraud_probability for number in range(3)]
    assert probabilities == [0.0, 0.001, 0.002]


def test_a_decision_says_what_the_policy_and_the_model_say(scorer: Scorer) -> None:
    decisions = [scorer.score(event(number)) for number in range(3)]
    assert [(d.risk_level, d.action, d.is_fraud) for d in decisions] == [
        ("low", "approve", False),
        ("medium", "approve", False),
        ("high", "review", True),
    ]
    assert decisions[0].model_version == "3"
    assert decisions[0].catalog_fingerprint == CATALOG.fingerprint


def test_the_same_transaction_again_gets_the_same_decision_and_is_counted_once(scorer: Scorer) -> None:
    first = scorer.score(EVENT)
    assert scorer.score(EVENT) == first
    assert scorer.score(event(2)).fraud_probability == 0.001


def test_the_same_id_with_other_content_is_a_conflict(scorer: Scorer) -> None:
    scorer.score(EVENT)
    with pytest.raises(ConflictingTransaction, match="t1"):
        scorer.score({**EVENT, "amount_cents": 1})


def test_a_transaction_without_a_merchant_is_scored(scorer: Scorer) -> None:
    assert scorer.score({**EVENT, "merchant_id": None}).action == "approve"


def test_warming_up_leaves_no_trace(scorer: Scorer, store: LmdbStore) -> None:
    scorer.warm_up()
    at = decision_key("warm-up")
    assert store.read([at], []).records == {at: None}
    assert store.entries(0, 10) == []


def test_a_model_of_another_catalog_is_refused(store: LmdbStore) -> None:
    with pytest.raises(ArtefactError, match="0123456789abcdef"):
        Scorer(counting_model("0123456789abcdef"), CATALOG, store, "1")


def test_a_store_of_another_catalog_is_refused(store: LmdbStore) -> None:
    build(store, "0123456789abcdef")
    with pytest.raises(StoreError, match="online_state"):
        Scorer(counting_model(), CATALOG, store, "1")


def test_a_late_transaction_is_decided_counted_and_marked(scorer: Scorer) -> None:
    late = [scorer.score(event(number)).late for number in (5, 3, 9)]
    assert late == [False, True, False]
    assert scorer.score(event(10)).fraud_probability == 0.003


def test_the_outbox_holds_what_was_decided_and_reported_in_order(scorer: Scorer, store: LmdbStore) -> None:
    decision = scorer.score(EVENT)
    assert scorer.label("t1", is_fraud=True, reported_us=EVENT["event_us"] + DAY)
    decided, labelled = (decode(entry.content) for entry in store.entries(0, 10))
    assert isinstance(decided, Decided) and decided.decision == decision
    assert decided.event == {**EVENT, "known_fraud": 0}
    assert labelled == Labelled("t1", True, EVENT["event_us"] + DAY, True)


class TestLabels:
    """The merchant's fraud rate of the event's own window, ten days after one payment was labelled."""

    @pytest.fixture
    def rate(self, store: LmdbStore) -> "Rate":
        return Rate(store)

    def test_a_fraud_counts_once_it_is_reported(self, rate: "Rate") -> None:
        rate.score(EVENT)
        rate.label(True, after=DAY)
        assert rate.later() == 1

    def test_one_reported_after_the_label_delay_never_counts(self, rate: "Rate") -> None:
        rate.score(EVENT)
        rate.label(True, after=8 * DAY)
        assert rate.later() == 0

    def test_a_label_may_come_before_its_transaction(self, rate: "Rate") -> None:
        rate.label(True, after=-DAY)
        rate.score(EVENT)
        assert rate.later() == 1

    def test_a_label_that_comes_twice_counts_once(self, rate: "Rate") -> None:
        rate.score(EVENT)
        assert [rate.label(True, after=DAY) for _ in range(2)] == [True, False]
        assert rate.later() == 1

    def test_a_correction_takes_the_fraud_back(self, rate: "Rate") -> None:
        rate.score(EVENT)
        rate.label(True, after=DAY)
        rate.label(False, after=2 * DAY)
        assert rate.later() == 0

    def test_an_older_report_that_arrives_later_changes_nothing(self, rate: "Rate") -> None:
        rate.score(EVENT)
        rate.label(False, after=2 * DAY)
        assert not rate.label(True, after=DAY)
        assert rate.later() == 0

    def test_of_two_reports_at_one_instant_fraud_wins(self, rate: "Rate") -> None:
        rate.score(EVENT)
        rate.label(False, after=DAY)
        rate.label(True, after=DAY)
        assert rate.later() == 1

    def test_a_label_before_its_transaction_may_be_corrected_after_it(self, rate: "Rate") -> None:
        rate.label(True, after=-DAY)
        rate.score(EVENT)
        rate.label(False, after=DAY)
        assert rate.later() == 0


class Rate:
    """A scorer whose "probability" is the merchant's known fraud rate."""

    def __init__(self, store: LmdbStore) -> None:
        place = CATALOG.names.index("merchant_fraud_rate_7d")
        card = SimpleNamespace(catalog=CATALOG.origin, thresholds=Thresholds(0.5))
        model = SimpleNamespace(card=card, predict=lambda matrix: np.nan_to_num(matrix[:, place].astype(np.float64)))
        self._scorer = Scorer(cast(Artefact, model), CATALOG, store, "1")
        self.score = self._scorer.score

    def label(self, is_fraud: bool, after: int) -> bool:
        return self._scorer.label("t1", is_fraud, EVENT["event_us"] + after)

    def later(self) -> float:
        return self.score({**EVENT, "transaction_id": "t9", "event_us": EVENT["event_us"] + 10 * DAY}).fraud_probability


def _score_many(folder: Path, worker: int, events: int) -> None:
    store = LmdbStore(folder, map_bytes=1 << 26)
    scorer = Scorer(counting_model(), CATALOG, store, "1")
    for number in range(events):
        scorer.score(event(number * 10 + worker))
    store.close()


@pytest.mark.slow
def test_two_processes_on_one_customer_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_score_many, args=(tmp_path, worker, 100)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    store = LmdbStore(tmp_path, map_bytes=1 << 26)
    later = Scorer(counting_model(), CATALOG, store, "1").score(event(10_000))
    store.close()
    assert later.fraud_probability == 0.2
