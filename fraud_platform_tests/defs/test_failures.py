"""What goes wrong is said with file, key and fix, stops what is downstream, and leaves nothing half-written."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from fraud_platform.warehouse import connect, day_files
from fraud_platform_tests.defs.conftest import (
    FEATURES,
    INGESTION,
    RAW,
    SHOP,
    VALIDATED,
    MakePlatform,
    Platform,
    assert_same_tables,
    error_of,
    failed_checks,
    shop_rows,
    write_csv,
)
from fraud_platform_tests.defs.interrupted import kill_at, run_apart

pytestmark = pytest.mark.slow

FIRST, LAST = SHOP["first_day"], SHOP["last_day"]
DAYS = (LAST - FIRST).days + 1


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        event.step_materialization_data.materialization.asset_key.to_user_string()
        for event in result.get_asset_materialization_events()
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "payments.csv", shop_rows(FIRST, DAYS, 10))


class TestInputThatCannotBeUsed:
    """The asset fails, nothing is written, and nothing downstream runs."""

    def fails(self, platform: Platform, step: str, done: set[str] | None = None) -> str:
        result = platform.run(INGESTION, fails=True)
        assert not result.success
        assert materialized(result) == (done or set())
        return error_of(result, step)

    def test_a_damaged_file(self, platforms: MakePlatform, data: Path) -> None:
        data.write_bytes(b"\0" * 4096)
        platform = platforms({**SHOP, "path": str(data)})
        message = self.fails(platform, "raw_transactions")
        assert f"{data}: is not text" in message and "Export it as CSV in UTF-8" in message
        assert not platform.settings.raw_transactions.exists()

    def test_a_missing_file(self, platforms: MakePlatform, data: Path) -> None:
        platform = platforms({**SHOP, "path": str(data.with_name("paymnts.csv"))})
        message = self.fails(platform, "raw_transactions")
        assert "shop.yaml: path:" in message and f"Did you mean {data}?" in message

    def test_a_column_that_the_file_lacks(self, platforms: MakePlatform, data: Path) -> None:
        columns = {**SHOP["columns"], "customer_id": "whom"}
        platform = platforms({**SHOP, "path": str(data), "columns": columns})
        message = self.fails(platform, "raw_transactions")
        assert f"columns.customer_id: {data} has no column 'whom'. Did you mean 'who'?" in message
        assert not platform.settings.raw_transactions.exists()

    def test_a_time_format_that_no_row_has(self, platforms: MakePlatform, data: Path) -> None:
        time = {"column": "when", "format": "%d.%m.%Y %H:%M"}
        platform = platforms({**SHOP, "path": str(data), "event_time": time})
        message = self.fails(platform, "raw_transactions")
        assert f"{data}: not one of the rows" in message
        assert "'2026-03-01 00:00:00' is not a time in format" in message
        assert "Correct event_time.column, event_time.format" in message

    def test_a_wrong_unit(self, platforms: MakePlatform, data: Path) -> None:
        platform = platforms({**SHOP, "path": str(data), "amount": {"column": "amount", "unit": "minor"}})
        message = self.fails(platform, "validate_transactions", done=set(RAW))
        assert "shop.yaml: amount.unit: is minor" in message and "Set `unit: major`" in message
        with connect(platform.settings.database) as connection:
            assert connection.execute("SHOW TABLES").fetchall() == []

    def test_a_source_without_rows(self, platforms: MakePlatform, data: Path) -> None:
        write_csv(data, [])
        message = self.fails(platforms({**SHOP, "path": str(data)}), "raw_transactions")
        assert "shop.yaml: path:" in message and "has no rows. Give a file with data, or correct the path." in message

    def test_features_of_a_warehouse_without_tables(self, platforms: MakePlatform, data: Path) -> None:
        result = platforms({**SHOP, "path": str(data)}).run(FEATURES, fails=True)
        assert "Materialize `validated_transactions` first" in error_of(result, "transaction_features")

    def test_a_file_that_became_unreadable_leaves_what_was_landed(self, platforms: MakePlatform, data: Path) -> None:
        platform = platforms({**SHOP, "path": str(data)})
        platform.run(INGESTION)
        tables, raw = platform.tables(), contents(platform.settings.raw_transactions)
        data.write_bytes(b"\0" * 4096)
        self.fails(platform, "raw_transactions")
        assert_same_tables(platform.tables(), tables)
        assert contents(platform.settings.raw_transactions) == raw


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestBlockingChecks:
    """A check that fails stops what is downstream in its run, and says why with figures."""

    def test_a_fraud_rate_of_a_fifth(self, platforms: MakePlatform, tmp_path: Path) -> None:
        data = write_csv(tmp_path / "data.csv", shop_rows(FIRST, DAYS, 100, frauds_in_100=20))
        result = platforms({**SHOP, "path": str(data)}).run(INGESTION, fails=True)
        assert "transaction_features" not in materialized(result)
        assert "240 of 1,200 matured events (20.00%)" in failed_checks(result)["fraud_rate"]
        assert failed_checks(result).keys() == {"fraud_rate"}

    def test_three_rows_of_ten_that_break_the_contract(self, platforms: MakePlatform, tmp_path: Path) -> None:
        rows = shop_rows(FIRST, DAYS, 100)
        bad = [re.sub(",c[0-9]+,", ",,", row) if number % 10 < 3 else row for number, row in enumerate(rows)]
        result = platforms({**SHOP, "path": str(write_csv(tmp_path / "data.csv", bad))}).run(INGESTION, fails=True)
        assert "transaction_features" not in materialized(result)
        message = failed_checks(result)["quarantined_share"]
        assert message.startswith("30.00% of the rows of these days were quarantined, and 0.00%")
        assert "the limit is 5% (FRAUD_QUARANTINE_SHARE_LIMIT)" in message

    def test_three_rows_of_ten_without_a_readable_time(self, platforms: MakePlatform, tmp_path: Path) -> None:
        rows = shop_rows(FIRST, DAYS, 100)
        bad = [row.replace("2026-", "in ", 1) if number % 10 < 3 else row for number, row in enumerate(rows)]
        result = platforms({**SHOP, "path": str(write_csv(tmp_path / "data.csv", bad))}).run(INGESTION, fails=True)
        assert "transaction_features" not in materialized(result)
        assert "30.00% of the rows of their files have no readable time" in failed_checks(result)["quarantined_share"]

    def test_rows_outside_the_days_of_the_source_do_not_block(self, platforms: MakePlatform, tmp_path: Path) -> None:
        data = write_csv(tmp_path / "data.csv", shop_rows(FIRST - timedelta(days=DAYS), 2 * DAYS, 20))
        result = platforms({**SHOP, "path": str(data)}).run(INGESTION)
        assert failed_checks(result) == {}
        assert "transaction_features" in materialized(result)


@dataclass
class Changed:
    """A platform on which a first version of the data went all the way, and whose data have changed since."""

    platform: Platform
    before: dict[str, pl.DataFrame]
    raw_before: dict[str, bytes]
    after: Platform

    def check_and_finish(self) -> None:
        """What was there is whole and can be read; a new run gives what it would have given undisturbed."""
        self.platform.run(INGESTION)
        assert_same_tables(self.platform.tables(), self.after.tables())
        assert [path for path in self.platform.settings.home.rglob("*") if ".partial" in path.name] == []
        assert list(self.platform.settings.scratch.iterdir()) == []


def version(number: int, per_day: int) -> list[str]:
    """The same ids with other amounts."""
    rows = [row.split(",") for row in shop_rows(FIRST, DAYS, per_day)]
    return [",".join([*row[:4], f"{float(row[4]) + number:.2f}", row[5]]) for row in rows]


@pytest.fixture(scope="module")
def expected(shared_platforms: MakePlatform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The second version of the data, undisturbed."""
    data = write_csv(tmp_path_factory.mktemp("second") / "data.csv", version(2, 700))
    platform = shared_platforms({**SHOP, "path": str(data)})
    platform.run(INGESTION)
    return platform


def change(platform: Platform, after: Platform, upto: tuple[str, ...] = ()) -> Changed:
    """Run the first version, put the second in its place, and run that as far as the given assets."""
    data = Path(platform.source.path)
    write_csv(data, version(1, 700))
    platform.run(INGESTION)
    write_csv(data, version(2, 700))
    before, raw_before = platform.tables(), contents(platform.settings.raw_transactions)
    if upto:
        platform.run(upto)
    return Changed(platform, before, raw_before, after)


def raw_versions(changed: Changed) -> set[str]:
    """Which version each raw day file is of; the files are read whole."""
    platform, versions = changed.platform, set()
    for path in day_files(platform.settings.raw_transactions, FIRST, LAST):
        frame = pl.read_parquet(path)
        new = frame.equals(pl.read_parquet(changed.after.settings.raw_transactions / path.name))
        assert new or path.read_bytes() == changed.raw_before[path.name]
        versions.add("new" if new else "old")
    return versions


class TestKilled:
    """kill -9 in the middle leaves whole partitions and no lock, and the next run completes."""

    @pytest.fixture
    def platform(self, platforms: MakePlatform, tmp_path: Path) -> Platform:
        return platforms({**SHOP, "path": str(write_csv(tmp_path / "data.csv", []))})

    def test_while_a_raw_file_is_written(self, platform: Platform, expected: Platform) -> None:
        changed = change(platform, expected)
        kill_at(platform, ("raw_transactions",), "fraud_platform.warehouse:_write_partial", 3)
        assert raw_versions(changed) == {"old"}
        changed.check_and_finish()

    def test_between_two_raw_files(self, platform: Platform, expected: Platform) -> None:
        changed = change(platform, expected)
        kill_at(platform, ("raw_transactions",), "fraud_platform.warehouse:os.replace", 4)
        assert raw_versions(changed) == {"old", "new"}
        changed.check_and_finish()

    def test_while_the_tables_are_replaced(self, platform: Platform, expected: Platform) -> None:
        changed = change(platform, expected, upto=RAW)
        kill_at(platform, VALIDATED, "fraud_platform.transactions.validation:replace_days", 2)
        assert_same_tables(platform.tables(), changed.before)
        changed.check_and_finish()

    def test_while_a_feature_file_is_written(self, platform: Platform, expected: Platform) -> None:
        changed = change(platform, expected, upto=(*RAW, *VALIDATED))
        kill_at(platform, FEATURES, "fraud_platform.warehouse:_write_partial", 3)
        features = {name: frame for name, frame in changed.before.items() if name.endswith(".parquet")}
        assert_same_tables({name: platform.tables()[name] for name in features}, features)
        changed.check_and_finish()


@dataclass
class Disk:
    """A folder for a warehouse that can be filled up.

    A small tmpfs where this process may mount one; elsewhere the run may write no large file, which
    fails in the same calls.
    """

    folder: Path
    mounted: bool

    def run_when_full(self, platform: Platform, assets: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        if not self.mounted:
            return run_apart(platform, assets, file_size=32 * 1024)
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        done = run_apart(platform, assets)
        filler.unlink()
        return done


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount: list[Any] = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield Disk(folder, mounted)
    if mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("assets", "upto"),
    [
        pytest.param(("raw_transactions",), (), id="raw"),
        pytest.param(VALIDATED, RAW, id="validated"),
        pytest.param(FEATURES, (*RAW, *VALIDATED), id="features"),
    ],
)
def test_a_full_disk_fails_the_run_and_keeps_what_was_there(
    platforms: MakePlatform,
    expected: Platform,
    disk: Disk,
    tmp_path: Path,
    assets: tuple[str, ...],
    upto: tuple[str, ...],
) -> None:
    platform = platforms(
        {**SHOP, "path": str(write_csv(tmp_path / "data.csv", []))}, warehouse=disk.folder / "warehouse"
    )
    changed = change(platform, expected, upto)
    there = platform.tables()
    done = disk.run_when_full(platform, assets)
    assert done.returncode != 0
    assert "WarehouseError" in done.stderr and "Free space" in done.stderr
    assert "No space left" in done.stderr or not disk.mounted
    assert_same_tables(platform.tables(), there)
    changed.check_and_finish()
