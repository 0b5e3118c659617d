"""What the online store remembers of decisions and labels, as bytes.

A `Decided` is both the record that makes a transaction idempotent and the outbox's entry, so that the
two cannot differ. The outbox is how live transactions and labels reach the warehouse.
"""

import hashlib
from datetime import datetime
from typing import Any, Literal

import msgspec

from fraud_platform.decisions.policy import Action, RiskLevel

ServedBy = Literal["champion", "challenger", "fallback", "rules"]


class Reason(msgspec.Struct, frozen=True):
    """Why a payment is suspicious, or not.

    Attributes:
        feature: the model input.
        text: what it says of this payment, in an analyst's words.
        value: the input's value, None where it is missing.
        contribution: what it adds to the fraud probability.
    """

    feature: str
    text: str
    value: float | None
    contribution: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the platform answered for one transaction.

    Attributes:
        decision_id: 32 hex digits, the same for the same transaction_id.
        fraud_probability: calibrated; None where no model could be asked.
        expected_loss: what approving it costs on average, minor units.
        reasons: what weighs most, the heaviest first; only for what is not approved.
        matched_rules: the names of the live rules and lists that matched, the one that decided first.
        timestamp: when it was decided.
        late: whether a later event of its customer, card, device or merchant was known already.
        degraded: whether the model that should have decided did not.
    """

    transaction_id: str
    decision_id: str
    is_fraud: bool
    fraud_probability: float | None
    risk_level: RiskLevel
    action: Action
    expected_loss: int
    reasons: tuple[Reason, ...] = ()
    matched_rules: tuple[str, ...] = ()
    model_version: str
    catalog_fingerprint: str
    timestamp: datetime
    late: bool
    degraded: bool = False


class Shadow(msgspec.Struct, frozen=True):
    """What a challenger would have answered."""

    model_version: str
    fraud_probability: float
    action: Action


class Decided(msgspec.Struct, frozen=True, tag="decided"):
    """A transaction and what was answered.

    Attributes:
        request_digest: of the transaction as it was sent.
        event: its columns, with `event_us`, and with `known_fraud` as the states took it in.
        vector: the model's inputs, float32 little-endian, in the catalog's order.
        served_by: which model decided.
        shadow: what the challenger would have answered, where one ran in shadow.
        shadow_rules: names of the rules in shadow that matched.
        rules_digest: of the rules and lists that were in force.
    """

    request_digest: bytes
    event: dict[str, Any]
    vector: bytes
    decision: Decision
    served_by: ServedBy = "champion"
    shadow: Shadow | None = None
    shadow_rules: tuple[str, ...] = ()
    rules_digest: str = ""


class Labelled(msgspec.Struct, frozen=True, tag="labelled"):
    """The newest label of a transaction.

    Attributes:
        counts: whether the states of the transaction's keys hold it as a known fraud.
        source: chargeback, analyst, customer or simulated.
        fraud_type: the kind of fraud, where it is known.
        by: the name of the API key, or of the person, that reported it.
    """

    transaction_id: str
    is_fraud: bool
    reported_us: int
    counts: bool
    source: str = "chargeback"
    fraud_type: str | None = None
    by: str = ""


_ENTRY = msgspec.msgpack.Decoder(Decided | Labelled)

encode = msgspec.msgpack.Encoder().encode


def decode(content: bytes) -> Decided | Labelled:
    """An entry of the outbox, or a record."""
    return _ENTRY.decode(content)


def decision_key(transaction_id: str) -> bytes:
    """Where the `Decided` of a transaction is kept; in hex it is the decision's id."""
    return _key("decision", transaction_id)


def label_key(transaction_id: str) -> bytes:
    """Where the `Labelled` of a transaction is kept."""
    return _key("label", transaction_id)


def entity_key(column: str, value: str) -> bytes:
    """What the decisions about one customer, card, device or merchant are filed under."""
    return _key(f"of {column}", value)


def reason_key(feature: str) -> bytes:
    """What the payments that were not approved for one reason above all are filed under."""
    return _key("because of", feature)


def filed_under(decided: Decided) -> tuple[bytes, ...]:
    """The keys by which an analyst finds the decision again.

    Every decision by its customer; what was not approved also by its card, device, merchant and first reason.
    """
    keys = [entity_key("customer_id", decided.event["customer_id"])]
    if decided.decision.action != "approve":
        held = ((column, decided.event.get(column)) for column in ("card_id", "device_id", "merchant_id"))
        keys += [entity_key(column, value) for column, value in held if value is not None]
        keys += [reason_key(reason.feature) for reason in decided.decision.reasons[:1]]
    return tuple(keys)


def _key(kind: str, name: str) -> bytes:
    """A digest, so that an id of any length fits any store."""
    return hashlib.blake2b(f"{kind}\x1f{name}".encode(), digest_size=16).digest()
