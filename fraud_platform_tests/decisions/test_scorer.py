import multiprocessing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.decisions.journal import Decided, Labelled, Shadow, decision_key, decode, entity_key
from fraud_platform.decisions.policy import Match, Matches
from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.decisions.scorer import TOGETHER, Outcome, Scorer
from fraud_platform.errors import ArtefactError, ConflictingTransaction, FraudPlatformError, StoreError
from fraud_platform.features.expressions import DAY
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.selection import build_catalog
from fraud_platform.features.stores import Change, Entry, Snapshot
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.costs import CostMatrix, Thresholds
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
    card = SimpleNamespace(
        catalog=SimpleNamespace(fingerprint=fingerprint), thresholds=Thresholds(0.002), costs=CostMatrix()
    )
    model = SimpleNamespace(card=card, predict=lambda matrix: matrix[:, COUNT].astype(np.float64) / 1000)
    return cast(Artefact, model)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    store = LmdbStore(tmp_path, map_bytes=1 << 26)
    yield store
    store.close()


@pytest.fixture
def scorer(store: LmdbStore) -> Scorer:
    return Scorer(Router(Candidate("3", counting_model())), CATALOG, store)


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
        Scorer(Router(Candidate("1", counting_model("0123456789abcdef"))), CATALOG, store)


def test_a_store_of_another_catalog_is_refused(store: LmdbStore) -> None:
    build(store, "0123456789abcdef")
    with pytest.raises(StoreError, match="online_state"):
        Scorer(Router(Candidate("1", counting_model())), CATALOG, store)


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


def summary(answer: Outcome | FraudPlatformError) -> tuple[Any, ...]:
    """What of an answer does not depend on the clock."""
    if isinstance(answer, FraudPlatformError):
        return type(answer), str(answer)
    decided, decision = answer.decided, answer.decision
    return answer.new, decided.event, decided.vector, decision.fraud_probability, decision.action, decision.late


EVENTS = st.lists(
    st.builds(
        lambda number, customer, merchant, amount: event(
            number, customer_id=customer, merchant_id=merchant, amount_cents=amount
        ),
        st.integers(0, 12),
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["m", "n", None]),
        st.sampled_from([100, 5000]),
    ),
    max_size=14,
)


class TestTogether:
    """Several transactions at once are decided on as if they had come one by one."""

    @settings(deadline=None, max_examples=40)
    @given(events=EVENTS, cuts=st.sets(st.integers(1, 13)))
    def test_however_they_are_grouped(self, events: list[dict[str, Any]], cuts: set[int]) -> None:
        with TemporaryDirectory() as one, TemporaryDirectory() as other:
            alone, together = (LmdbStore(Path(folder), map_bytes=1 << 24) for folder in (one, other))
            single, grouped = (Scorer(Router(Candidate("3", counting_model())), CATALOG, s) for s in (alone, together))
            expected = [answer for one_event in events for answer in single.score_all([one_event])]
            edges = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
            found = [a for start, end in pairwise(edges) for a in grouped.score_all(events[start:end])]
            assert list(map(summary, found)) == list(map(summary, expected))
            entries = [[decode(e.content) for e in s.entries(0, 100)] for s in (together, alone)]
            assert [e.event for e in entries[0]] == [e.event for e in entries[1]]  # pyright: ignore
            alone.close(), together.close()

    def test_one_that_cannot_be_computed_costs_the_others_nothing(self, scorer: Scorer, store: LmdbStore) -> None:
        damaged = event(1, customer_id="eve")
        key = OnlineFeatures(CATALOG).keys(damaged)[("customer_id",)]
        build(store, CATALOG.fingerprint, [(key, 1, b"no state")])
        answers = scorer.score_all([event(number) for number in (0, 2)] + [damaged] + [event(3)])
        assert [isinstance(answer, StoreError) for answer in answers] == [False, False, True, False]
        assert [entry_id(entry) for entry in store.entries(0, 10)] == ["t0", "t2", "t3"]

    def test_nothing_asked_is_nothing_answered(self, scorer: Scorer) -> None:
        assert scorer.score_all([]) == []

    def test_they_are_one_commit(self, scorer: Scorer, store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
        commits = []
        commit = store.commit
        monkeypatch.setattr(store, "commit", lambda *given: commits.append(given) or commit(*given))
        scorer.score_all([event(number) for number in range(20)])
        assert len(commits) == 1

    def test_those_that_keep_meeting_changed_states_are_taken_in_halves(
        self, scorer: Scorer, store: LmdbStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit, sizes = store.commit, []

        def refusing(snapshot: Snapshot, change: Change) -> int | None:
            sizes.append(len(change.entries))
            return commit(snapshot, change) if len(change.entries) <= 2 else None

        monkeypatch.setattr(store, "commit", refusing)
        answers = scorer.score_all([event(number) for number in range(8)])
        assert [isinstance(answer, Outcome) and answer.new for answer in answers] == [True] * 8
        assert sizes == [8] * TOGETHER + [4] * TOGETHER + [2, 2] + [4] * TOGETHER + [2, 2]


def entry_id(entry: Entry) -> str:
    found = decode(entry.content)
    assert isinstance(found, Decided)
    return found.decision.transaction_id


class TestReview:
    """What is reviewed waits, the most expensive first, until somebody says what it was."""

    def test_only_what_is_reviewed_waits(self, scorer: Scorer, store: LmdbStore) -> None:
        decisions = [scorer.score(event(number)) for number in range(4)]
        assert [decision.action for decision in decisions] == ["approve", "approve", "review", "review"]
        assert store.queue(10) == [decision_key("t3"), decision_key("t2")]  # 0.003 of the same amount, then 0.002

    def test_a_label_takes_it_off(self, scorer: Scorer, store: LmdbStore) -> None:
        for number in range(3):
            scorer.score(event(number))
        scorer.label("t2", is_fraud=False, reported_us=event(2)["event_us"] + DAY, source="analyst", by="ann")
        assert store.waiting() == 0

    def test_one_whose_label_came_first_never_waits(self, scorer: Scorer, store: LmdbStore) -> None:
        scorer.label("t2", is_fraud=True, reported_us=EVENT["event_us"])
        for number in range(3):
            scorer.score(event(number))
        assert store.waiting() == 0

    def test_its_customer_s_history_is_found(self, scorer: Scorer, store: LmdbStore) -> None:
        scorer.score_all([event(number, customer_id="ab"[number % 2]) for number in range(5)])
        assert [entry_id(e) for e in store.filed(entity_key("customer_id", "a"), 2)] == ["t4", "t2"]

    def test_all_that_was_ever_said_of_it_is_found(self, scorer: Scorer, store: LmdbStore) -> None:
        for after, verdict in ((1, True), (2, False)):
            scorer.label("t1", verdict, EVENT["event_us"] + after * DAY)
        found = [decode(e.content) for e in store.filed(entity_key("transaction_id", "t1"), 5)]
        assert [label.is_fraud for label in found if isinstance(label, Labelled)] == [False, True]


class Matching:
    """Rules that match every transaction alike."""

    digest = "d1"

    def __init__(self, live: tuple[Match, ...] = (), shadow: tuple[Match, ...] = ()) -> None:
        self._matches = Matches(live, shadow)

    def match(self, event: Any, vector: Any) -> Matches:
        return self._matches


BLOCK = Match("stolen_cards", "block", 50, "rule", "a list of stolen cards")


class TestRules:
    def test_a_rule_decides_beside_the_model(self, scorer: Scorer, store: LmdbStore) -> None:
        scorer.rules = Matching(live=(BLOCK,))
        decision = scorer.score(EVENT)
        assert (decision.action, decision.is_fraud, decision.risk_level) == ("block", True, "high")
        assert decision.matched_rules == ("stolen_cards",)
        assert stored(store, "t1").rules_digest == "d1"

    def test_a_rule_in_shadow_is_noted_and_decides_nothing(self, scorer: Scorer, store: LmdbStore) -> None:
        scorer.rules = Matching(shadow=(BLOCK,))
        assert (scorer.score(EVENT).action, scorer.score(EVENT).matched_rules) == ("approve", ())
        assert stored(store, "t1").shadow_rules == ("stolen_cards",)

    def test_without_a_model_the_rules_decide_and_it_is_said(self, store: LmdbStore) -> None:
        scorer = Scorer(Router(None), CATALOG, store)
        decision = scorer.score(EVENT)
        assert (decision.action, decision.fraud_probability, decision.degraded) == ("review", None, True)
        assert decision.expected_loss == EVENT["amount_cents"] + CostMatrix().missed_fraud_fee
        scorer.rules = Matching(live=(BLOCK,))
        assert scorer.score(event(2)).action == "block"


def stored(store: LmdbStore, transaction_id: str) -> Decided:
    at = decision_key(transaction_id)
    record = store.read([at], []).records[at]
    assert record is not None
    found = decode(record)
    assert isinstance(found, Decided)
    return found


class TestReplay:
    def test_the_same_features_give_the_same_decision(self, scorer: Scorer, store: LmdbStore) -> None:
        scorer.score_all([event(number) for number in range(4)])
        again = scorer.replay(stored(store, "t3"))
        assert again is not None
        assert again.decision.fraud_probability == 0.003
        assert again.vector == stored(store, "t3").vector
        assert len(store.entries(0, 10)) == 4

    def test_one_whose_model_is_gone_cannot_be_replayed(self, scorer: Scorer, store: LmdbStore) -> None:
        scorer.score(EVENT)
        scorer.router = Router(Candidate("4", counting_model()))
        assert scorer.replay(stored(store, "t1")) is None


def test_a_preview_leaves_no_trace(scorer: Scorer, store: LmdbStore) -> None:
    scorer.score(EVENT)
    assert scorer.preview(event(2)).fraud_probability == 0.001
    assert len(store.entries(0, 10)) == 1


def test_the_challenger_in_shadow_is_stored_beside_the_answer(store: LmdbStore) -> None:
    challenger = Candidate("4", counting_model())
    scorer = Scorer(Router(Candidate("3", counting_model()), challenger, "shadow"), CATALOG, store)
    assert scorer.score(EVENT).model_version == "3"
    assert stored(store, "t1").shadow == Shadow("4", 0.0, "approve")


def test_models_are_swapped_between_two_transactions(scorer: Scorer) -> None:
    versions = [scorer.score(event(0)).model_version]
    scorer.router = Router(Candidate("4", counting_model()))
    versions.append(scorer.score(event(1)).model_version)
    assert versions == ["3", "4"]
    assert scorer.score(event(0)).model_version == "3"


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
        card = SimpleNamespace(catalog=CATALOG.origin, thresholds=Thresholds(0.5), costs=CostMatrix())
        model = SimpleNamespace(card=card, predict=lambda matrix: np.nan_to_num(matrix[:, place].astype(np.float64)))
        self._scorer = Scorer(Router(Candidate("1", cast(Artefact, model))), CATALOG, store)
        self.score = self._scorer.score

    def label(self, is_fraud: bool, after: int) -> bool:
        return self._scorer.label("t1", is_fraud, EVENT["event_us"] + after)

    def later(self) -> float:
        return self.score({**EVENT, "transaction_id": "t9", "event_us": EVENT["event_us"] + 10 * DAY}).fraud_probability


def _score_many(folder: Path, worker: int, events: int) -> None:
    store = LmdbStore(folder, map_bytes=1 << 26)
    scorer = Scorer(Router(Candidate("1", counting_model())), CATALOG, store)
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
    later = Scorer(Router(Candidate("1", counting_model())), CATALOG, store).score(event(10_000))
    store.close()
    assert later.fraud_probability == 0.2
