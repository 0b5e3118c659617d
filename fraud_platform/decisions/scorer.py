"""The scorer: one transaction in, one decision out, remembered exactly once; and its label, when it comes."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fraud_platform.decisions.journal import (
    Decided,
    Decision,
    Labelled,
    decision_key,
    decode,
    encode,
    label_key,
)
from fraud_platform.decisions.policy import Policy
from fraud_platform.errors import ArtefactError, ConflictingTransaction, StoreError
from fraud_platform.features.expressions import KNOWN_FRAUD
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.selection import Catalog, CatalogOrigin
from fraud_platform.features.stores import Store
from fraud_platform.models.costs import Thresholds
from fraud_platform.transactions.request import request_digest

ATTEMPTS = 100
"""Another worker must commit between a read and its commit to cost an attempt, so each lost attempt
is another's progress; a hundred in a row means that something else is wrong."""


class Card(Protocol):
    """What the scorer reads of a model card."""

    @property
    def catalog(self) -> CatalogOrigin: ...

    @property
    def thresholds(self) -> Thresholds: ...


class Model(Protocol):
    """What the scorer asks of a model; `models.artefact.Artefact` is one."""

    @property
    def card(self) -> Card: ...

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]: ...


class Scorer:
    """Scores with one model on one store. One object a thread.

    Raises:
        ArtefactError: if the model was trained on another catalog.
        StoreError: if the store's states belong to another catalog.
    """

    def __init__(self, model: Model, catalog: Catalog, store: Store, model_version: str) -> None:
        if model.card.catalog.fingerprint != catalog.fingerprint:
            raise ArtefactError(
                f"Model {model_version} was trained on catalog {model.card.catalog.fingerprint}, "
                f"but this code computes catalog {catalog.fingerprint}. Train it again, or serve it with its own Bento."
            )
        self._model = model
        self._features = OnlineFeatures(catalog)
        self._store = store
        self._policy = Policy(model.card.thresholds)
        self._label_delay_us = catalog.label_delay_us
        self.model_version = model_version
        self.catalog_fingerprint = catalog.fingerprint
        self.check_store()

    def check_store(self) -> None:
        """
        Raises:
            StoreError: if the store's states belong to another catalog than the model's.
        """
        held = self._store.fingerprint()
        if held not in (None, self.catalog_fingerprint):
            raise StoreError(
                f"The online store holds states of catalog {held}, not {self.catalog_fingerprint}. "
                "Materialize `online_state` to rebuild it, or serve the model that it was rebuilt for."
            )

    def score(self, event: Mapping[str, Any]) -> Decision:
        """Decide on one transaction, as `TransactionDecoder.decode` gives it.

        The same transaction again gets the stored decision and changes nothing.

        Raises:
            ConflictingTransaction: if the id was decided before with other content.
            StoreError: if the store cannot be read or written.
            CatalogError: if a sum over the events of one of its keys leaves the range of int64.
        """
        digest = request_digest(dict(event))
        transaction_id = event["transaction_id"]
        decision_at, label_at = decision_key(transaction_id), label_key(transaction_id)
        keys = self._features.keys(event)
        for _ in range(ATTEMPTS):
            snapshot = self._store.read([decision_at, label_at], list(keys.values()))
            if known := snapshot.records[decision_at]:
                return _stored(transaction_id, known, digest)
            label = _label(snapshot.records[label_at])
            counts = label is not None and label.is_fraud and self._in_time(event, label.reported_us)
            counted_event = {**event, KNOWN_FRAUD: int(counts)}
            features = self._features.compute(counted_event, keys, snapshot.states)
            decision = self._decide(transaction_id, features.vector, late=features.latest_us > event["event_us"])
            record = encode(Decided(digest, counted_event, decision))
            records = {decision_at: record}
            if label is not None:
                records[label_at] = encode(Labelled(transaction_id, label.is_fraud, label.reported_us, counts))
            if self._store.commit(snapshot, records, features.states, features.latest_us, record) is not None:
                return decision
        raise _too_many_attempts(transaction_id)

    def label(
        self, transaction_id: str, is_fraud: bool, reported_us: int, event: Mapping[str, Any] | None = None
    ) -> bool:
        """Take in what became known about a transaction; whether it is news.

        The fraud rates of its merchant, customer and device count it from now on, if it was reported
        within the label delay: the latest report wins, and of several at one instant fraud. A label
        may come before its transaction, or twice.

        Args:
            event: the transaction, where the states hold it although this store did not decide on it,
                because they were rebuilt from the warehouse.

        Raises:
            StoreError: if the store cannot be read or written.
        """
        decision_at, label_at = decision_key(transaction_id), label_key(transaction_id)
        for _ in range(ATTEMPTS):
            found = self._store.read([decision_at, label_at], []).records[decision_at]
            decided = decode(found) if found else None
            known_event = decided.event if isinstance(decided, Decided) else event
            keys = self._features.labelled_keys(known_event) if known_event else {}
            snapshot = self._store.read([decision_at, label_at], list(keys.values()))
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
            record = encode(Labelled(transaction_id, is_fraud, reported_us, counts))
            latest = max(reported_us, known_event["event_us"] if known_event else reported_us)
            if self._store.commit(snapshot, {label_at: record}, states, latest, record) is not None:
                return True
        raise _too_many_attempts(transaction_id)

    def warm_up(self) -> None:
        """Compile and run the whole path once, on an empty history, without touching the store."""
        event = {"event_us": 0, "amount_cents": 1, KNOWN_FRAUD: 0}
        event |= {name: "-" for entity in self._features.catalog.rollings for name in entity}
        keys = self._features.keys(event)
        states = self._features.compute(event, keys, dict.fromkeys(keys.values())).states
        self._decide("warm-up", self._features.compute(event, keys, states).vector, late=False)
        self._features.relabel(event, self._features.labelled_keys(event), states, 1)

    def _in_time(self, event: Mapping[str, Any], reported_us: int) -> bool:
        return reported_us <= event["event_us"] + self._label_delay_us

    def _decide(self, transaction_id: str, vector: NDArray[np.float32], late: bool) -> Decision:
        probability = self._model.predict(vector[np.newaxis, :])
        return Decision(
            transaction_id=transaction_id,
            decision_id=uuid.uuid4().hex,
            is_fraud=bool(self._policy.is_fraud(probability)[0]),
            fraud_probability=float(probability[0]),
            risk_level=str(self._policy.risk_levels(probability)[0]),
            action=str(self._policy.actions(probability)[0]),
            model_version=self.model_version,
            catalog_fingerprint=self.catalog_fingerprint,
            timestamp=datetime.now(UTC),
            late=late,
        )


def _label(record: bytes | None) -> Labelled | None:
    found = decode(record) if record else None
    return found if isinstance(found, Labelled) else None


def _stored(transaction_id: str, record: bytes, digest: bytes) -> Decision:
    known = decode(record)
    if not isinstance(known, Decided):
        raise StoreError(f"The record of transaction {transaction_id} is no decision. Is the store shared with others?")
    if known.request_digest != digest:
        raise ConflictingTransaction(
            f"Transaction {transaction_id} was decided before with other content. "
            "Send a correction under a new transaction_id."
        )
    return known.decision


def _too_many_attempts(transaction_id: str) -> StoreError:
    return StoreError(f"Transaction {transaction_id} met a changed state {ATTEMPTS} times in a row. Send it again.")
