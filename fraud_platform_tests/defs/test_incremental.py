"""Days arrive one by one, late, and twice: the tables are those of one run over all of them."""

import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from fraud_platform.features import table as feature_table
from fraud_platform.features.selection import catalog_of
from fraud_platform.features.table import read_features
from fraud_platform.warehouse import connect, day_files
from fraud_platform_tests.defs.conftest import (
    INGESTION,
    RAW,
    SHOP,
    VALIDATED,
    MakePlatform,
    Platform,
    assert_same_tables,
    shop_rows,
    write_csv,
    write_days,
)

pytestmark = pytest.mark.slow

FIRST, DAYS = date(2026, 3, 1), 7
LAST = FIRST + timedelta(days=DAYS - 1)
QUIET_DAY = FIRST + timedelta(days=4)
REPORTED = {
    **SHOP["labels"],
    "reported_at": {"column": "reported"},
    "fraud_type": {"column": "kind"},
}
MAPPING: dict[str, Any] = {
    **SHOP,
    "last_day": LAST,
    "labels": REPORTED,
    "attributes": {"basket": {"column": "basket", "type": "number"}},
}
HEADER = "id,when,who,shop,amount,fraud,kind,reported,basket"


def moved(row: str, day: date) -> str:
    """The row again, at noon of another day."""
    return row.replace(row.split(",")[1], f"{day} 12:00:00")


def awkward_rows() -> list[str]:
    """Rows with repeated ids on the same and on other days, bad values, ties, and reports early and late."""
    rows = []
    for number, row in enumerate(shop_rows(FIRST, DAYS, 100, frauds_in_100=3)):
        if FIRST + timedelta(days=number // 100) == QUIET_DAY:
            continue
        fraud = row.endswith(",1")
        reported = str(FIRST + timedelta(days=number // 100 + (1 if number % 2 else 3))) if fraud else ""
        rows.append(f"{row},{'stolen' if fraud else ''},{reported},{number % 9}")
    by_id = {row.split(",")[0]: row for row in rows}
    rows.append(moved(by_id["t150"], FIRST + timedelta(days=5)))  # an id of an earlier day
    rows.append(moved(by_id["t620"], FIRST + timedelta(days=2)))  # an id of a later day
    rows.append(rows[30])
    rows.append(f"t-bad,{FIRST} 10:00:00,,m1,1.00,0,,,1")
    rows.append("t-undated,yesterday,c1,m1,1.00,0,,,1")
    rows.append(rows[40].replace("t40,", "t40-tie,"))
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "all.csv", awkward_rows(), HEADER)


@pytest.fixture
def shop(platforms: MakePlatform, data: Path) -> Platform:
    return platforms({**MAPPING, "path": str(data)})


@pytest.fixture(scope="module")
def ranged(shared_platforms: MakePlatform, data: Path) -> Platform:
    """All days in one run. Tests may run what leaves the same tables."""
    platform = shared_platforms({**MAPPING, "path": str(data)})
    platform.run(INGESTION)
    return platform


def days() -> list[date]:
    return [FIRST + timedelta(days=number) for number in range(DAYS)]


def file_bytes(platform: Platform) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in day_files(platform.settings.features, FIRST, LAST)}


def test_day_by_day_gives_the_tables_of_one_run(shop: Platform, ranged: Platform) -> None:
    for day in days():
        shop.run(INGESTION, day)
    assert_same_tables(shop.tables(), ranged.tables())


def test_the_awkward_rows_are_where_they_belong(ranged: Platform) -> None:
    quarantined = ranged.query("SELECT transaction_id, reasons[1] AS reason FROM quarantined_transactions ORDER BY ALL")
    assert quarantined.rows() == [
        ("t-bad", "customer_id: missing"),
        ("t-undated", "event_time: 'yesterday' is not an ISO time"),
        ("t150", "transaction_id: t150 is a duplicate; the first is of 2026-03-02 12:00:00"),
        ("t30", "transaction_id: t30 is a duplicate; the first is of 2026-03-01 07:12:00"),
        ("t620", "transaction_id: t620 is a duplicate; the first is of 2026-03-03 12:00:00"),
    ]


def test_days_out_of_order_resolve_duplicates_the_same(shop: Platform, ranged: Platform) -> None:
    *early, late = days()
    for day in (late, *early[::2], *reversed(early[1::2])):
        shop.run((*RAW, *VALIDATED), day)
    shop.run(("transaction_features",), FIRST, LAST)
    assert_same_tables(shop.tables(), ranged.tables())


def test_twice_leaves_the_same_tables_and_files(ranged: Platform) -> None:
    tables, files = ranged.tables(), file_bytes(ranged)
    for day in (days()[3], days()[4]):
        ranged.run(INGESTION, day)
    assert_same_tables(ranged.tables(), tables)
    assert file_bytes(ranged) == files


def test_a_range_is_one_run_that_shows_each_days_rows(ranged: Platform) -> None:
    first_run = ranged.instance.get_runs()[-1].run_id
    for asset in ("raw_transactions", "validated_transactions", "transaction_features"):
        events = ranged.instance.fetch_materializations(dg.AssetKey(asset), 100).records
        shown = {
            record.partition_key: record.asset_materialization.metadata["dagster/partition_row_count"].value
            for record in events
            if record.asset_materialization and record.run_id == first_run
        }
        assert sorted(shown) == [str(day) for day in days()]
        if asset == "transaction_features":
            counted = ranged.query("SELECT day, count(*) FROM validated_transactions GROUP BY day")
            assert shown == {str(day): 0 for day in days()} | {str(day): rows for day, rows in counted.rows()}


def test_a_day_without_payments_has_no_features_and_fails_nothing(ranged: Platform) -> None:
    ranged.run(INGESTION, QUIET_DAY)
    assert not day_files(ranged.settings.features, QUIET_DAY, QUIET_DAY)
    assert read_features(ranged.settings.features, QUIET_DAY, QUIET_DAY).height == 0


def test_a_day_that_lost_its_payments_loses_its_features(platforms: MakePlatform, tmp_path: Path) -> None:
    folder = write_days(tmp_path / "days", shop_rows(FIRST, 3, 50))
    platform = platforms({**SHOP, "path": str(folder)})
    platform.run(INGESTION, FIRST, FIRST + timedelta(days=2))
    (folder / f"{FIRST + timedelta(days=1)}.csv").unlink()
    platform.run(INGESTION, FIRST + timedelta(days=1))
    assert [path.stem for path in day_files(platform.settings.features, FIRST, LAST)] == [
        str(FIRST),
        str(FIRST + timedelta(days=2)),
    ]


def test_features_of_one_more_day_do_not_read_the_days_before_its_look_back(
    platforms: MakePlatform, tmp_path: Path
) -> None:
    """What a feature may see reaches 30 days and two steps back, and the label delay for fraud rates."""
    start = date(2026, 1, 1)
    data = write_csv(tmp_path / "data.csv", shop_rows(start, 60, 40))
    platform = platforms({**SHOP, "path": str(data), "first_day": start, "last_day": None})
    platform.run(INGESTION, start, start + timedelta(days=59))
    day = start + timedelta(days=59)
    before = read_features(platform.settings.features, day, day)
    reach = day - timedelta(days=-(-catalog_of(platform.source).look_back_us // 86_400_000_000))
    with connect(platform.settings.database) as connection:
        connection.execute("UPDATE validated_transactions SET amount_cents = -1 WHERE day < ?", [reach])
        connection.execute("DELETE FROM validated_labels WHERE day < ?", [reach])
    platform.run(("transaction_features",), day)
    assert reach > start
    assert read_features(platform.settings.features, day, day).equals(before)


def poison(parquet: Path) -> None:
    """No row of the file can be read any more; what it says of itself still can."""
    content = parquet.read_bytes()
    rows = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    parquet.write_bytes(content[:4] + b"\0" * (rows - 4) + content[rows:])
    with pytest.raises(pl.exceptions.ComputeError):
        pl.read_parquet(parquet)


def test_one_more_day_leaves_the_files_of_older_days_unread(platforms: MakePlatform, tmp_path: Path) -> None:
    folder = write_days(tmp_path / "days", shop_rows(FIRST, 5, 50))
    platform = platforms({**SHOP, "path": str(folder)})
    platform.run(INGESTION, FIRST, FIRST + timedelta(days=3))
    files = sorted(folder.iterdir())
    for path in files[:4]:  # the same size and time, and no CSV any more
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for path in day_files(platform.settings.raw_transactions, FIRST, FIRST + timedelta(days=3)):
        poison(path)
    result = platform.run((*RAW, *VALIDATED), FIRST + timedelta(days=4))
    assert result.success
    assert platform.query("SELECT count(*) FROM validated_transactions").item() == 250


def test_one_more_day_computes_that_day_only(ranged: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[date, date]] = []
    read_events = feature_table.read_events

    def spy(connection: Any, catalog: Any, first: date, last: date) -> pl.DataFrame:
        asked.append((first, last))
        return read_events(connection, catalog, first, last)

    monkeypatch.setattr(feature_table, "read_events", spy)
    ranged.run(("transaction_features",), LAST)
    assert asked == [(LAST, LAST)]
