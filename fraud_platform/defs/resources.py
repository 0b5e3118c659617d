"""What assets are given: the settings, the source, its catalog, and the clients of outside systems."""

import dagster as dg
from dagster_aws.s3 import S3Resource

from fraud_platform.features.catalog import catalog_of
from fraud_platform.settings import Settings
from fraud_platform.transactions.sources import Source


def definitions(settings: Settings, source: Source) -> dg.Definitions:
    """The resources of one installation, and the executor: steps run in the run's own process."""
    return dg.Definitions(
        resources={
            "settings": settings,
            "source": source,
            "catalog": catalog_of(source),
            "s3": S3Resource(endpoint_url=settings.s3_endpoint_url),
        },
        executor=dg.in_process_executor,
    )
