"""One simulated day, and ranges of days.

A day depends on the configuration and the day alone, never on the range it is asked for in.
"""

from datetime import date

import polars as pl

from fraud_platform.errors import SourceError
from fraud_platform.transactions.simulator.config import SimulatorConfig
from fraud_platform.transactions.simulator.events import concatenated, to_frame
from fraud_platform.transactions.simulator.fraud import FRAUD_KINDS, campaign_payments, expected_others
from fraud_platform.transactions.simulator.population import population
from fraud_platform.transactions.simulator.reports import disputed
from fraud_platform.transactions.simulator.spending import spend
from fraud_platform.transactions.simulator.streams import day_number, day_of


def simulate_day(config: SimulatorConfig, day: date) -> pl.DataFrame:
    """The transactions of one UTC day, sorted by event_time and transaction_id.

    Returns:
        The columns of `contract.TRANSACTION` in their order, then the truth: `is_fraud`,
        `fraud_type` (null for legitimate) and `reported_at` (null: nobody will ever report it).
        Times are naive UTC.

    Raises:
        SourceError: if the day lies before the simulated history.
    """
    if day < config.first_day:
        raise SourceError(
            f"The simulator has no {day}: its history starts on {config.first_day}. "
            "Ask for a later day, or set an earlier `first_day`."
        )
    number = day_number(day)
    others = campaign_payments(config, number)
    ordinary = spend(config, number, config.transactions_per_day - expected_others(config, number))
    events = concatenated([disputed(config, ordinary, number), others])
    return to_frame(events, population(config), number, FRAUD_KINDS)


def simulate(config: SimulatorConfig, first_day: date, last_day: date) -> pl.DataFrame:
    """The days from `first_day` to `last_day`, both included, as `simulate_day` gives them.

    Raises:
        SourceError: if the range is empty or begins before the simulated history.
    """
    if last_day < first_day:
        raise SourceError(f"The range {first_day} to {last_day} has no day. Give a last day on or after the first.")
    first, last = day_number(first_day), day_number(last_day)
    return pl.concat([simulate_day(config, day_of(number)) for number in range(first, last + 1)])
