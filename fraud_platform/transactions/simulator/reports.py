"""When a fraud becomes known, if it ever does: log-normal delays, shared by the payments of a victim."""

from dataclasses import replace

import numpy as np

from fraud_platform.transactions.simulator.config import SimulatorConfig
from fraud_platform.transactions.simulator.events import Events
from fraud_platform.transactions.simulator.fraud_kinds import Kind
from fraud_platform.transactions.simulator.identifiers import NONE
from fraud_platform.transactions.simulator.streams import DAY_US, HOUR_US, IntArray, Purpose, stream

DELAY_SPREAD = 0.8
"""Deviation of the logarithm: with a median of 2.5 days nine in ten are known within 7 days."""

PAYMENT_SPREAD = 0.15
SHORTEST_DELAY_US = HOUR_US // 2


def reported_at(
    rng: np.random.Generator, config: SimulatorConfig, kind: Kind, events: Events, victim: IntArray
) -> Events:
    """The frauds among the events with their reports; a victim reports all or nothing."""
    count = int(victim.max(initial=-1)) + 1
    shared = rng.normal(0, DELAY_SPREAD, count)[victim] + rng.normal(0, PAYMENT_SPREAD, len(victim))
    days = config.median_label_delay_days * kind.delay * np.exp(shared)
    silent = (rng.random(count) < min(config.never_reported_share * kind.silence, 0.95))[victim]
    reported = events.time + np.maximum(days * DAY_US, SHORTEST_DELAY_US).astype(np.int64)
    return replace(events, reported=np.where(silent | (events.fraud < 0), NONE, reported))


def disputed(config: SimulatorConfig, events: Events, day: int) -> Events:
    """A few legitimate payments are disputed, and reported as good once that is settled."""
    rng = stream(config.seed, Purpose.DISPUTES, day)
    days = config.median_label_delay_days * np.exp(rng.normal(0, DELAY_SPREAD, len(events)))
    chosen = rng.random(len(events)) < config.disputed_share
    reported = events.time + np.maximum(days * DAY_US, SHORTEST_DELAY_US).astype(np.int64)
    return replace(events, reported=np.where(chosen, reported, events.reported))
