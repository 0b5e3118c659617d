"""The scorer: transactions in, decisions out, each remembered exactly once; and their labels, when they come."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fraud_platform.decisions.deciding import Decider, Event, Known, Observer, Rules
from fraud_platform.decisions.journal import (
    Decided,
    Decision,
    Labelled,
    decision_key,
    decode,
    encode,
    entity_key,
    filed_under,
    label_key,
)
from fraud_platform.decisions.router import Router
from fraud_platform.errors import ConflictingTransaction, FraudPlatformError, StoreError
from fraud_platform.features.expressions import KNOWN_FRAUD
from fraud_platform.features.online import Batch, Entity, OnlineFeatures
from fraud_platform.features.selection import Catalog
from fraud_platform.features.stores import Change, NewEntry, Snapshot, Store
from fraud_platform.transactions.request import request_digest

ATTEMPTS = 100
"""Another worker must commit between a read and its commit to cost an attempt, so each lost attempt
is another's progress; a hundred in a row means that something else is wrong."""
TOGETHER = 2
"""Attempts at several transactions at once; then they are taken in halves, which meet others less."""


@dataclass(frozen=True)
class Outcome:
    """What was decided on a transaction, and whether just now or at an earlier request."""

    decided: Decided
    new: bool

    @property
    def decision(self) -> Decision:
        return self.decided.decision


class _Asked(NamedTuple):
    """One transaction on its way."""

    event: Event
    digest: bytes
    decision_at: bytes
    label_at: bytes
    keys: dict[Entity, bytes]


class Scorer:
    """Decides with a worker's models and rules on one store. One object a thread.

    `router` and `rules` may be replaced between two calls: that is a hot swap.

    Raises:
        ArtefactError: if a model was trained on another catalog.
        StoreError: if the store's states belong to another catalog.
    """

    def __init__(
        self,
        router: Router,
        catalog: Catalog,
        store: Store,
        rules: Rules | None = None,
        observe: Observer = lambda stage, seconds: None,
    ) -> None:
        self._decider = Decider(router, catalog, rules, observe)
        self.catalog, self.store = catalog, store
        self._features = OnlineFeatures(catalog)
        self._observe = observe
        self._label_delay_us = catalog.label_delay_us
        self.catalog_fingerprint = catalog.fingerprint
        self.check_store()

    @property
    def router(self) -> Router:
        return self._decider.router

    @router.setter
    def router(self, router: Router) -> None:
        self._decider.router = router

    @property
    def rules(self) -> Rules:
        return self._decider.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._decider.rules = rules

    def check_store(self) -> None:
        """
        Raises:
            StoreError: if the store's states belong to another catalog than the models'.
        """
        held = self.store.fingerprint()
        if held not in (None, self.catalog_fingerprint):
            raise StoreError(
                f"The online store holds states of catalog {held}, not {self.catalog_fingerprint}. "
                "Materialize `online_state` to rebuild it, or serve the model that it was rebuilt for."
            )

    def score(self, event: Event) -> Decision:
        """Decide on one transaction, as `TransactionDecoder.decode` gives it.

        The same transaction again gets the stored decision and changes nothing.

        Raises:
            ConflictingTransaction: if the id was decided before with other content.
            StoreError: if the store cannot be read or written.
            CatalogError: if a sum over the events of one of its keys leaves the range of int64.
        """
        (answer,) = self.score_all([event])
        if isinstance(answer, FraudPlatformError):
            raise answer
        return answer.decision

    def score_all(self, events: Sequence[Event]) -> list[Outcome | FraudPlatformError]:
        """Decide on transactions in order, each seeing those before it: an outcome or an error for each.

        What cannot be decided (as `score`) costs the others nothing.

        Raises:
            StoreError: if the store cannot be read or written. Some may have been decided then: the same
                transactions again get those decisions.
        """
        return self._settle([self._asked(event) for event in events])

    def preview(self, event: Event) -> Decision:
        """What `score` would answer, without leaving a trace.

        Raises:
            As `score`.
        """
        asked = self._asked(event)
        snapshot = self.store.read([asked.decision_at, asked.label_at], list(asked.keys.values()))
        counted = {**event, KNOWN_FRAUD: 0}
        batch = self._features.compute_all([counted], [asked.keys], snapshot.states)
        return self._decide([asked], [counted], batch)[0].decision

    def replay(self, decided: Decided) -> Decided | None:
        """Decide again from what was stored, as `Decider.again`. Safe in any thread."""
        return self._decider.again(decided)

    def label(
        self,
        transaction_id: str,
        is_fraud: bool,
        reported_us: int,
        event: Event | None = None,
        source: str = "chargeback",
        fraud_type: str | None = None,
        by: str = "",
    ) -> bool:
        """Take in what became known about a transaction; whether it is news.

        The fraud rates of its merchant, customer and device count it from now on, if it was reported
        within the label delay: the latest report wins, and of several at one instant fraud. A label
        may come before its transaction, or twice. The transaction no longer waits for a review.

        Args:
            event: the transaction, where the states hold it although this store did not decide on it,
                because they were rebuilt from the warehouse.
            source, fraud_type, by: as `journal.Labelled`.

        Raises:
            StoreError: if the store cannot be read or written.
        """
        decision_at, label_at = decision_key(transaction_id), label_key(transaction_id)
        for _ in range(ATTEMPTS):
            found = self.store.read([decision_at, label_at], []).records[decision_at]
            decided = decode(found) if found else None
            known_event = decided.event if isinstance(decided, Decided) else event
            keys = self._features.labelled_keys(known_event) if known_event else {}
            snapshot = self.store.read([decision_at, label_at], list(keys.values()))
            known = _label(snapshot.records[label_at])
            if known is not None and (known.reported_us, known.is_fraud) >= (reported_us, is_fraud):
                return False
            if snapshot.records[decision_at] != found:
                continue
            counts = counted = known is not None and known.counts
            states: dict[bytes, bytes] = {}
            if known_event is not None and self._in_time(known_event, reported_us):
                counts = is_fraud
                if counts != counted:
                    states = self._features.relabel(known_event, keys, snapshot.states, counts - counted)
            record = encode(Labelled(transaction_id, is_fraud, reported_us, counts, source, fraud_type, by))
            latest = max(reported_us, known_event["event_us"] if known_event else reported_us)
            entry = NewEntry(record, (entity_key("transaction_id", transaction_id),))
            change = Change({label_at: record}, states, latest, [entry], {decision_at: None})
            if self.store.commit(snapshot, change) is not None:
                return True
        raise _too_many_attempts(transaction_id)

    def warm_up(self) -> None:
        """Compile and run the whole path once, on an empty history, without touching the store."""
        event = {"transaction_id": "warm-up", "event_us": 0, "amount_cents": 1, KNOWN_FRAUD: 0}
        event |= {name: "-" for entity in self.catalog.rollings for name in entity}
        event = dict.fromkeys(self.catalog.columns) | {"customer_id": "-"} | event
        asked = self._asked(event)
        states = self._features.compute(event, asked.keys, dict.fromkeys(asked.keys.values())).states
        batch = self._features.compute_all([event], [asked.keys], states)
        self._decide([asked], [event], batch)
        for candidate in self.router.candidates:
            if candidate.reasons is not None:
                candidate.reasons.of(event, batch.vectors[0])
        self._features.relabel(event, self._features.labelled_keys(event), states, 1)

    def _asked(self, event: Event) -> _Asked:
        transaction_id = event["transaction_id"]
        return _Asked(
            event,
            request_digest(dict(event)),
            decision_key(transaction_id),
            label_key(transaction_id),
            self._features.keys(event),
        )

    def _settle(self, asked: list[_Asked]) -> list[Outcome | FraudPlatformError]:
        """As `score_all`: attempts at all of them, then at halves."""
        for _ in range(ATTEMPTS if len(asked) == 1 else TOGETHER):
            try:
                answers = self._attempt(asked)
            except _OfOneTransaction as error:
                if len(asked) == 1:
                    return [error.cause]
                break
            if answers is not None:
                return answers
        else:
            if len(asked) == 1:
                return [_too_many_attempts(asked[0].event["transaction_id"])]
        middle = len(asked) // 2
        return self._settle(asked[:middle]) + self._settle(asked[middle:])

    def _attempt(self, asked: list[_Asked]) -> list[Outcome | FraudPlatformError] | None:
        """Read, decide on what is new, commit; None where something that was read has changed meanwhile."""
        clock, started = time.perf_counter, time.perf_counter()
        records = [at for one in asked for at in (one.decision_at, one.label_at)]
        states = list(dict.fromkeys(key for one in asked for key in one.keys.values()))
        snapshot = self.store.read(records, states)
        self._observe("read", clock() - started)
        first = {one.decision_at: one for one in reversed(asked)}  # of several with one id
        new = [one for one in asked if one is first[one.decision_at] and not snapshot.records[one.decision_at]]
        done = {one.decision_at: _decided(snapshot.records[one.decision_at]) for one in asked}
        decided = self._decide_new(new, snapshot, done) if new else True
        if not decided:
            return None
        fresh = {id(one) for one in new}
        return [_answer(one, done[one.decision_at], id(one) in fresh) for one in asked]

    def _decide_new(self, new: list[_Asked], snapshot: Snapshot, done: dict[bytes, Decided | None]) -> bool:
        """Decide on transactions that nobody decided on before, and commit; whether that took place."""
        clock, started = time.perf_counter, time.perf_counter()
        labels = [_label(snapshot.records[one.label_at]) for one in new]
        events = [self._counted(one.event, label) for one, label in zip(new, labels, strict=True)]
        try:
            batch = self._features.compute_all(events, [one.keys for one in new], snapshot.states)
        except FraudPlatformError as error:
            raise _OfOneTransaction(error) from error
        self._observe("features", clock() - started)
        found = self._decide(new, events, batch)
        started = clock()
        records: dict[bytes, bytes] = {}
        entries: list[NewEntry] = []
        queue: dict[bytes, int | None] = {}
        for one, label, decided in zip(new, labels, found, strict=True):
            done[one.decision_at] = decided
            record = records[one.decision_at] = encode(decided)
            entries.append(NewEntry(record, filed_under(decided)))
            if label is not None:
                counts = bool(decided.event[KNOWN_FRAUD])
                records[one.label_at] = encode(_with_counts(label, counts))
            elif decided.decision.action == "review":
                queue[one.decision_at] = decided.decision.expected_loss
        change = Change(records, batch.states, int(batch.latest_us.max()), entries, queue)
        committed = self.store.commit(snapshot, change) is not None
        self._observe("commit", clock() - started)
        return committed

    def _counted(self, event: Event, label: Labelled | None) -> dict[str, Any]:
        """The event as the states take it in: with its label, where that came before it."""
        counts = label is not None and label.is_fraud and self._in_time(event, label.reported_us)
        return {**event, KNOWN_FRAUD: int(counts)}

    def _decide(self, asked: list[_Asked], events: list[dict[str, Any]], batch: Batch) -> list[Decided]:
        known = [
            Known(one.digest, event, vector, latest > event["event_us"])
            for one, event, vector, latest in zip(asked, events, batch.vectors, batch.latest_us.tolist(), strict=True)
        ]
        return self._decider.decide(known, batch.vectors)

    def _in_time(self, event: Event, reported_us: int) -> bool:
        return reported_us <= event["event_us"] + self._label_delay_us


class _OfOneTransaction(Exception):
    """The features of one of the transactions cannot be computed."""

    def __init__(self, cause: FraudPlatformError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _decided(record: bytes | None) -> Decided | None:
    if record is None:
        return None
    known = decode(record)
    if not isinstance(known, Decided):
        raise StoreError("The record of a decision is none. Is the store shared with others?")
    return known


def _label(record: bytes | None) -> Labelled | None:
    found = decode(record) if record else None
    return found if isinstance(found, Labelled) else None


def _with_counts(label: Labelled, counts: bool) -> Labelled:
    return Labelled(
        label.transaction_id, label.is_fraud, label.reported_us, counts, label.source, label.fraud_type, label.by
    )


def _answer(one: _Asked, decided: Decided | None, new: bool) -> Outcome | FraudPlatformError:
    assert decided is not None, "every transaction was decided on, now or before"
    if decided.request_digest != one.digest:
        return ConflictingTransaction(
            f"Transaction {one.event['transaction_id']} was decided before with other content. "
            "Send a correction under a new transaction_id."
        )
    return Outcome(decided, new)


def _too_many_attempts(transaction_id: str) -> StoreError:
    return StoreError(f"Transaction {transaction_id} met a changed state {ATTEMPTS} times in a row. Send it again.")
