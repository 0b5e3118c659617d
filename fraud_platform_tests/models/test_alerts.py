from datetime import date

import numpy as np
import polars as pl

from fraud_platform.models.alerts import AlertLoad, alert_load
from fraud_platform.models.costs import Thresholds

DAYS = pl.Series([date(2024, 1, day) for day in (1, 1, 1, 2, 3)])
SCORES = np.array([0.9, 0.6, 0.5, 0.5, 0.1])


def test_reviews_and_blocks_are_counted_by_day():
    assert alert_load(SCORES, DAYS, Thresholds(0.5, 0.9), 1) == AlertLoad(1, 1.0, 1 / 3, 1 / 3, 2)


def test_a_day_at_the_budget_is_not_above_it():
    assert alert_load(SCORES, DAYS, Thresholds(0.5, 0.9), 2).days_above_budget == 0.0


def test_days_with_payments_and_no_alert_count():
    assert alert_load(SCORES, DAYS, Thresholds(0.95), 2).reviews_per_day == 0.0


def test_without_days_nothing_is_defined():
    assert alert_load(SCORES[:0], DAYS[:0], Thresholds(0.5), 2) == AlertLoad(2, None, None, None, 0)
