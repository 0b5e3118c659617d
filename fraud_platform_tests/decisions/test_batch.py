from datetime import date
from types import SimpleNamespace
from typing import cast

import numpy as np
import polars as pl
import pytest

from fraud_platform.decisions.batch import score_features
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.costs import Thresholds

CARD = SimpleNamespace(feature_columns=("amount", "count"), thresholds=Thresholds(0.4))


@pytest.fixture
def artefact() -> Artefact:
    """Its "probability" is the first input over 1,000."""
    model = SimpleNamespace(card=CARD, predict=lambda matrix: matrix[:, 0].astype(np.float64) / 1000)
    return cast(Artefact, model)


def features(amounts: list[float | None]) -> pl.DataFrame:
    """A feature table whose columns stand in another order than the model's inputs, with one that it does not take."""
    rows = len(amounts)
    return pl.DataFrame(
        {
            "transaction_id": [f"t{row}" for row in range(rows)],
            "event_us": list(range(rows)),
            "day": [date(2026, 3, 1)] * rows,
            "customer_id": ["ann"] * rows,
            "amount_cents": [100] * rows,
            "count": [7.0] * rows,
            "other": [9.0] * rows,
            "amount": amounts,
        },
        schema_overrides={
            "transaction_id": pl.String,
            "event_us": pl.Int64,
            "day": pl.Date,
            "customer_id": pl.String,
            "amount_cents": pl.Int64,
            "amount": pl.Float32,
        },
    )


def test_each_transaction_gets_its_decision_in_order(artefact: Artefact) -> None:
    scores = score_features(features([100.0, 500.0, 250.0]), artefact, "3")
    assert scores["transaction_id"].to_list() == ["t0", "t1", "t2"]
    assert scores["fraud_probability"].to_list() == [0.1, 0.5, 0.25]
    assert scores["is_fraud"].to_list() == [False, True, False]
    assert scores["risk_level"].to_list() == ["low", "high", "medium"]
    assert scores["action"].to_list() == ["approve", "review", "approve"]
    assert scores["model_version"].to_list() == ["3"] * 3


def test_the_columns_are_the_identity_and_the_decision(artefact: Artefact) -> None:
    schema = score_features(features([1.0]), artefact, "3").schema
    assert dict(schema) == {
        "transaction_id": pl.String,
        "event_us": pl.Int64,
        "day": pl.Date,
        "customer_id": pl.String,
        "amount_cents": pl.Int64,
        "fraud_probability": pl.Float64,
        "is_fraud": pl.Boolean,
        "risk_level": pl.String,
        "action": pl.String,
        "model_version": pl.String,
    }


def test_a_day_without_transactions_gives_an_empty_table_of_the_same_types(artefact: Artefact) -> None:
    empty = score_features(features([]), artefact, "3")
    assert empty.height == 0
    assert empty.schema == score_features(features([1.0]), artefact, "3").schema
