"""Batch scoring: the same model and policy as the service, on a table of features."""

import polars as pl

from fraud_platform.decisions.policy import Policy
from fraud_platform.features.events import IDENTITY
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.training import input_matrix


def score_features(features: pl.DataFrame, artefact: Artefact, model_version: str) -> pl.DataFrame:
    """One row a transaction: its identity, fraud probability, risk level, action and the model's version."""
    probabilities = artefact.predict(input_matrix(features, artefact.card.feature_columns))
    policy = Policy(artefact.card.threshold)
    return features.select(IDENTITY).with_columns(
        fraud_probability=pl.Series(probabilities, dtype=pl.Float64),
        is_fraud=pl.Series(policy.is_fraud(probabilities), dtype=pl.Boolean),
        risk_level=pl.Series(policy.risk_levels(probabilities).astype(object), dtype=pl.String),
        action=pl.Series(policy.actions(probabilities).astype(object), dtype=pl.String),
        model_version=pl.lit(model_version),
    )
