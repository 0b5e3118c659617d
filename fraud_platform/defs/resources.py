"""What assets are given: the settings, the source, its catalog, and the clients of outside systems."""

import dagster as dg

from fraud_platform.defs.s3 import S3
from fraud_platform.features.selection import Catalog, catalog_of
from fraud_platform.settings import Settings
from fraud_platform.transactions.sources import Source


def definitions(settings: Settings, source: Source) -> dg.Definitions:
    """The resources of one installation, and the executor: steps run in the run's own process."""
    catalog = catalog_of(source)

    # Named functions, because the Dagster UI shows a resource under its function's name.
    @dg.resource(description="What differs between one installation and another: FRAUD_… in the environment or .env.")
    def platform_settings() -> Settings:
        return settings

    @dg.resource(description=f"The mapping of the source's columns to the contract: {source.file}.")
    def source_mapping() -> Source:
        return source

    @dg.resource(description=f"{len(catalog.names)} model inputs, fingerprint {catalog.fingerprint}.")
    def feature_catalog() -> Catalog:
        return catalog

    return dg.Definitions(
        resources={
            "settings": platform_settings,
            "source": source_mapping,
            "catalog": feature_catalog,
            "s3": S3(endpoint_url=settings.s3_endpoint_url),
        },
        executor=dg.in_process_executor,
    )
