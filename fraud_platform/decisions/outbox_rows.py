"""An entry of the outbox as rows of the warehouse: what each table's columns are, and how an entry fills them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from fraud_platform.decisions.journal import Decided, Labelled, decode
from fraud_platform.features.expressions import DAY, KNOWN_FRAUD
from fraud_platform.transactions import contract
from fraud_platform.transactions.live import live_columns
from fraud_platform.transactions.request import to_microseconds
from fraud_platform.transactions.source_schema import Source

Row = dict[str, Any]

DECISION_COLUMNS: dict[str, str] = {
    "day": "DATE",
    "decision_id": "VARCHAR",
    "transaction_id": "VARCHAR",
    "event_us": "BIGINT",
    "event_time": "TIMESTAMP",
    "customer_id": "VARCHAR",
    "amount_cents": "BIGINT",
    "fraud_probability": "DOUBLE",
    "is_fraud": "BOOLEAN",
    "risk_level": "VARCHAR",
    "action": "VARCHAR",
    "expected_loss": "BIGINT",
    "reasons": "JSON",
    "matched_rules": "VARCHAR[]",
    "shadow_rules": "VARCHAR[]",
    "rules_digest": "VARCHAR",
    "model_version": "VARCHAR",
    "catalog_fingerprint": "VARCHAR",
    "served_by": "VARCHAR",
    "degraded": "BOOLEAN",
    "shadow_version": "VARCHAR",
    "shadow_probability": "DOUBLE",
    "shadow_action": "VARCHAR",
    "decided_at": "TIMESTAMP",
    "late": "BOOLEAN",
    "known_fraud": "BOOLEAN",
    "features": "FLOAT[]",
    "sequence": "BIGINT",
}
"""Columns of decision_log; `day` is the day of the event, `features` are in the catalog's order, and `sequence` is the
place in the store's outbox."""

_POLARS: dict[str, Any] = {
    "DATE": pl.Date,
    "VARCHAR": pl.String,
    "JSON": pl.String,
    "BIGINT": pl.Int64,
    "DOUBLE": pl.Float64,
    "BOOLEAN": pl.Boolean,
    "TIMESTAMP": pl.Datetime("us"),
    "BLOB": pl.Binary,
    "VARCHAR[]": pl.List(pl.String),
    "FLOAT[]": pl.List(pl.Float32),
}


def _midnight(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY


_EARLIEST_US, _LATEST_US = _midnight(contract.EARLIEST_EVENT), _midnight(contract.LATEST_EVENT)
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Moment = Annotated[int, msgspec.Meta(ge=_EARLIEST_US, lt=_LATEST_US)]
_TYPES: dict[str, Any] = {"VARCHAR": str, "DOUBLE": float, "BIGINT": _Int64}


class UnfitEntry(ValueError):
    """An entry that is no row of the warehouse; the message says why."""


class DecidedRows(NamedTuple):
    """A row of decision_log, and one of live_transactions."""

    decision: Row
    transaction: Row


class LabelRow(NamedTuple):
    """A row of feedback_labels."""

    label: Row


class OutboxRows:
    """Makes rows of entries for one source."""

    def __init__(self, source: Source) -> None:
        self.columns = live_columns(source)
        """Of live_transactions."""
        types = {name: type_ for name, type_ in self.columns.items() if name not in _DERIVED}
        required = [(name, _TYPES[types[name]]) for name in types if name in contract.REQUIRED]
        optional = [
            (name, _TYPES[type_] | None, None) for name, type_ in types.items() if name not in contract.REQUIRED
        ]
        fields = [("event_us", _Moment), *required, *optional, (KNOWN_FRAUD, int | bool, 0)]
        self._event = msgspec.defstruct("Event", fields, kw_only=True)
        self._given = tuple(types)

    def of(self, sequence: int, content: bytes) -> DecidedRows | LabelRow:
        """
        Raises:
            UnfitEntry: if the content is of another format, or lacks what a row must have.
        """
        try:
            entry = decode(content)
            if isinstance(entry, Labelled):
                return LabelRow(self._label(entry, sequence))
            return self._decided(entry, sequence)
        except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError) as error:
            raise UnfitEntry(str(error)) from error

    def _decided(self, entry: Decided, sequence: int) -> DecidedRows:
        event: Any = msgspec.convert(entry.event, self._event)
        decision, shadow = entry.decision, entry.shadow
        if event.transaction_id != decision.transaction_id:
            raise UnfitEntry(f"it decides on {decision.transaction_id!r}, and its event is {event.transaction_id!r}")
        if len(entry.vector) % 4:
            raise UnfitEntry(f"its features are {len(entry.vector)} bytes, which are no float32 numbers")
        msgspec.convert(decision.expected_loss, _Int64)
        when = {"day": event.event_us // DAY, "event_us": event.event_us, "event_time": event.event_us}
        transaction = {name: getattr(event, name) for name in self._given} | when
        row = when | {name: getattr(decision, name) for name in _OF_THE_DECISION}
        row |= {name: transaction[name] for name in ("transaction_id", "customer_id", "amount_cents")}
        row |= {
            "reasons": msgspec.json.encode(decision.reasons).decode(),
            "matched_rules": list(decision.matched_rules),
            "shadow_rules": list(entry.shadow_rules),
            "rules_digest": entry.rules_digest,
            "served_by": entry.served_by,
            "shadow_version": shadow and shadow.model_version,
            "shadow_probability": shadow and shadow.fraud_probability,
            "shadow_action": shadow and shadow.action,
            "decided_at": _microseconds(decision.timestamp),
            "known_fraud": bool(getattr(event, KNOWN_FRAUD)),
            "features": np.frombuffer(entry.vector, "<f4"),
            "sequence": sequence,
        }
        return DecidedRows(row, transaction)

    def _label(self, entry: Labelled, sequence: int) -> Row:
        reported_us = msgspec.convert(entry.reported_us, _Moment)
        return {
            "day": reported_us // DAY,
            "transaction_id": entry.transaction_id,
            "is_fraud": entry.is_fraud,
            "reported_at": reported_us,
            "source": entry.source,
            "fraud_type": entry.fraud_type,
            "reported_by": entry.by,
            "sequence": sequence,
        }


_DERIVED = ("day", "event_us", "event_time")
_OF_THE_DECISION = (
    "decision_id",
    "fraud_probability",
    "is_fraud",
    "risk_level",
    "action",
    "expected_loss",
    "model_version",
    "catalog_fingerprint",
    "degraded",
    "late",
)


def frame_of(rows: Sequence[Row], columns: Mapping[str, str]) -> pl.DataFrame:
    """Rows as a table of these columns; times are microseconds and days are days since 1970."""
    return pl.DataFrame(
        [pl.Series(name, [row[name] for row in rows], _POLARS[type_]) for name, type_ in columns.items()]
    )


def _microseconds(moment: datetime) -> int:
    """A moment without a zone is in UTC."""
    return to_microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
