"""The Spark driver against the batch driver, on a cluster of two executors; its Arrow steps without one."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError, SettingsError
from fraud_platform.features import spark as driver
from fraud_platform.features.batch import compute_features
from fraud_platform.features.events import IDENTITY
from fraud_platform.features.expressions import DAY, MINUTE
from fraud_platform.features.fold import NULL
from fraud_platform.features.selection import Catalog, build_catalog
from fraud_platform.features.spark import (
    DAY_FOLDER,
    compute_features_on_spark,
    key_begins,
    pack_rows,
    spark_session,
    unpack_rows,
)
from fraud_platform.warehouse import day_files
from fraud_platform_tests.defs.conftest import FEATURES, INGESTION, assert_same_tables, maker
from fraud_platform_tests.features.histories import CATALOG, START
from fraud_platform_tests.installation import SMALL_SOURCE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS, BATCH_ROWS = 6_000, 100


def ugly_events() -> pl.DataFrame:
    """Ties, silences longer than any window, nulls in every key that may be null, and one customer with most rows."""
    random = np.random.default_rng(7)

    def some(*values: str | None) -> pl.Series:
        return pl.Series([values[choice] for choice in random.integers(0, len(values), ROWS)], dtype=pl.String)

    def degrees() -> pl.Series:
        return pl.Series([value if value < 80 else None for value in random.uniform(-90, 90, ROWS)])

    gaps = random.choice([0, 1, MINUTE], ROWS) * random.integers(0, 10, ROWS)
    gaps[[1_500, 3_000, 4_500]] = 29 * DAY + 1, 31 * DAY, 45 * DAY
    frame = {
        "transaction_id": [f"{'aZ~'[n % 3]}{n}" for n in random.permutation(ROWS)],
        "event_us": START + np.cumsum(gaps),
        "customer_id": some(*["hot"] * 7, "ann", "Ann", "~"),
        "card_id": some("c1", "c2", None),
        "device_id": some("d1", "d2", None, None),
        "merchant_id": some(*(f"m{n}" for n in range(150)), None),
        "merchant_country": some("FR", "DE", None),
        "home_country": some("FR", None),
        "channel": some("online", "atm", None),
        "amount_cents": random.integers(1, 10**12, ROWS),
        **{name: degrees() for name in ("latitude", "longitude", "home_latitude", "home_longitude", "tenure")},
        "known_fraud": random.integers(0, 2, ROWS),
    }
    with_days = pl.DataFrame(frame).with_columns(day=pl.from_epoch("event_us", time_unit="us").dt.date())
    return with_days.sort("event_us", "transaction_id")


@contextmanager
def many_parts(spark: "SparkSession") -> Iterator[None]:
    """Small batches, so that keys go on from one to the next, and partitions for both executors."""
    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
    }
    before = {name: spark.conf.get(name) for name in settings}
    for name, value in settings.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def on_spark(spark: "SparkSession", folder: Path, events: pl.DataFrame, catalog: Catalog, first: date) -> pl.DataFrame:
    """The features of the days from `first` on, day by day in the order of the files."""
    # The order of the rows is Spark's affair.
    events.sample(fraction=1, shuffle=True, seed=1).write_parquet(folder / "events.parquet")
    output = folder / "features"
    last = events["day"][-1]
    with many_parts(spark):
        compute_features_on_spark(spark, f"file://{folder}/events.parquet", catalog, first, last, f"file://{output}")
    written = sorted(output.glob(f"{DAY_FOLDER}=*"))
    assert all(len(list(day.glob("*.parquet"))) == 1 for day in written), "one file a day"
    return pl.concat(pl.read_parquet(day / "*.parquet", hive_partitioning=False) for day in written)


def tasks_by_executor(spark: "SparkSession") -> dict[str, int]:
    """How many tasks each executor has completed, the driver aside."""
    executors = spark.sparkContext._jsc.sc().statusStore().executorList(True)  # type: ignore[union-attr]
    found = [executors.apply(number) for number in range(executors.size())]
    return {executor.id(): executor.completedTasks() for executor in found if executor.id() != "driver"}


@pytest.mark.slow
def test_two_executors_give_the_batch_features_to_the_last_bit(spark: "SparkSession", tmp_path: Path) -> None:
    events = ugly_events()
    assert events.filter(customer_id="hot").height > 40 * BATCH_ROWS
    while len(before := tasks_by_executor(spark)) < 2:  # the second one may still be starting
        time.sleep(0.1)
    first = events["day"][1_600]
    found = on_spark(spark, tmp_path, events, CATALOG, first)
    history = int((events["day"] < first).sum())
    assert 0 < history < events.height
    features = pl.from_numpy(compute_features(events, CATALOG, history), schema=CATALOG.names)
    expected = pl.concat([events[history:].select(IDENTITY), features], how="horizontal")
    assert found.schema == expected.schema
    assert found.equals(expected)
    after = tasks_by_executor(spark)
    assert all(after[executor] > before[executor] for executor in before), (before, after)


@pytest.mark.slow
def test_an_overflow_on_an_executor_is_told_as_it_is_here(spark: "SparkSession", tmp_path: Path) -> None:
    catalog = build_catalog(("customer_id", "amount_cents"), (), 7 * DAY)
    events = pl.DataFrame(
        {
            "transaction_id": [f"t{n}" for n in range(1_200)],
            "event_us": START + np.arange(1_200),
            "day": [date(2023, 11, 14)] * 1_200,
            "customer_id": ["ann"] * 1_200,
            "amount_cents": [2**53] * 1_200,
            "known_fraud": [0] * 1_200,
        }
    )
    with pytest.raises(CatalogError, match=r"left the range of int64\. Check the unit") as told:
        on_spark(spark, tmp_path, events, catalog, date(2023, 11, 14))
    assert len(str(told.value).splitlines()) == 1 and told.value.__suppress_context__


@pytest.mark.slow
def test_an_executor_with_other_feature_code_refuses(
    spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "feature_code", lambda: "of another version")
    with pytest.raises(CatalogError, match="Install the same version on every machine"):
        on_spark(spark, tmp_path, ugly_events(), CATALOG, date(2023, 11, 14))


@pytest.mark.slow
def test_events_that_spark_cannot_read_are_told_with_what_to_do(spark: "SparkSession", tmp_path: Path) -> None:
    day = date(2026, 1, 1)
    with pytest.raises(CatalogError, match=r"(?s)PATH_NOT_FOUND.*nowhere.*FRAUD_SPARK_EXCHANGE"):
        compute_features_on_spark(spark, f"file://{tmp_path}/nowhere", CATALOG, day, day, f"file://{tmp_path}/out")


SESSIONS = """
from pyspark.sql import SparkSession
from fraud_platform.errors import SettingsError
from fraud_platform.features.spark import spark_session
try:
    with spark_session("nonsense://"):
        pass
except SettingsError as error:
    print(error)
with spark_session("local[1]") as outer:
    with spark_session("local[2]") as inner:
        print(inner.sparkContext.master)
    print(outer.range(3).count())
print(SparkSession.getActiveSession())
"""


@pytest.mark.slow
def test_a_session_ends_with_the_one_who_started_it() -> None:
    done = subprocess.run([sys.executable, "-c", SESSIONS], capture_output=True, text=True, check=True, timeout=300)
    refused, *rest = done.stdout.splitlines()
    assert "FRAUD_SPARK_MASTER=nonsense://" in refused and "java -version" in refused
    assert rest == ["local[1]", "3", "None"]


@pytest.mark.slow
def test_the_asset_writes_the_same_tables_with_either_engine(spark: "SparkSession", tmp_path: Path) -> None:
    source = SMALL_SOURCE.replace("last_day: 2026-02-09", "last_day: 2026-01-05").replace("_day: 800", "_day: 200")
    with ExitStack() as opened:
        make = maker(tmp_path, opened)
        local = make(source, feature_engine="local")
        local.run(INGESTION)
        expected = local.tables()
        files = day_files(local.settings.features, date.min, date.max)
        assert len(files) == 5
        on_cluster = make(source, feature_engine="spark", spark_exchange=str(tmp_path / "an exchange [1]"))
        middle = local.source.first_day + timedelta(days=2)
        one = on_cluster.run(FEATURES, middle)
        assert_same_tables(on_cluster.tables(), expected)
        for path in files:
            path.unlink()
        on_cluster.run(FEATURES)
        assert_same_tables(on_cluster.tables(), expected)
        view = "SELECT * FROM transaction_features ORDER BY event_us, transaction_id"
        assert local.query(view).equals(pl.concat(expected[path.name] for path in files))
        assert not list((tmp_path / "an exchange [1]").iterdir()), "what was exchanged is taken away"
    metadata = one.asset_materializations_for_node("transaction_features")[0].metadata
    assert metadata["engine"].value == "spark"


def test_without_pyspark_the_setting_and_the_fix_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with pytest.raises(SettingsError, match=r"FRAUD_FEATURE_ENGINE=spark.*pip install"), spark_session("local[1]"):
        pass


part = st.sampled_from(["a", "b", None])


@given(st.lists(st.tuples(part, part), min_size=1, max_size=30), st.data())
def test_keys_begin_where_they_change_whatever_the_batches(keys: list[tuple[str | None, ...]], data: Any) -> None:
    keys = sorted(keys, key=lambda key: tuple(value or "" for value in key))
    frame = pl.DataFrame(keys, schema={"x": pl.String, "y": pl.String}, orient="row")
    naive = [
        -1 if None in key else int(row == 0 or keys[row - 1] != key)
        for row, key in enumerate(keys)
    ]  # fmt: skip
    cuts = sorted(data.draw(st.sets(st.integers(1, len(keys)))))
    found, before, start = [], None, 0
    for end in (*cuts, len(keys)):
        if batch := keys[start:end]:
            found += key_begins(frame[start:end], before).tolist()
            before, start = batch[-1], end
    assert found == naive


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_packed_rows_come_back_from_any_batch(type_: pa.DataType) -> None:
    rows = np.array([[1, NULL, 2**62], [0, -1, 5], [7, 8, 9]], np.int64)
    packed = pack_rows(rows).cast(type_)
    assert np.array_equal(unpack_rows(packed), rows)
    assert np.array_equal(unpack_rows(packed[1:]), rows[1:])
    assert np.array_equal(unpack_rows(packed[1:2]), rows[1:2])
