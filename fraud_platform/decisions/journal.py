"""What the online store remembers of decisions and labels, as bytes.

A `Decided` is both the record that makes a transaction idempotent and the outbox's entry, so that the
two cannot differ. The outbox is how live transactions and labels reach the warehouse.
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec


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
    late: bool
    """Whether a later event of its customer, card, device or merchant was known already."""


class Decided(msgspec.Struct, frozen=True, tag="decided"):
    """A transaction and what was answered.

    Attributes:
        request_digest: of the transaction as it was sent.
        event: its columns, with `event_us`, and with `known_fraud` as the states took it in.
    """

    request_digest: bytes
    event: dict[str, Any]
    decision: Decision


class Labelled(msgspec.Struct, frozen=True, tag="labelled"):
    """The newest label of a transaction.

    Attributes:
        counts: whether the states of the transaction's keys hold it as a known fraud.
    """

    transaction_id: str
    is_fraud: bool
    reported_us: int
    counts: bool


_ENTRY = msgspec.json.Decoder(Decided | Labelled)

encode = msgspec.json.Encoder().encode


def decode(content: bytes) -> Decided | Labelled:
    """An entry of the outbox, or a record."""
    return _ENTRY.decode(content)


def decision_key(transaction_id: str) -> bytes:
    """Where the `Decided` of a transaction is kept."""
    return _record_key("decision", transaction_id)


def label_key(transaction_id: str) -> bytes:
    """Where the `Labelled` of a transaction is kept."""
    return _record_key("label", transaction_id)


def _record_key(kind: str, transaction_id: str) -> bytes:
    """A digest, so that an id of any length fits any store."""
    return hashlib.blake2b(f"{kind}\x1f{transaction_id}".encode(), digest_size=16).digest()
