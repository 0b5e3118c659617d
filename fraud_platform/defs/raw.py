"""Raw data: the source's rows as they were read, filed by the UTC day of the event; live rows lie beside them."""

import dagster as dg

from fraud_platform.defs.days import SINGLE_RUN, add_rows_per_day, day_range, row_counts
from fraud_platform.defs.presentation import DAILY_FRESHNESS, OWNERS
from fraud_platform.defs.s3 import S3, local_copy
from fraud_platform.settings import Settings
from fraud_platform.transactions.labels import land_labels
from fraud_platform.transactions.live import LIVE, live_files
from fraud_platform.transactions.reading import land
from fraud_platform.transactions.sources import Source
from fraud_platform.warehouse import rows_by_day, rows_in_folder


def definitions(source: Source, days: dg.DailyPartitionsDefinition) -> dg.Definitions:
    """The raw transactions and labels of a source."""
    return dg.Definitions(assets=[_raw_transactions(source, days), _raw_labels(days)])


def _raw_transactions(source: Source, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        deps=["live_transactions"],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        group_name="raw",
        kinds={"duckdb", "parquet", source.format},
        owners=OWNERS["raw"],
        freshness_policy=DAILY_FRESHNESS,
        pool="raw",
    )
    def raw_transactions(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        source: dg.ResourceParam[Source],
        s3: S3,
    ) -> dg.MaterializeResult:
        """The source's rows as read, one Parquet file a UTC day, and beside them the day's live transactions.

        A row whose time cannot be read, and a line that cannot be parsed, is kept aside for
        quarantine; a file that cannot be read at all fails the run.
        """
        first, last = day_range(context)
        folder = settings.raw_transactions
        here = local_copy(source, s3, settings.scratch) if source.has_days(first, last) else source
        landed = land(here, folder, first, last, settings.scratch)
        live = rows_by_day(live_files(folder, first, last))
        rows = {day: landed.rows.get(day, 0) + live.get(day, 0) for day in landed.rows.keys() | live.keys()}
        add_rows_per_day(context, "raw_transactions", rows)
        return dg.MaterializeResult(
            metadata={
                **row_counts(rows_in_folder(folder) + rows_in_folder(folder / LIVE), rows),
                "live_rows_of_this_run": sum(live.values()),
                "undated_rows": landed.undated,
                "files_read": len(landed.files),
                "source": dg.MetadataValue.path(source.file),
                "folder": dg.MetadataValue.path(folder),
            }
        )

    return raw_transactions


def _raw_labels(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        deps=["raw_transactions", "feedback_labels"],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        group_name="raw",
        kinds={"duckdb", "parquet"},
        owners=OWNERS["raw"],
        freshness_policy=DAILY_FRESHNESS,
    )
    def raw_labels(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], source: dg.ResourceParam[Source]
    ) -> dg.MaterializeResult:
        """What the source says about fraud, and when it became known, filed by the day of the event.

        What was reported to the service lies beside it, filed by the day of the report: validation gives it the
        day of its event.
        """
        first, last = day_range(context)
        rows = land_labels(source, settings.raw_transactions, settings.raw_labels, first, last)
        add_rows_per_day(context, "raw_labels", rows)
        return dg.MaterializeResult(
            metadata={
                **row_counts(rows_in_folder(settings.raw_labels), rows),
                "reported_to_the_service": rows_in_folder(settings.raw_labels / LIVE),
                "folder": dg.MetadataValue.path(settings.raw_labels),
            }
        )

    return raw_labels
