"""The scorer: one transaction in, one decision out, remembered exactly once."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from fraud_platform.decisions.policy import Policy
from fraud_platform.errors import ArtefactError, ConflictingTransaction, StoreError
from fraud_platform.features.catalog import Catalog
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.stores import Store, StoredDecision
from fraud_platform.models.artefact import Artefact
from fraud_platform.transactions.request import request_digest

ATTEMPTS = 100
"""Another worker must commit between a read and its commit to cost an attempt, so each lost attempt
is another's progress; a hundred in a row means that something else is wrong."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform answered for one transaction."""

    transaction_id: str
    decision_id: str
    is_fraud: bool
    fraud_probability: float
    risk_level: str
    action: str
    model_version: str
    catalog_fingerprint: str
    timestamp: datetime


class Scorer:
    """Scores with one model on one store.

    Raises:
        ArtefactError: if the model was trained on another catalog.
        StoreError: if the store's states belong to another catalog.
    """

    def __init__(self, artefact: Artefact, catalog: Catalog, store: Store, model_version: str) -> None:
        if artefact.card.catalog.fingerprint != catalog.fingerprint:
            raise ArtefactError(
                f"Model {model_version} was trained on catalog {artefact.card.catalog.fingerprint}, "
                f"but this code computes catalog {catalog.fingerprint}. Train it again, or serve it with its own Bento."
            )
        self._artefact = artefact
        self._features = OnlineFeatures(catalog)
        self._store = store
        self._policy = Policy(artefact.card.threshold)
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
        """
        digest = request_digest(dict(event))
        transaction_id = event["transaction_id"]
        keys = self._features.keys(event)
        for _ in range(ATTEMPTS):
            if known := self._store.decision(transaction_id):
                return _stored(transaction_id, known, digest)
            before = dict(zip(keys.values(), self._store.read(list(keys.values())), strict=True))
            features = self._features.compute(event, keys, before)
            decision = self._decide(transaction_id, features.vector)
            stored = StoredDecision(digest, msgspec.json.encode(decision))
            if self._store.commit(transaction_id, stored, before, features.states) == "committed":
                return decision
        raise StoreError(f"Transaction {transaction_id} met a changed state {ATTEMPTS} times in a row. Send it again.")

    def warm_up(self) -> None:
        """Compile and run the whole path once, on an empty history, without touching the store."""
        event = {"event_us": 0, "amount_cents": 1}
        keys = self._features.keys(event)
        self._decide("warm-up", self._features.compute(event, keys, dict.fromkeys(keys.values())).vector)

    def _decide(self, transaction_id: str, vector: np.ndarray) -> Decision:
        probability = self._artefact.predict(vector[np.newaxis, :])
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
        )


def _stored(transaction_id: str, known: StoredDecision, digest: bytes) -> Decision:
    if known.request_digest != digest:
        raise ConflictingTransaction(
            f"Transaction {transaction_id} was decided before with other content. "
            "Send a correction under a new transaction_id."
        )
    return msgspec.json.decode(known.decision, type=Decision)
