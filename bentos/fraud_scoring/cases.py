"""What the console shows of decisions, as plain structs."""

from collections.abc import Mapping

import msgspec

from fraud_platform.decisions.journal import Decided, Labelled
from fraud_platform.decisions.policy import Action, RiskLevel


class Wanted(msgspec.Struct, frozen=True):
    """Which decisions are to be shown; None and False: all."""

    action: Action | None = None
    risk: RiskLevel | None = None
    degraded: bool = False

    def matches(self, decision: "Glanced") -> bool:
        return (
            self.action in (None, decision.action)
            and self.risk in (None, decision.risk_level)
            and (decision.degraded or not self.degraded)
        )


class Glanced(msgspec.Struct, frozen=True):
    """What a filter reads of a decision: the rest of it is skipped, which takes a fifth of the time."""

    action: Action
    risk_level: RiskLevel
    degraded: bool = False


class Glance(msgspec.Struct, frozen=True, tag="decided"):
    """A `Decided`, as far as a filter reads it."""

    decision: Glanced


class GlancedLabel(msgspec.Struct, frozen=True, tag="labelled"):
    """A `Labelled`, of which nothing is read."""


class Row(msgspec.Struct, frozen=True):
    """A decision, and the newest verdict on it."""

    decided: Decided
    label: Labelled | None = None


class Recent(msgspec.Struct, frozen=True):
    """The newest decisions, the newest first.

    Attributes:
        last: the sequence of the newest entry of the outbox, decision or label.
        actions: how many of each action the newest decisions have, some hundreds, whatever is wanted.
        degraded: how many of these were degraded.
        looked_through: decisions that were looked at; `exhausted` where there are older ones that were not.
    """

    rows: tuple[Row, ...]
    last: int
    actions: Mapping[str, int]
    degraded: int
    looked_through: int
    exhausted: bool


class Queue(msgspec.Struct, frozen=True):
    """What waits for a verdict, the greatest expected loss first; `waiting` counts all, shown or not."""

    rows: tuple[Row, ...]
    waiting: int


class Related(msgspec.Struct, frozen=True):
    """Decisions that have something in common with a case: `kind` says what, `value` which."""

    kind: str
    value: str
    rows: tuple[Row, ...]


class Case(msgspec.Struct, frozen=True):
    """A decision with all that an analyst needs for a verdict.

    Attributes:
        labels: the verdicts, the newest first, as far as the outbox still has them.
        history: the customer's decisions, the newest first, this one among them.
        related: similar past cases, and those of the same card, device or merchant.
    """

    row: Row
    labels: tuple[Labelled, ...]
    history: tuple[Row, ...]
    related: tuple[Related, ...]


class Found(msgspec.Struct, frozen=True):
    """What a search gave. `orphan`: a verdict on a transaction that was never decided here."""

    exact: tuple[Row, ...]
    groups: tuple[Related, ...]
    orphan: Labelled | None
