"""The code location: every stage of the platform, merged in flow order."""

import dagster as dg

from fraud_platform.defs import (
    automation,
    candidates,
    champion,
    comparison,
    deployment,
    features,
    feedback,
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
from fraud_platform.defs.days import daily_partitions, goes_on_live
from fraud_platform.settings import Settings, load_settings
from fraud_platform.transactions.sources import load_source


def build_definitions(settings: Settings) -> dg.Definitions:
    """All definitions for one installation.

    Raises:
        SourceError: if the source's file is wrong, listing all that is.
    """
    source = load_source(settings.source, settings.data)
    days = daily_partitions(source, live=goes_on_live(source, settings))
    return dg.Definitions.merge(
        resources.definitions(settings, source),
        feedback.definitions(source),
        raw.definitions(source, days),
        validated.definitions(source, days),
        features.definitions(days),
        training.definitions(),
        candidates.definitions(settings),
        comparison.definitions(settings),
        champion.definitions(),
        scoring.definitions(days),
        rules.definitions(),
        serving.definitions(),
        deployment.definitions(),
        monitoring.definitions(),
        parity.definitions(),
        automation.definitions(),
    )


defs = build_definitions(load_settings())
