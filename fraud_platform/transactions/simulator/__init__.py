"""The transaction simulator: customers, merchants, ordinary spending, fraud campaigns and late labels.

It stands in for a real source where there is none (first start, demos, tests, load). It knows the
truth about every fraud; the platform only ever sees what was reported.
"""

from fraud_platform.transactions.simulator.config import Drift, SimulatorConfig
from fraud_platform.transactions.simulator.day import simulate, simulate_day
from fraud_platform.transactions.simulator.fraud import BASE_KINDS, FRAUD_KINDS

__all__ = ["BASE_KINDS", "FRAUD_KINDS", "Drift", "SimulatorConfig", "simulate", "simulate_day"]
