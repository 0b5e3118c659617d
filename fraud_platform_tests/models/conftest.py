"""A synthetic training set that can be learnt, and one small model of it, shared by the tests of models/."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud_platform.features.selection import CatalogOrigin
from fraud_platform.models.algorithms import FittedModel
from fraud_platform.models.algorithms.xgboost import XGBoost
from fraud_platform.models.dataset import Periods, Snapshot, label_events, plan_periods, write_snapshot
from fraud_platform.models.training import TrainedModel, train

FIRST_DAY = date(2024, 1, 1)
DAYS = 40
DELAY_DAYS = 7
DAY_US = 86_400_000_000
CATALOG = CatalogOrigin(("customer_id",), (), DELAY_DAYS * DAY_US, "fingerprint")
INPUTS = [f"input_{number}" for number in range(15)]


def synthetic_events(rows: int = 20_000, seed: int = 7) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events with 15 inputs, a tenth of them missing, and one report per fraud at the end of the label delay."""
    random = np.random.default_rng(seed)
    first_us = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    event_us = first_us + np.sort(random.integers(0, DAYS * DAY_US, rows))
    inputs = random.normal(size=(rows, len(INPUTS))).astype(np.float32)
    inputs[:, 3] = random.poisson(0.3, rows)
    log_odds = 2 * inputs[:, 0] + 1.5 * inputs[:, 1] * (inputs[:, 2] > 0) - 4.5
    fraud = np.flatnonzero(random.random(rows) < 1 / (1 + np.exp(-log_odds)))
    inputs[random.random(inputs.shape) < 0.1] = np.nan
    events = pl.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in range(rows)],
            "event_us": event_us,
            "day": pl.Series(event_us).cast(pl.Datetime("us")).dt.date(),
            "customer_id": [f"c{number}" for number in random.integers(0, 500, rows)],
            "amount_cents": random.integers(1, 100_000, rows),
            **{name: inputs[:, column] for column, name in enumerate(INPUTS)},
        }
    )
    labels = pl.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in fraud],
            "is_fraud": True,
            "reported_us": event_us[fraud] + DELAY_DAYS * DAY_US - 1,
            "fraud_type": [("stolen", "leaked")[number % 2] for number in fraud],
        },
        schema_overrides={"is_fraud": pl.Boolean},
    )
    return events, labels


@pytest.fixture(scope="session")
def periods() -> Periods:
    return plan_periods(FIRST_DAY, FIRST_DAY + timedelta(days=DAYS), DELAY_DAYS, validation_days=7, test_days=7)


@pytest.fixture(scope="session")
def training_set(periods: Periods) -> pl.DataFrame:
    return label_events(*synthetic_events(), periods)


@pytest.fixture(scope="session")
def snapshot(training_set: pl.DataFrame, periods: Periods, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return write_snapshot(training_set, tmp_path_factory.mktemp("training_sets"), periods)


@pytest.fixture(scope="session")
def trained(snapshot: Snapshot) -> TrainedModel:
    return train(snapshot, XGBoost(threads=1), INPUTS, CATALOG, seed=1, source="synthetic")


@pytest.fixture(scope="session")
def saved(trained: TrainedModel, snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fraud_platform.models.artefact import save
    from fraud_platform.models.evaluation import evaluate_split

    return save(trained, evaluate_split(snapshot, trained), tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def fitted() -> dict[str, FittedModel]:
    """A small model of each algorithm, and a vote of three."""
    from fraud_platform.models.algorithms.soft_voting import SoftVotingModel
    from fraud_platform_tests.models.algorithms.test_algorithms import SMALL, TRAIN, VALIDATION

    models = {name: algorithm.fit(TRAIN, VALIDATION, seed=1) for name, algorithm in SMALL.items()}
    vote = SoftVotingModel([models[name] for name in ("lightgbm", "logistic_regression", "xgboost")])
    return {**models, "soft_voting": vote}
