"""Batch scoring: the same model and policy as the service, on a table of features."""

import polars as pl

from fraud_platform.decisions.policy import Policy
from fraud_platform.errors import CatalogError
from fraud_platform.features.events import IDENTITY
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.training import input_matrix


def score_features(features: pl.DataFrame, artefact: Artefact, model_version: str) -> pl.DataFrame:
    """One row a transaction: its identity, fraud probability, risk level, action and the model's version.

    Raises:
        CatalogError: if the table lacks inputs of the model.
    """
    absent = [name for name in artefact.card.feature_columns if name not in features.columns]
    if absent:
        raise CatalogError(
            f"Version {model_version} takes the inputs {absent}, which the features of these days lack: it was trained "
            f"on catalog {artefact.card.catalog.fingerprint}. Materialize `transaction_features` with the source and "
            "the code that it was trained with, or train and promote a model of the catalog in use."
        )
    probabilities = artefact.predict(input_matrix(features, artefact.card.feature_columns))
    policy = Policy(artefact.card.thresholds)
    return features.select(IDENTITY).with_columns(
        fraud_probability=pl.Series(probabilities, dtype=pl.Float64),
        is_fraud=pl.Series(policy.is_fraud(probabilities), dtype=pl.Boolean),
        risk_level=pl.Series(policy.risk_levels(probabilities).astype(object), dtype=pl.String),
        action=pl.Series(policy.actions(probabilities).astype(object), dtype=pl.String),
        model_version=pl.lit(model_version),
    )
