"""The SQL statements against the naive reference, the batch driver, and each other in two engines."""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraud_platform.features.batch import compute_features
from fraud_platform.features.catalog import Feature
from fraud_platform.features.events import read_events
from fraud_platform.features.expressions import (
    DAY,
    DISTINCT_LIMIT,
    HOUR,
    MINUTE,
    Call,
    Column,
    Expression,
    Operation,
    Rolling,
    step_of,
)
from fraud_platform.features.selection import Catalog, build_catalog
from fraud_platform.features.sql import (
    aggregate_names,
    aggregates_sql,
    features_sql,
    warehouse_features_sql,
)
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
from fraud_platform.transactions.simulator import SimulatorConfig, simulate
from fraud_platform_tests.features.histories import CATALOG, START, event, gaps, to_frame
from fraud_platform_tests.features.naive import naive_rolling

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST, LAST = date(2026, 1, 1), date(2026, 2, 14)
TABLES = ("validated_transactions", "validated_labels")
FULL = build_catalog(TRANSACTION_COLUMNS, (), 7 * DAY)
ENTITIES = (("customer_id",), ("customer_id", "merchant_id"))
SPANS = (MINUTE, 10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY)


def catalog_of(formulas: Iterable[Expression], attributes: tuple[str, ...] = ()) -> Catalog:
    features = tuple(Feature(f"feature_{number}", "", formula) for number, formula in enumerate(formulas))
    return Catalog(features, (), attributes, label_delay_us=7 * DAY, dropped={})


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, opened once: to open it takes as long as a small statement, and there are hundreds."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        yield connection


def run(engine: duckdb.DuckDBPyConnection, statement: str, events: pl.DataFrame) -> pl.DataFrame:
    """What the statement gives in DuckDB, in the order of `transaction_id`."""
    engine.register("events", events.to_arrow())
    return engine.sql(statement).pl().sort("transaction_id")


def assert_same_features(found: pl.DataFrame, events: pl.DataFrame, catalog: Catalog) -> None:
    """The statement's answer is what the batch driver computes, missing where that is."""
    assert found.columns == ["transaction_id", "event_us", *catalog.names]
    assert set(found.dtypes[2:]) == {pl.Float64}
    values = found.select(catalog.names).cast(pl.Float32)
    assert values.select(pl.all().is_nan().any()).row(0).count(True) == 0
    np.testing.assert_allclose(values.fill_null(np.nan).to_numpy(), compute_features(events, catalog), rtol=1e-5)


histories = st.lists(
    st.tuples(
        gaps,
        st.sampled_from(["ann", "bob", None]),
        st.sampled_from(["m1", "m2", None]),
        st.none() | st.integers(-(10**8), 10**8) | st.integers(-2, 2),
    ),
    max_size=40,
)


def edges() -> list[tuple[int, str, str, int]]:
    """An event on a boundary of every step, and events for which it lies just in or just out of each window."""
    reaches = [
        (span + delay, step_of(span + delay)) for delay in (0, 7 * DAY) for span in SPANS if not delay or span >= DAY
    ]
    moments = {reach + after for reach, step in reaches for after in (-1, 0, 1, step - 1, step, step + 1)}
    ends = {7 * DAY + after for after in (-1, 0, 1, 6 * HOUR - 1, 6 * HOUR)}
    times = sorted({0, *moments, *ends})
    gaps = [0, *(later - earlier for earlier, later in pairwise(times))]
    return [(gap, "ann", "m1", number) for number, gap in enumerate(gaps)]


@pytest.mark.parametrize("operation", get_args(Operation))
@given(history=histories)
@example(history=edges())
@settings(max_examples=40)
def test_each_operation_over_each_window_is_what_the_naive_reference_says(
    engine: duckdb.DuckDBPyConnection,
    operation: Operation,
    history: list[tuple[int, str | None, str | None, int | None]],
) -> None:
    frame = pl.DataFrame(
        [
            {"gap": gap, "customer_id": customer, "merchant_id": merchant, "amount_cents": value}
            for gap, customer, merchant, value in history
        ],
        schema={"gap": pl.Int64, "customer_id": pl.String, "merchant_id": pl.String, "amount_cents": pl.Int64},
    ).with_columns(
        transaction_id=pl.int_range(pl.len()),
        event_us=START + pl.col("gap").cum_sum(),
        device_id=pl.col("amount_cents").cast(pl.String),
    )
    column = {"count": None, "distinct": Column("device_id")}.get(operation, Column("amount_cents"))
    catalog = catalog_of(
        [
            *(Rolling(entity, operation, column, span) for entity in ENTITIES for span in SPANS),
            *(Rolling(entity, operation, column, span, True) for entity in ENTITIES for span in SPANS[3:]),
        ]
    )
    found = run(engine, aggregates_sql(catalog, "duckdb"), frame)
    assert found.height == frame.height and set(found.dtypes[1:]) <= {pl.Int64}
    times, values = frame["event_us"].to_list(), frame["amount_cents"].to_list()
    inputs = [0] * frame.height if column is None else values
    keys = {entity: [None if None in key else key for key in frame.select(entity).rows()] for entity in ENTITIES}
    for rolling, name in aggregate_names(catalog).items():
        expected = naive_rolling(operation, catalog.window(rolling), keys[rolling.entity], times, inputs)
        assert found[name].to_list() == expected, name


@given(events=st.lists(event, min_size=1, max_size=25))
@settings(max_examples=10)
def test_every_feature_is_what_the_batch_driver_computes(
    engine: duckdb.DuckDBPyConnection, events: list[dict[str, object]]
) -> None:
    frame = to_frame(events)
    assert_same_features(run(engine, features_sql(CATALOG, "duckdb"), frame), frame, CATALOG)


def test_a_distinct_count_stops_at_its_limit(engine: duckdb.DuckDBPyConnection) -> None:
    size = DISTINCT_LIMIT + 20
    frame = pl.DataFrame(
        {
            "transaction_id": np.arange(size),
            "event_us": START + np.arange(size) * 2 * MINUTE,
            "customer_id": ["ann"] * size,
            "merchant_id": [f"m{number}" for number in range(size)],
        }
    )
    catalog = catalog_of([Rolling(("customer_id",), "distinct", Column("merchant_id"), DAY)])
    found = run(engine, aggregates_sql(catalog, "duckdb"), frame)
    assert found.to_series(1).to_list() == [min(number, DISTINCT_LIMIT) for number in range(size)]


OVERFLOWING = pl.DataFrame(
    {
        "transaction_id": [1, 2, 3],
        "event_us": [START, START + MINUTE, START + 2 * MINUTE],
        "customer_id": ["ann"] * 3,
        "amount_cents": [2**62] * 3,
    }
)


@pytest.mark.parametrize("operation", ["sum", "sum_squares"])
def test_a_sum_out_of_range_fails_the_statement(engine: duckdb.DuckDBPyConnection, operation: Operation) -> None:
    catalog = catalog_of([Rolling(("customer_id",), operation, Column("amount_cents"), HOUR)])
    with pytest.raises((duckdb.OutOfRangeException, duckdb.ConversionException)):
        run(engine, aggregates_sql(catalog, "duckdb"), OVERFLOWING)


def test_a_source_s_own_words_stay_its_own(engine: duckdb.DuckDBPyConnection) -> None:
    """An attribute may be a word of SQL or the name of a column that the statement makes; NaN is missing."""
    catalog = build_catalog({"customer_id", "amount_cents"}, ["order", "step_6h", "customer_id__count__1h"], 7 * DAY)
    frame = pl.DataFrame(
        {
            "transaction_id": ["a", "b"],
            "event_us": [START, START + 1],
            "customer_id": ["ann", "ann"],
            "amount_cents": [100, 200],
            "known_fraud": [0, 0],
            "order": [np.nan, 0.1],
            "step_6h": [-7.0, None],
            "customer_id__count__1h": [5.0, 6.0],
        }
    )
    found = run(engine, features_sql(catalog, "duckdb"), frame)
    assert found["order"].to_list() == [None, 0.1]
    assert found["step_6h"].to_list() == [-7.0, None]
    assert found["customer_id__count__1h"].to_list() == [5.0, 6.0]
    assert found["customer_count_1h"].to_list() == [0.0, 1.0]


TEXT = 'it\'s \\ "so"'
NUMBERS = (0.1, 1e300, -2.5e-7, 2.0**60, 3)
CONSTANTS = pl.DataFrame({"transaction_id": [1], "event_us": [START], "channel": [TEXT], "x": [0.0]})
CONSTANT_FORMULAS = [Call("equals", (Column("channel"), TEXT)), *(Call("add", (Column("x"), n)) for n in NUMBERS)]


def test_constants_mean_what_they_say(engine: duckdb.DuckDBPyConnection) -> None:
    found = run(engine, features_sql(catalog_of(CONSTANT_FORMULAS, ("x",)), "duckdb"), CONSTANTS)
    assert found.row(0)[2:] == (1.0, *NUMBERS)


def test_names_are_plain_unique_and_readable() -> None:
    names = list(aggregate_names(CATALOG).values())
    assert len(set(names)) == len(names) == len(CATALOG.all_rollings)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in names)
    assert {
        "customer_id__count__1h",
        "customer_id_merchant_id__last__event_us__30d",
        "merchant_id__sum__known_fraud__7d__delayed_7d",
    } <= set(names)


def test_aggregates_of_formulas_with_like_names_are_told_apart() -> None:
    likes = [Call("minimum", (Column("amount_cents"), cap)) for cap in (1.5, -1.5)]
    names = aggregate_names(catalog_of([Rolling(("customer_id",), "sum", like, HOUR) for like in likes]))
    assert len(set(names.values())) == 2


def test_the_statement_says_what_it_is() -> None:
    statement = features_sql(CATALOG, "spark")
    header = "\n".join(line for line in statement.splitlines() if line.startswith("--"))
    assert f"The {len(CATALOG.features)} features of catalog {CATALOG.fingerprint}" in header and "for spark" in header


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse's two tables as Parquet: simulated days whose labels come late, are corrected, and tie."""
    config = SimulatorConfig(customers=50, merchants=50, transactions_per_day=25, fraud_rate=0.05)
    truth = simulate(config, FIRST, LAST).with_columns(
        day=pl.col("event_time").dt.date(), event_us=pl.col("event_time").dt.epoch("us")
    )
    event_time, reported_at = pl.col("event_time"), pl.col("reported_at")
    reported = truth.filter(reported_at.is_not_null()).select("transaction_id", "is_fraud", "reported_at")
    frauds, row = reported.filter("is_fraud"), pl.int_range(pl.len())
    others = truth.filter(reported_at.is_null() & ~pl.col("is_fraud"))
    is_fraud, is_none = pl.lit(True).alias("is_fraud"), pl.lit(False).alias("is_fraud")
    labels = [
        reported,
        frauds.filter(row % 3 == 0).with_columns(is_none),
        frauds.filter(row % 3 == 1).with_columns(is_none, reported_at + pl.duration(days=1)),
        others.filter(row % 9 == 0).select("transaction_id", is_fraud, reported_at=event_time + pl.duration(days=7)),
        others.filter(row % 9 == 1).select(
            "transaction_id", is_fraud, reported_at=event_time + pl.duration(days=7, microseconds=1)
        ),
    ]
    folder = tmp_path_factory.mktemp("warehouse")
    truth.drop("is_fraud", "fraud_type", "reported_at").write_parquet(folder / "validated_transactions.parquet")
    pl.concat(labels).write_parquet(folder / "validated_labels.parquet")
    return folder


def from_warehouse(warehouse: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events as the batch driver reads them, and what the exported statement gives in DuckDB."""
    with duckdb.connect() as connection:
        for table in TABLES:
            connection.execute(f"CREATE VIEW {table} AS FROM '{warehouse}/{table}.parquet'")
        events = read_events(connection, FULL, FIRST, LAST)
        return events, connection.sql(warehouse_features_sql(FULL, "duckdb")).pl()


def test_the_exported_statement_runs_on_the_warehouse_as_it_is(warehouse: Path) -> None:
    events, found = from_warehouse(warehouse)
    assert 0.05 < events["known_fraud"].to_numpy().mean() < 0.2
    in_order = events.select("transaction_id").join(found, on="transaction_id", how="left", maintain_order="left")
    assert_same_features(in_order, events, FULL)


def ugly_frame(size: int = 600) -> pl.DataFrame:
    """A busy key, null keys, names with quotes, ties, step boundaries, gaps over every window, null values."""
    random = np.random.default_rng(11)

    def texts(*values: str | None) -> list[str | None]:
        return [values[place] for place in np.minimum(random.geometric(0.5, size) - 1, len(values) - 1)]

    def numbers(low: float, high: float) -> list[float | None]:
        return [None if random.random() < 0.1 else value for value in random.uniform(low, high, size).tolist()]

    moments = [0, 1, 7 * MINUTE // 3, MINUTE, 15 * MINUTE, 2 * HOUR, 6 * HOUR, DAY, 31 * DAY]
    columns = {
        "gap": random.choice(moments, size, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.015, 0.005]).tolist(),
        "customer_id": texts("it's", 'Ünï "x"', "back\\slash"),
        "card_id": texts("c1", None, "c2"),
        "device_id": texts(None, "d1", "d2", "d3"),
        "merchant_id": texts("m1", "m2", None, "m3"),
        "merchant_country": texts("FR", "DE", None),
        "home_country": texts("FR", None),
        "channel": texts("online", "atm", None),
        "amount_cents": [*random.integers(1, 10**12, size - 5).tolist(), 1, 1000, 10**7, 10**7 + 1, 10**12],
        "latitude": numbers(-90, 90),
        "longitude": numbers(-180, 180),
        "home_latitude": numbers(-90, 90),
        "home_longitude": numbers(-180, 180),
        "tenure": [*numbers(-5, 5)[1:], float("nan")],
        "known_fraud": random.integers(0, 2, size).tolist(),
    }
    return to_frame([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


@pytest.mark.slow
class TestSpark:
    """Spark, on two executors, gives what DuckDB gives."""

    @staticmethod
    def run(spark: "SparkSession", statement: str, folder: Path, tables: Iterable[str]) -> pl.DataFrame:
        for table in tables:
            spark.read.parquet(str(folder / f"{table}.parquet")).createOrReplaceTempView(table)
        frame = pl.from_arrow(spark.sql(statement).toArrow())
        assert isinstance(frame, pl.DataFrame)
        return frame.sort("transaction_id")

    def test_aggregates_are_equal(
        self, spark: "SparkSession", engine: duckdb.DuckDBPyConnection, tmp_path: Path
    ) -> None:
        events = ugly_frame()
        events.write_parquet(tmp_path / "events.parquet")
        found = self.run(spark, aggregates_sql(CATALOG, "spark"), tmp_path, ["events"])
        assert found.equals(run(engine, aggregates_sql(CATALOG, "duckdb"), events))

    def test_features_are_what_the_batch_driver_computes(self, spark: "SparkSession", tmp_path: Path) -> None:
        events = ugly_frame()
        events.write_parquet(tmp_path / "events.parquet")
        assert_same_features(self.run(spark, features_sql(CATALOG, "spark"), tmp_path, ["events"]), events, CATALOG)

    def test_the_exported_statement_runs_on_the_warehouse_as_it_is(
        self, spark: "SparkSession", warehouse: Path
    ) -> None:
        found = self.run(spark, warehouse_features_sql(FULL, "spark"), warehouse, TABLES)
        events, expected = from_warehouse(warehouse)
        assert found.height == events.height
        assert_frame_equal(found, expected.sort("transaction_id"), rel_tol=1e-12)

    def test_constants_mean_what_they_say(self, spark: "SparkSession", tmp_path: Path) -> None:
        CONSTANTS.write_parquet(tmp_path / "events.parquet")
        catalog = catalog_of(CONSTANT_FORMULAS, ("x",))
        found = self.run(spark, features_sql(catalog, "spark"), tmp_path, ["events"])
        assert found.row(0)[2:] == (1.0, *NUMBERS)

    def test_a_sum_out_of_range_fails_the_statement(self, spark: "SparkSession", tmp_path: Path) -> None:
        OVERFLOWING.write_parquet(tmp_path / "events.parquet")
        catalog = catalog_of([Rolling(("customer_id",), "sum", Column("amount_cents"), HOUR)])
        with pytest.raises(Exception, match="ARITHMETIC_OVERFLOW"):
            self.run(spark, aggregates_sql(catalog, "spark"), tmp_path, ["events"])
