"""The code location: every stage of the platform, merged in flow order."""

import dagster as dg

from fraud_platform.defs import (
    automation,
    candidates,
    champion,
    comparison,
    deployment,
    features,
    monitoring,
    parity,
    raw,
    resources,
    rules,
    scoring,
    serving,
    training,
    validated,
)
from fraud_platform.settings import Settings, load_settings
from fraud_platform.transactions.sources import load_source


def build_definitions(settings: Settings) -> dg.Definitions:
    """All definitions for one installation.

    Raises:
        SourceError: if the source's file is wrong, listing all that is.
    """
    source = load_source(settings.source, settings.data)
    return dg.Definitions.merge(
        resources.definitions(settings, source),
        raw.definitions(source),
        validated.definitions(source),
        features.definitions(source),
        training.definitions(),
        candidates.definitions(settings),
        comparison.definitions(settings),
        champion.definitions(),
        scoring.definitions(source),
        rules.definitions(),
        serving.definitions(),
        deployment.definitions(),
        monitoring.definitions(),
        parity.definitions(),
        automation.definitions(),
    )


defs = build_definitions(load_settings())
