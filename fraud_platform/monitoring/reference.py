"""What current data is compared with: the rows that the model learnt from, once their windows were full."""

from datetime import timedelta

import polars as pl

from fraud_platform.features.expressions import DAY
from fraud_platform.features.selection import Catalog
from fraud_platform.models.dataset import Snapshot


def reference_rows(snapshot: Snapshot, catalog: Catalog) -> pl.DataFrame:
    """The train and validation rows from the day on which the longest window was full.

    Earlier rows count over less history than any later row: they differ from today's by the start of
    the data and not by drift. The validation rows are always part of it.
    """
    periods = snapshot.periods
    warm = periods.train.first + timedelta(days=-(-catalog.look_back_us // DAY))
    first = min(warm, periods.validation.first)
    return snapshot.read().filter(pl.col("split") != "test", pl.col("day") >= first)
