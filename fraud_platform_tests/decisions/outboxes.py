"""Entries of an outbox, and an outbox in memory that can be killed, cut back and replaced."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from fraud_platform.decisions.journal import Decided, Decision, Labelled, Reason, Shadow, decision_key, encode
from fraud_platform.features.expressions import DAY, HOUR
from fraud_platform.features.stores import Entry

START = int(datetime(2026, 3, 20, tzinfo=UTC).timestamp()) * 1_000_000


def event(number: int, **changes: Any) -> dict[str, Any]:
    """One payment every five hours, as the scorer keeps it."""
    return {
        "transaction_id": f"t{number}",
        "event_us": START + number * 5 * HOUR,
        "customer_id": ("ann", "bob")[number % 2],
        "merchant_id": ("m", "n", "o")[number % 3],
        "amount_cents": 100 + number,
        "known_fraud": 0,
        **changes,
    }


def decided(number: int, decided_after: int = 1, features: tuple[float, ...] = (1.5, np.nan), **changes: Any) -> bytes:
    """The entry of a decision, made so many microseconds after the event."""
    of = event(number, **changes)
    decision = Decision(
        transaction_id=of["transaction_id"],
        decision_id=decision_key(of["transaction_id"]).hex(),
        is_fraud=True,
        fraud_probability=0.25,
        risk_level="high",
        action="review",
        expected_loss=400,
        reasons=(Reason("customer_count_1h", "3 payments in the last hour", 3.0, 0.125),),
        matched_rules=("odd hour",),
        model_version="7",
        catalog_fingerprint="0123456789abcdef",
        timestamp=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=of["event_us"] + decided_after),
        late=False,
    )
    vector = np.array(features, "<f4").tobytes()
    return encode(
        Decided(b"digest", of, vector, decision, "champion", Shadow("8", 0.5, "block"), ("young card",), "ab12")
    )


def labelled(number: int, is_fraud: bool = True, after: int = DAY, **changes: Any) -> bytes:
    """The entry of a label, reported so many microseconds after the event."""
    given = {"source": "analyst", "fraud_type": "stolen" if is_fraud else None, "by": "eve", **changes}
    return encode(Labelled(f"t{number}", is_fraud, event(number)["event_us"] + after, counts=is_fraud, **given))


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass
class Outbox:
    """The outbox of a store, as naive as can be.

    Attributes:
        on_acknowledge: called before an acknowledgement with its sequence; may raise Killed.
    """

    name: str = "a"
    contents: list[bytes] = field(default_factory=list)
    trimmed: int = 0
    known: int = 0
    on_acknowledge: Callable[[int], None] = lambda through: None

    def append(self, content: bytes) -> None:
        self.contents.append(content)

    def identity(self) -> str:
        return self.name

    def last_sequence(self) -> int:
        return len(self.contents)

    def entries(self, after: int, limit: int) -> list[Entry]:
        first = max(after, self.trimmed)
        return [Entry(first + 1 + n, content) for n, content in enumerate(self.contents[first : first + limit])]

    def acknowledge(self, through: int, keep: int) -> int:
        self.on_acknowledge(through)
        self.known = max(self.known, min(through, self.last_sequence()))
        before, self.trimmed = self.trimmed, max(self.trimmed, self.known - keep)
        return self.trimmed - before

    def acknowledged(self) -> int:
        return self.known

    def cut(self, to: int, known: int) -> None:
        """A power cut after which the store is what it was when it had so many entries, and knew so much."""
        del self.contents[to:]
        self.known = min(known, self.known, to)
        self.trimmed = min(self.trimmed, self.known)
