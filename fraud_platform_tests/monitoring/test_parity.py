"""Parity is found where it holds, and its absence where it does not."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud_platform.features.expressions import DAY
from fraud_platform.features.selection import Catalog, build_catalog, catalog_of
from fraud_platform.monitoring.parity import Engine, check_parity, compare
from fraud_platform.settings import Settings
from fraud_platform.transactions.sources import load_source
from fraud_platform.warehouse import connect, day_file, last_day
from fraud_platform_tests.features.stores.redis_server import RedisServer
from fraud_platform_tests.installation import Installation

CATALOG = build_catalog({"customer_id", "amount_cents"}, [], 7 * DAY)
IDS = pl.Series(["a", "b", "c"])


def features() -> np.ndarray:
    matrix = np.arange(3 * len(CATALOG.names), dtype=np.float32).reshape(3, -1)
    matrix[1, 0] = np.nan
    return matrix


class TestCompare:
    def test_equal_and_equally_missing_features_match(self) -> None:
        found = compare("engine", IDS, CATALOG, features(), features())
        assert (found.events, found.late, found.mismatches, found.examples) == (3, 0, 0, [])

    @pytest.mark.parametrize("value", [np.nextafter(np.float32(5), np.float32(6)), np.nan, 0])
    def test_the_last_bit_counts_and_missing_is_a_value(self, value: float) -> None:
        other = features()
        other[0, 5] = value
        found = compare("engine", IDS, CATALOG, features(), other)
        assert found.mismatches == 1 and found.by_feature == {CATALOG.names[5]: 1}
        assert (found.examples[0].transaction_id, found.examples[0].batch) == ("a", 5)

    def test_late_events_are_counted_apart(self) -> None:
        other = features()
        other[0, 5] = -1
        found = compare("engine", IDS, CATALOG, features(), other, np.array([True, False, False]))
        assert (found.events, found.late, found.mismatches) == (2, 1, 0)

    def test_rows_that_are_missing_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="engine gave"):
            compare("engine", IDS, CATALOG, features(), features()[:2])


@pytest.fixture(scope="module")
def catalog(installation: Installation) -> Catalog:
    return catalog_of(load_source(installation.source, None))


@pytest.mark.slow
class TestReplay:
    @pytest.mark.parametrize("engine", ["duckdb", "online-lmdb", pytest.param("online-redis", marks=pytest.mark.redis)])
    def test_ten_days_of_events_and_labels_give_the_batch_table(
        self, installation: Installation, catalog: Catalog, engine: Engine, request: pytest.FixtureRequest
    ) -> None:
        settings = installation.settings
        if engine == "online-redis":
            server: RedisServer = request.getfixturevalue("redis_server")
            settings = settings.model_copy(update={"online_store_url": server.url})
        report = check_parity(settings, catalog, 10, [engine])
        assert report.events > 7000 and report.features == 83
        assert [(c.engine, c.mismatches, c.late) for c in report.comparisons] == [(engine, 0, 0)]

    def test_ten_days_without_their_labels_would_not(
        self, installation: Installation, catalog: Catalog, tmp_path: Path
    ) -> None:
        """The replay stands on the labels that came meanwhile, and the comparison sees it."""
        settings = altered(installation, tmp_path)
        with connect(settings.database) as connection:
            first = last_day(connection, "validated_transactions") - timedelta(days=9)
            connection.execute("DELETE FROM validated_labels WHERE reported_at >= ?", [first])
        (comparison,) = check_parity(settings, catalog, 10, ["online-lmdb"]).comparisons
        assert comparison.mismatches > 0
        assert all("fraud_rate" in name or "known_frauds" in name for name in comparison.by_feature)

    def test_a_wrong_value_in_the_batch_table_is_found_and_fails_the_command(
        self, installation: Installation, catalog: Catalog, tmp_path: Path
    ) -> None:
        settings = altered(installation, tmp_path)
        with connect(settings.database) as connection:
            last = last_day(connection, "transaction_features")
        file = day_file(settings.features, last)
        wrong = pl.when(pl.int_range(pl.len()) == 3).then(99).otherwise(pl.col("customer_count_1d"))
        pl.read_parquet(file).with_columns(customer_count_1d=wrong.cast(pl.Float32)).write_parquet(file)
        (comparison,) = check_parity(settings, catalog, 1, ["duckdb"]).comparisons
        assert comparison.by_feature == {"customer_count_1d": 1}
        assert comparison.examples[0].batch == 99

    def test_the_command_prints_a_table_and_the_report(self, installation: Installation) -> None:
        done = installation.run("parity", "--days", "2")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        assert report["mismatches"] == 0 and report["engines"] == ["batch", "duckdb", "online-lmdb"]
        assert report["events"] > 1000 and report["features"] == 83


def altered(installation: Installation, folder: Path) -> Settings:
    """A copy of the installation's tables and features that a test may change."""
    settings = installation.settings
    copy = Settings(_env_file=None, source=installation.source, warehouse=folder)  # type: ignore[call-arg]
    copy.home.mkdir(parents=True)
    shutil.copy(settings.database, copy.database)
    shutil.copytree(settings.features, copy.features)
    with connect(copy.database) as connection:
        files = copy.features / "????-??-??.parquet"
        connection.execute(f"CREATE OR REPLACE VIEW transaction_features AS SELECT * FROM read_parquet('{files}')")
    return copy
