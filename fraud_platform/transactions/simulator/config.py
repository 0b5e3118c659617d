"""What can be set about the simulator, and how drifts add up on a day."""

from datetime import date
from math import prod
from typing import Literal

from pydantic import BaseModel, Field

DriftKind = Literal["amounts", "merchant_mix", "new_fraud_pattern"]

EARLIEST_FIRST_DAY = date(2001, 1, 1)
"""Fraud campaigns that began before the first day must lie after `contract.EARLIEST_EVENT`."""


class Drift(BaseModel, frozen=True, extra="forbid", populate_by_name=True):
    """A lasting change of the simulated world from one day on."""

    kind: DriftKind = Field(
        description="amounts: legitimate amounts rise; merchant_mix: spending moves to online merchants; "
        "new_fraud_pattern: instant_transfer_scam replaces a part of the other frauds"
    )
    start: date = Field(alias="from", description="first UTC day of the change")
    strength: float = Field(
        gt=0,
        le=1,
        description="amounts: relative rise (1 doubles them); merchant_mix: share of the other payments that moves "
        "online; new_fraud_pattern: share of the frauds that follow the new pattern",
    )


class SimulatorConfig(BaseModel, frozen=True, extra="forbid"):
    """Everything that a simulated day depends on, apart from the day itself."""

    first_day: date = Field(
        default=date(2026, 1, 1),
        ge=EARLIEST_FIRST_DAY,
        description="where history starts; ages and trends count from here",
    )
    seed: int = Field(default=20260101, ge=0, lt=2**63, description="the seed of every random choice")
    customers: int = Field(default=2_000, ge=50, le=1_000_000, description="customers, those who join later included")
    merchants: int = Field(default=1_000, ge=50, le=200_000, description="merchants and payees")
    transactions_per_day: float = Field(default=2_500, ge=10, le=2_000_000, description="expected transactions a day")
    fraud_rate: float = Field(
        default=0.01, ge=0.001, le=0.05, description="share of the transactions that are fraudulent"
    )
    median_label_delay_days: float = Field(
        default=2.5,
        gt=0,
        le=60,
        description="median days from a fraud to its report; some kinds are reported sooner or later",
    )
    never_reported_share: float = Field(
        default=0.08,
        ge=0,
        le=0.9,
        description="share of the frauds that nobody reports; differs by kind as the delay does",
    )
    disputed_share: float = Field(
        default=0.0005,
        ge=0,
        le=0.05,
        description="share of the legitimate transactions that are disputed and found good",
    )
    drift: tuple[Drift, ...] = Field(default=(), description="lasting changes, each from its day on")

    def amounts_factor(self, day: date) -> float:
        """What legitimate amounts are multiplied by on a day."""
        return prod(1 + drift.strength for drift in self.drift_in_force("amounts", day))

    def drifted_share(self, kind: DriftKind, day: date) -> float:
        """The share, 0 to 1, that drifts of a kind have moved on a day."""
        return 1 - prod(1 - drift.strength for drift in self.drift_in_force(kind, day))

    def drift_in_force(self, kind: DriftKind, day: date) -> list[Drift]:
        """The drifts of a kind that have begun."""
        return [drift for drift in self.drift if drift.kind == kind and drift.start <= day]
