"""Fraud campaigns: how many begin on a day, and which of their payments fall on a day.

A campaign is drawn once, from the seed and its first day, with all its payments. A day collects its
payments from the campaigns that began up to `LONGEST_CAMPAIGN_DAYS` before it.
"""

from functools import lru_cache
from math import floor

import numpy as np

from fraud_platform.transactions.simulator.campaigns import Campaigns
from fraud_platform.transactions.simulator.config import SimulatorConfig
from fraud_platform.transactions.simulator.events import Events, concatenated
from fraud_platform.transactions.simulator.fraud_kinds import KINDS, Kind
from fraud_platform.transactions.simulator.population import population
from fraud_platform.transactions.simulator.reports import reported_at
from fraud_platform.transactions.simulator.streams import DAY_US, Purpose, day_number, day_of, stream

LONGEST_CAMPAIGN_DAYS = 45
"""Payments of a campaign that would come later are dropped."""

FRAUD_KINDS = tuple(kind.name for kind in KINDS)
BASE_KINDS = tuple(kind.name for kind in KINDS if not kind.new)
"""The kinds that occur without drift."""


def kind_share(kind: Kind, config: SimulatorConfig, day: int) -> float:
    """The kind's share of the frauds whose campaigns begin on a day; the shares sum to 1."""
    new = config.drifted_share("new_fraud_pattern", day_of(day))
    return new if kind.new else kind.share * (1 - new)


def campaigns_starting(kind: Kind, config: SimulatorConfig, day: int) -> int:
    """How many campaigns of a kind begin on a day.

    They are spread evenly from a random phase on (a day's count is the step of a rounded-down
    line), so that even a few campaigns come close to the configured fraud rate.
    """
    drifts = config.drift_in_force("new_fraud_pattern", day_of(day))
    origin = day_number(max((drift.start for drift in drifts), default=config.first_day))
    frauds = config.fraud_rate * config.transactions_per_day * kind_share(kind, config, day)
    rate = frauds / kind.expected_frauds
    phase = float(stream(config.seed, Purpose.SCHEDULE, KINDS.index(kind)).random())
    return floor(rate * (day + 1 - origin) + phase) - floor(rate * (day - origin) + phase)


def expected_others(config: SimulatorConfig, day: int) -> float:
    """Payments of a day that are not ordinary spending: frauds, and the honest ones of campaigns."""
    frauds = config.fraud_rate * config.transactions_per_day
    honest = sum(kind_share(k, config, day) * k.expected_honest / k.expected_frauds for k in KINDS)
    return frauds * (1 + honest)


def campaign_payments(config: SimulatorConfig, day: int) -> Events:
    """The payments of one day that belong to fraud campaigns, in order of time."""
    parts: list[Events] = []
    for start in range(day - LONGEST_CAMPAIGN_DAYS, day + 1):
        events = _starting_on(config, start)
        first, last = np.searchsorted(events.time, [day * DAY_US, (day + 1) * DAY_US])
        parts.append(events.take(slice(int(first), int(last))))
    return concatenated(parts)


@lru_cache(maxsize=2 * LONGEST_CAMPAIGN_DAYS)
def _starting_on(config: SimulatorConfig, day: int) -> Events:
    """Every payment, in order of time, of the campaigns that begin on a day."""
    people, parts = population(config), []
    for number, kind in enumerate(KINDS):
        # Each kind has its own stream: one campaign more of a kind leaves the others as they are.
        rng = stream(config.seed, Purpose.CAMPAIGNS, day, number)
        count = campaigns_starting(kind, config, day)
        events, victim = kind.draw(Campaigns(config, people, rng, day, count, number))
        reports = stream(config.seed, Purpose.REPORTS, day, number)
        parts.append(reported_at(reports, config, kind, events, victim))
    events = concatenated(parts)
    kept = events.take(events.time < (day + LONGEST_CAMPAIGN_DAYS) * DAY_US)
    return kept.take(np.argsort(kept.time, kind="stable"))
