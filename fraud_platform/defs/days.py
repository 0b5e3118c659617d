"""The daily partitions of a source, and how an asset reads which days a run covers."""

import warnings
from datetime import date, timedelta

import dagster as dg

from fraud_platform.settings import Settings
from fraud_platform.transactions.live import live_files
from fraud_platform.transactions.sources import Source

# Its own warning says that the parameter is in beta, once an asset, at every load.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""A range of days is one run: the engines below are faster on many days than on one at a time."""


def daily_partitions(source: Source, live: bool = False) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day, from the source's first day to its last, or up to yesterday where it has none.

    Args:
        live: go on to today, which is when the service decides.
    """
    if live:
        return dg.DailyPartitionsDefinition(start_date=source.first_day.isoformat(), end_offset=1)
    end = source.last_day + timedelta(days=1) if source.last_day else None
    return dg.DailyPartitionsDefinition(
        start_date=source.first_day.isoformat(), end_date=end.isoformat() if end else None
    )


def goes_on_live(source: Source, settings: Settings) -> bool:
    """Whether transactions came through the service on days that the source's own partitions do not have."""
    files = live_files(settings.raw_transactions)
    return bool(files) and (source.last_day is None or date.fromisoformat(files[-1].stem) > source.last_day)


def day_range(context: dg.AssetExecutionContext) -> tuple[date, date]:
    """The first and the last day that this run covers, both inclusive."""
    window = context.partition_time_window
    return window.start.date(), window.end.date() - timedelta(days=1)


def row_counts(total: int, in_run: dict[date, int]) -> dict[str, int]:
    """The row count that the Dagster UI shows for the whole table, and the rows of the days of this run."""
    return {"dagster/row_count": total, "rows_of_this_run": sum(in_run.values())}


def add_rows_per_day(context: dg.AssetExecutionContext, asset: str, rows: dict[date, int]) -> None:
    """Show each partition's own row count in the Dagster UI, also where many ran as one."""
    for key in context.partition_keys:
        metadata = {"dagster/partition_row_count": rows.get(date.fromisoformat(key), 0)}
        context.add_asset_metadata(metadata, asset_key=asset, partition_key=key)
