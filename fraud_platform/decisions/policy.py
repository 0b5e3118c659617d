"""From a fraud probability, and from what rules and lists say, to what is done about a payment."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_platform.models.costs import NEVER, Thresholds

RiskLevel = Literal["low", "medium", "high"]
Action = Literal["approve", "review", "block"]
MatchKind = Literal["rule", "list"]

SEVERITY: dict[Action, int] = {"approve": 0, "review": 1, "block": 2}


@dataclass(frozen=True)
class Policy:
    """Probabilities at and above a threshold are reviewed or blocked; from half of the lower one on, risk is medium."""

    thresholds: Thresholds

    def is_fraud(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        return probabilities >= self.thresholds.review

    def risk_levels(self, probabilities: NDArray[np.float64]) -> NDArray[np.str_]:
        review = self.thresholds.review
        return np.select([probabilities >= review, probabilities >= review / 2], ["high", "medium"], "low")

    def actions(self, probabilities: NDArray[np.float64]) -> NDArray[np.str_]:
        block = NEVER if self.thresholds.block is None else self.thresholds.block
        return np.select([probabilities >= block, self.is_fraud(probabilities)], ["block", "review"], "approve")

    def judge(self, probability: float) -> tuple[RiskLevel, Action]:
        """The risk level and the action of one transaction: what the methods above say of a row."""
        review, block = self.thresholds.review, self.thresholds.block
        if probability >= review:
            return "high", "block" if block is not None and probability >= block else "review"
        return "medium" if probability >= review / 2 else "low", "approve"


class Match(NamedTuple):
    """A rule or a list that matched a payment.

    Attributes:
        name: of the rule; of a list, such as `block list: card_id`.
        action: what it asks for; a watch list asks for a review.
        weight: 1 to 100 between rules; 0 for a list.
        why: why the rule, or the entry of the list, is there.
    """

    name: str
    action: Action
    weight: int
    kind: MatchKind
    why: str


class Matches(NamedTuple):
    """What matched a payment: what decides, and what only runs along."""

    live: tuple[Match, ...] = ()
    shadow: tuple[Match, ...] = ()


NO_MATCHES = Matches()


def combine(model_action: Action | None, matches: Matches) -> tuple[Action, tuple[str, ...]]:
    """What is done about a payment, and the names of what matched, the one that decided first.

    A block list goes before an allow list, that before the rules, and they before the model. Between rules
    the heaviest decides, and of equally heavy ones the most severe. A rule for review or block never makes the
    model's action milder; a rule for approval may. A watch list makes it a review at least, whatever else
    says approve. Rules in shadow change nothing.

    Args:
        model_action: None where no model could be asked; without any match the payment is then reviewed.
    """
    if not matches.live:
        return model_action or "review", ()
    ranked = sorted(matches.live, key=_rank)
    first = ranked[0]
    action = first.action
    if action != "approve":
        action = max(action, model_action or action, key=SEVERITY.__getitem__)
    watch = next((match for match in ranked if _is_watch(match)), None)
    if watch is not None and action == "approve":
        action = "review"
        ranked.remove(watch)
        ranked.insert(0, watch)
    return action, tuple(match.name for match in ranked)


def _rank(match: Match) -> tuple[int, int, int]:
    """What decides first: block list, allow list, rules from the heaviest on, watch list."""
    if match.kind == "list":
        return {"block": 0, "approve": 1, "review": 3}[match.action], 0, 0
    return 2, -match.weight, -SEVERITY[match.action]


def _is_watch(match: Match) -> bool:
    return match.kind == "list" and match.action == "review"
