"""What decisions cost in money, and the thresholds at which they cost the least.

Everything is int64 minor units (cents), exact. Approving a fraud costs its amount and a fee; a review
costs its price and finds the fraud; blocking costs nothing where it hits a fraud, and the anger of a
customer where it does not. After Elkan, The Foundations of Cost-Sensitive Learning (IJCAI 2001), section
1, where costs differ from row to row.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraud_platform.models.algorithms import Labels, Scores

if TYPE_CHECKING:
    import polars as pl

    from fraud_platform.settings import Settings

Cents = NDArray[np.int64]

NEVER = 2.0
"""A threshold that no probability reaches. Not infinity, which JSON cannot hold."""
IMPOSSIBLE = -(2**62)
"""Less than any money, and far enough from the least int64 to be added to."""


class CostMatrix(msgspec.Struct, frozen=True):
    """What a wrong or a careful decision costs, in minor units."""

    missed_fraud_fee: int = 1500
    """On top of the amount, for each fraud that is approved."""
    review: int = 300
    """One review by a person."""
    blocked_good: int = 3000
    """A legitimate payment that is blocked."""

    def __post_init__(self) -> None:
        if min(self.missed_fraud_fee, self.review, self.blocked_good) < 0:
            raise ValueError(f"No cost may be negative: {self}. Give what each costs in minor units, 0 or more.")


def costs_of(settings: "Settings") -> CostMatrix:
    """The costs of one installation."""
    return CostMatrix(settings.missed_fraud_fee_cents, settings.review_cost_cents, settings.blocked_good_cents)


class Thresholds(msgspec.Struct, frozen=True):
    """The probabilities at and above which a payment is reviewed, and blocked (None: nothing is blocked)."""

    review: float
    block: float | None = None

    def __post_init__(self) -> None:
        if self.block is not None and not self.block >= self.review:
            raise ValueError(f"Payments are blocked from {self.block} on, below {self.review} where review begins.")

    def alerts(self, probabilities: Scores) -> Labels:
        """Which payments are not approved: reviewed or blocked."""
        return probabilities >= self.review

    def blocks(self, probabilities: Scores) -> Labels:
        """Which payments are blocked."""
        return probabilities >= (np.inf if self.block is None else self.block)


@dataclass(frozen=True)
class Money:
    """What the decisions on some rows cost. All but the counts and the share are cents.

    `preventable` is what approving everything costs, `saved` that minus the three costs: negative where
    the decisions cost more than they prevent. `saved_share` is None where nothing could be prevented.
    `fraud_amount` is what the frauds were about, without fees, `fraud_amount_stopped` that of those reviewed
    or blocked.
    """

    rows: int
    preventable: int
    saved: int
    saved_share: float | None
    missed_frauds_cost: int
    review_cost: int
    blocked_good_cost: int
    reviews: int
    blocks: int
    fraud_amount: int
    fraud_amount_stopped: int

    @property
    def stopped_share(self) -> float | None:
        """The share of the fraud amount that is stopped, None where there is none."""
        return self.fraud_amount_stopped / self.fraud_amount if self.fraud_amount else None


def money(labels: Labels, amounts: Cents, probabilities: Scores, thresholds: Thresholds, costs: CostMatrix) -> Money:
    """What the thresholds' decisions on rows (n,) cost."""
    alerts, blocks = thresholds.alerts(probabilities), thresholds.blocks(probabilities)
    losses = fraud_losses(labels, amounts, costs)
    preventable, missed = int(losses.sum()), int(losses[~alerts].sum())
    blocked, blocked_good = int(blocks.sum()), int((blocks & ~labels).sum())
    reviews = int(alerts.sum()) - blocked
    review_cost, blocked_good_cost = reviews * costs.review, blocked_good * costs.blocked_good
    saved = preventable - missed - review_cost - blocked_good_cost
    return Money(
        rows=len(labels),
        preventable=preventable,
        saved=saved,
        saved_share=saved / preventable if preventable else None,
        missed_frauds_cost=missed,
        review_cost=review_cost,
        blocked_good_cost=blocked_good_cost,
        reviews=reviews,
        blocks=blocked,
        fraud_amount=int(amounts[labels].sum(dtype=np.int64)),
        fraud_amount_stopped=int(amounts[labels & alerts].sum(dtype=np.int64)),
    )


def gains(labels: Labels, amounts: Cents, probabilities: Scores, thresholds: Thresholds, costs: CostMatrix) -> Cents:
    """What the decision on each row saves against approving it, shape (n,); the sum is `Money.saved`."""
    return decide(labels, amounts, probabilities, thresholds, costs).gains


@dataclass(frozen=True)
class DecidedRows:
    """Rows (n,) with what was decided on each.

    `losses` is what approving each would cost, `gains` what its decision saves against that, in cents.
    """

    labels: Labels
    probabilities: Scores
    amounts: Cents
    alerts: Labels
    blocks: Labels
    losses: Cents
    gains: Cents


def decide(
    labels: Labels, amounts: Cents, probabilities: Scores, thresholds: Thresholds, costs: CostMatrix
) -> DecidedRows:
    """The thresholds' decisions on rows (n,)."""
    alerts, blocks = thresholds.alerts(probabilities), thresholds.blocks(probabilities)
    losses = fraud_losses(labels, amounts, costs)
    return DecidedRows(
        labels, probabilities, amounts, alerts, blocks, losses, gains_of(labels, losses, alerts, blocks, costs)
    )


def gains_of(labels: Labels, losses: Cents, alerts: Labels, blocks: Labels, costs: CostMatrix) -> Cents:
    """What reviewing and blocking these rows (n,) saves against approving them, whoever decided it.

    Args:
        losses: what approving each row costs, see `fraud_losses`.
        alerts: which rows are not approved, those that are blocked included.
    """
    spent = np.where(blocks, np.where(labels, 0, costs.blocked_good), np.where(alerts, costs.review, 0))
    return np.where(alerts, losses, 0) - spent


def fraud_losses(labels: Labels, amounts: Cents, costs: CostMatrix) -> Cents:
    """What approving each row costs, shape (n,): the amount and the fee of a fraud, else 0."""
    return np.where(labels, np.asarray(amounts, np.int64) + costs.missed_fraud_fee, 0)


def money_by_alerts(labels: Labels, amounts: Cents, probabilities: Scores, costs: CostMatrix) -> tuple[Cents, Cents]:
    """Every number of alerts that a threshold can give, from 0 on, and what they save where all are reviewed."""
    order = np.argsort(-probabilities, kind="stable")
    alerts = np.flatnonzero(_cuts(probabilities[order]))
    losses = fraud_losses(labels[order], amounts[order], costs)
    return alerts, _totals(losses)[alerts] - costs.review * alerts


def major_units(cents: float) -> str:
    """An amount for a person: 1234567 is 12,345.67."""
    return f"{cents / 100:,.2f}"


def choose_thresholds(
    labels: Labels,
    probabilities: Scores,
    amounts: Cents,
    days: "pl.Series",
    costs: CostMatrix,
    reviews_a_day: int,
) -> Thresholds:
    """The thresholds that save most money on these rows (n,), at most `reviews_a_day` reviews a day on average.

    With rows from the highest probability down, j alerts of which the first i are blocked save
    (losses prevented by j - review * j) + (review * i - blocked_good * legitimate among i): a term of j and
    a term of i, and the budget is j - i <= reviews. So the best i for every j is a maximum over a sliding
    window, and the best pair of all n² is found exactly in O(n log n).

    Blocking has to pay even with one more legitimate payment among the blocked than these rows have: of
    i blocked payments with g legitimate ones, g + 1 is what Laplace's rule of succession expects of as many
    others (for large i). Without it, the few highest rows of a validation period, all frauds by luck, would
    be blocked.

    Equal probabilities are never split. A threshold lies midway between two probabilities, so that a
    rounding in the last digit flips no row. Of equal money the fewer alerts win, then the fewer blocks;
    where no alert saves anything, nothing is reviewed (`NEVER`).
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked, fraud = probabilities[order], np.asarray(labels, np.bool_)[order]
    counts = np.arange(len(ranked) + 1)
    is_cut = _cuts(ranked)
    by_alerts = _totals(fraud_losses(fraud, np.asarray(amounts)[order], costs)) - costs.review * counts
    by_blocks = costs.review * counts - costs.blocked_good * (_totals(~fraud) + (counts > 0))
    by_alerts[~is_cut] = by_blocks[~is_cut] = IMPOSSIBLE
    reviews = min(reviews_a_day * days.n_unique(), len(ranked))
    alerts = int(np.argmax(by_alerts + _window_maximum(by_blocks, reviews)))
    fewest = max(alerts - reviews, 0)
    blocks = fewest + int(np.argmax(by_blocks[fewest : alerts + 1]))
    block = _midway(ranked, blocks) if blocks else None
    return Thresholds(_midway(ranked, alerts) if alerts else NEVER, block)


def _cuts(ranked: Scores) -> Labels:
    """Whether a threshold can lie behind the first 0, 1 … n falling probabilities, shape (n + 1,)."""
    return np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])[: len(ranked) + 1]


def _totals(values: NDArray[np.int64] | Labels) -> Cents:
    """The sum of the first 0, 1 … n values, shape (n + 1,)."""
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])


def _window_maximum(values: Cents, before: int) -> Cents:
    """The greatest of each value and the `before` values in front of it.

    Every window spans the end of one block and the start of the next, so two running maxima within blocks
    suffice: van Herk, Pattern Recognition Letters 13 (1992).
    """
    width = before + 1
    padded = np.concatenate([np.full(before, IMPOSSIBLE), values, np.full(-(len(values) + before) % width, IMPOSSIBLE)])
    blocks = padded.reshape(-1, width)
    from_start = np.maximum.accumulate(blocks, axis=1).ravel()
    to_end = np.maximum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.maximum(to_end[: len(values)], from_start[before : before + len(values)])


def _midway(ranked: Scores, count: int) -> float:
    """The threshold that the first `count` of the falling probabilities reach and no other does."""
    upper, lower = ranked[count - 1], ranked[count] if count < len(ranked) else 0.0
    middle = lower + (upper - lower) / 2
    return float(middle if middle > lower else upper)  # no float lies between two neighbours
