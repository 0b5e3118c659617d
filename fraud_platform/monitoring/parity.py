"""Parity: history replayed through the serving path, and the SQL oracle, against the batch table.

Features are compared to the last bit; "missing" equals "missing".
"""

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_platform.errors import StoreError, WarehouseError
from fraud_platform.features.batch import derive_features
from fraud_platform.features.events import read_events
from fraud_platform.features.fold import NULL
from fraud_platform.features.selection import Catalog
from fraud_platform.features.spark_table import SparkEngine, spark_writers
from fraud_platform.features.sql import aggregate_names, aggregates_sql
from fraud_platform.features.stores import Store
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.features.table import read_features
from fraud_platform.monitoring.replay import replay
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect, last_day, write_files

Engine = Literal["duckdb", "spark", "online-lmdb", "online-redis"]

EXAMPLES = 5
"""Differences that a report shows of each engine."""

Floats = NDArray[np.float32]


def default_engines(settings: Settings) -> list[Engine]:
    """The oracle, and the store that the service uses."""
    return ["duckdb", "online-redis" if settings.online_store_url else "online-lmdb"]


@dataclass(frozen=True)
class Difference:
    """One feature of one event that an engine computed otherwise than batch."""

    transaction_id: str
    feature: str
    batch: float
    engine: float


@dataclass(frozen=True)
class Comparison:
    """What one engine gave.

    Attributes:
        events: compared. late: events left out because a later one of their keys was known before them.
        mismatches: features of events that differ from the batch table.
        by_feature: the number of them by feature, the most frequent first.
        examples: the first of them.
    """

    engine: str
    events: int
    late: int
    mismatches: int
    by_feature: dict[str, int]
    examples: list[Difference]


@dataclass(frozen=True)
class ParityReport:
    """The engines compared on the days in [first, last]."""

    first: date
    last: date
    events: int
    features: int
    comparisons: list[Comparison]

    @property
    def mismatches(self) -> int:
        return sum(comparison.mismatches for comparison in self.comparisons)

    def summary(self) -> dict[str, Any]:
        """The report in one line."""
        engines = ["batch", *(comparison.engine for comparison in self.comparisons)]
        return {"events": self.events, "features": self.features, "mismatches": self.mismatches, "engines": engines}


def check_parity(settings: Settings, catalog: Catalog, days: int, engines: Sequence[Engine]) -> ParityReport:
    """Compare the engines with the batch table on the last days that have features.

    Raises:
        WarehouseError: if there are no features of these days, or not of all their events.
        StoreError: if a store cannot be used.
    """
    with connect(settings.database) as connection:
        last = last_day(connection, "transaction_features")
        first = last - timedelta(days=days - 1)
        batch = read_features(settings.features, first, last)
        expected, ids = batch.select(catalog.names).to_numpy(), batch["transaction_id"]
        comparisons = []
        for engine in engines:
            late = None
            if engine == "duckdb":
                found = oracle_features(connection, catalog, first, last)
            elif engine == "spark":
                found = spark_features(connection, catalog, settings, batch)
            else:
                with _empty_store(engine, settings, catalog) as store:
                    found, late = replay(connection, catalog, store, first, last)
            if len(found) != batch.height:
                raise WarehouseError(
                    f"There are {len(found):,} events from {first} to {last}, and the feature table has "
                    f"{batch.height:,}. Materialize `transaction_features` for these days again."
                )
            comparisons.append(compare(engine, ids, catalog, expected, found, late))
    return ParityReport(first, last, batch.height, len(catalog.features), comparisons)


def spark_features(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, settings: Settings, batch: pl.DataFrame
) -> Floats:
    """The features of the batch table's events as Spark computes them: float32 (n, d)."""
    rows: dict[date, int] = dict(batch.group_by("day").len().sort("day").iter_rows())
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        with closing(spark_writers(connection, catalog, Path(folder), rows, SparkEngine.of(settings))) as writers:
            write_files(writers)
        return read_features(Path(folder), min(rows), max(rows)).select(catalog.names).to_numpy()


@contextmanager
def _empty_store(engine: Engine, settings: Settings, catalog: Catalog) -> Iterator[Store]:
    """A store of its own for a replay, gone afterwards."""
    if engine == "online-lmdb":
        with tempfile.TemporaryDirectory(prefix="parity-") as folder:
            store = LmdbStore(Path(folder))
            try:
                yield store
            finally:
                store.close()
        return
    from fraud_platform.features.stores.redis import RedisStore

    if settings.online_store_url is None:
        raise StoreError(
            "online-redis needs FRAUD_ONLINE_STORE_URL: set it to redis://HOST:PORT, or leave that engine out."
        )
    store = RedisStore(settings.online_store_url, f"parity-{uuid.uuid4().hex}", catalog.look_back_us)
    try:
        yield store
    finally:
        store.clear()
        store.close()


def compare(
    engine: str,
    ids: pl.Series,
    catalog: Catalog,
    expected: Floats,
    found: Floats,
    late: NDArray[np.bool_] | None = None,
) -> Comparison:
    """The features that differ in any bit that is not the bit pattern of "missing".

    Args:
        ids: of the events, in the order of the rows of `expected` and `found`, float32 (n, d).
        late: bool (n,): events to leave out; default: none.
    """
    if expected.shape != found.shape:
        raise ValueError(f"{engine} gave {found.shape} features, batch {expected.shape}.")
    late = np.zeros(len(expected), bool) if late is None else late
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    differs = ~same & ~late[:, np.newaxis]
    counts = {name: int(count) for name, count in zip(catalog.names, differs.sum(axis=0), strict=True) if count}
    examples = [
        Difference(ids[int(row)], catalog.names[column], float(expected[row, column]), float(found[row, column]))
        for row, column in np.argwhere(differs)[:EXAMPLES]
    ]
    by_feature = dict(sorted(counts.items(), key=lambda item: -item[1]))
    return Comparison(engine, int((~late).sum()), int(late.sum()), sum(counts.values()), by_feature, examples)


def oracle_features(connection: duckdb.DuckDBPyConnection, catalog: Catalog, first: date, last: date) -> Floats:
    """The features from the aggregates that DuckDB computes by the oracle's SQL: float32 (n, d).

    The aggregates are integers and exact; what is made of them is the shared row step's.
    """
    events = read_events(connection, catalog, first, last)
    connection.register("oracle_events", events.to_arrow())
    names = aggregate_names(catalog)
    columns = ", ".join(f'"{names[rolling]}"' for rolling in catalog.all_rollings)
    sql = f"""
        SELECT {columns} FROM ({aggregates_sql(catalog, "duckdb", "oracle_events")}) a
        JOIN oracle_events e USING (transaction_id) WHERE e.day >= $first ORDER BY e.event_us, e.transaction_id
    """
    found = connection.sql(sql, params={"first": first}).pl()
    connection.unregister("oracle_events")
    aggregates = np.array([found[names[rolling]].fill_null(NULL).to_numpy() for rolling in catalog.all_rollings])
    return derive_features(events.filter(pl.col("day") >= first), aggregates, catalog)
