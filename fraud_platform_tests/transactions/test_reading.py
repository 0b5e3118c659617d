"""Landing: each row in the file of its UTC day, nothing lost, nothing half written."""

import gzip
from datetime import date
from pathlib import Path

import duckdb
import pytest

from fraud_platform.errors import SourceError, UnreadableData, WarehouseError
from fraud_platform.transactions import reading
from fraud_platform_tests.transactions.conftest import Workshop

ROOT = Path(__file__).parents[2]
HANDBOOK = ROOT / "../shared/data/handbook/transactions.parquet"

THREE_DAYS = ("1,2026-03-01 10:00:00,a,1.00", "2,2026-03-02 10:00:00,a,2.00", "3,2026-03-03 10:00:00,b,3.00")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_are_filed_under_their_utc_day(workshop: Workshop) -> None:
    workshop.csv("1,2026-03-01 00:30:00,a,1.00", "2,2026-03-02 00:30:00,a,2.00")
    landed = workshop.land(
        workshop.source(event_time={"column": "when", "zone": "Europe/Berlin"}, first_day=date(2026, 2, 1)),
        date(2026, 2, 1),
    )
    assert landed.rows == {date(2026, 2, 28): 1, date(2026, 3, 1): 1}


def test_raw_files_hold_text_as_it_was_read(workshop: Workshop) -> None:
    workshop.csv("007, 2026-03-01 10:00:00,a,1.50")
    workshop.land(workshop.source())
    row = workshop.rows(f"SELECT * FROM read_parquet('{workshop.raw}/2026-03-01.parquet')")[0]
    assert row[:6] == ("007", " 2026-03-01 10:00:00", "a", "1.50", "data.csv", 1)


def test_parquet_keeps_its_types_and_row_numbers(workshop: Workshop) -> None:
    workshop.parquet(
        "SELECT i AS id, TIMESTAMP '2026-03-01' + INTERVAL (i) HOUR AS when, 7 AS who, 1.5::DOUBLE "
        "AS amount FROM range(48) t(i)"
    )
    workshop.land(workshop.source(format="parquet", path="data.parquet"))
    assert workshop.rows(
        f"SELECT id, _row, typeof(id), typeof(amount) FROM read_parquet('{workshop.raw}/2026-03-02.parquet') LIMIT 1"
    ) == [(24, 25, "BIGINT", "DOUBLE")]


def test_only_the_days_asked_for_are_replaced(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS)
    source = workshop.source()
    workshop.land(source)
    workshop.csv("9,2026-03-02 11:00:00,a,9.00", "8,2026-03-03 11:00:00,a,9.00")
    workshop.land(source, date(2026, 3, 2), date(2026, 3, 2))
    assert [workshop.raw_rows(f"2026-03-0{day}")[0][0] for day in (1, 2, 3)] == ["1", "9", "3"]


def test_day_that_lost_its_rows_loses_its_file(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS)
    source = workshop.source()
    workshop.land(source)
    workshop.csv(THREE_DAYS[0])
    workshop.land(source)
    assert names(workshop.raw) == ["2026-03-01.parquet", "files.json", "undated.parquet"]


def test_landing_twice_gives_the_same_bytes(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS)
    source = workshop.source()
    workshop.land(source)
    before = {path.name: path.read_bytes() for path in workshop.raw.iterdir()}
    workshop.land(source)
    assert {path.name: path.read_bytes() for path in workshop.raw.iterdir()} == before


def test_failed_write_leaves_the_old_files(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.csv(*THREE_DAYS)
    source = workshop.source()
    workshop.land(source)
    before = {path.name: path.read_bytes() for path in workshop.raw.iterdir()}
    workshop.csv("9,2026-03-01 11:00:00,a,9.00", "8,2026-03-03 11:00:00,a,9.00")
    copy = reading._copy

    def failing(connection: duckdb.DuckDBPyConnection, select: str, target: Path) -> None:
        if "2026-03-03" in target.name:
            raise OSError("no space left on device")
        copy(connection, select, target)

    monkeypatch.setattr(reading, "_copy", failing)
    with pytest.raises(WarehouseError, match="no space left"):
        workshop.land(source)
    assert {path.name: path.read_bytes() for path in workshop.raw.iterdir()} == before


def test_rows_without_a_day_are_kept_whatever_day_is_asked_for(workshop: Workshop) -> None:
    workshop.csv(
        *THREE_DAYS,
        "4,soon,a,1.00",
        "5,,a,1.00",
        "6,2026-02-28 23:59:59,a,1.00",
        "7,2026-04-01 00:00:00,a,1.00",
        "8,1970-01-01,a,1.00",
    )
    landed = workshop.land(workshop.source(), date(2026, 3, 2), date(2026, 3, 2))
    assert landed.rows == {date(2026, 3, 2): 1}
    assert [(row, reasons[0]) for _, row, reasons, _ in workshop.undated()] == [
        (4, "event_time: 'soon' is not an ISO time"),
        (5, "event_time: missing"),
        (6, "event_time: 2026-02-28 23:59:59 UTC is before first_day 2026-03-01"),
        (7, "event_time: 2026-04-01 00:00:00 UTC is after last_day 2026-03-31"),
        (8, "event_time: 1970-01-01 00:00:00 UTC is before first_day 2026-03-01"),
    ]


def test_open_ended_source_refuses_the_far_future(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS, "4,9999-12-31 00:00:00,a,1.00")
    workshop.land(workshop.source(last_day=None))
    assert [row for _, row, _, _ in workshop.undated()] == [4]


def test_folder_and_glob_name_files_relative_to_their_start(workshop: Workshop) -> None:
    workshop.csv(THREE_DAYS[0], name="in/2026/a.csv")
    workshop.csv(THREE_DAYS[1], name="in/2026/b.csv")
    assert workshop.land(workshop.source(path="in")).files == ("2026/a.csv", "2026/b.csv")
    assert workshop.land(workshop.source(path="in/*/b.csv")).files == ("2026/b.csv",)


def test_known_files_without_wanted_days_are_not_read_again(workshop: Workshop) -> None:
    for number, line in enumerate(THREE_DAYS):
        workshop.csv(line, f"x{number},never,a,1.00", name=f"in/{number}.csv")
    source = workshop.source(path="in")
    assert workshop.land(source, date(2026, 3, 1), date(2026, 3, 1)).files == ("0.csv", "1.csv", "2.csv")
    again = workshop.land(source, date(2026, 3, 2), date(2026, 3, 2))
    assert again.files == ("1.csv",)
    assert [file for file, *_ in workshop.undated()] == ["0.csv", "1.csv", "2.csv"]


def test_changed_file_is_read_again(workshop: Workshop) -> None:
    for number, line in enumerate(THREE_DAYS):
        workshop.csv(line, name=f"in/{number}.csv")
    source = workshop.source(path="in")
    workshop.land(source)
    workshop.csv(THREE_DAYS[0], "7,2026-03-03 11:00:00,a,1.00", name="in/0.csv")
    assert workshop.land(source, date(2026, 3, 3), date(2026, 3, 3)).rows == {date(2026, 3, 3): 2}


def test_changed_source_forgets_what_it_knew(workshop: Workshop) -> None:
    for number, line in enumerate(THREE_DAYS):
        workshop.csv(line, name=f"in/{number}.csv")
    workshop.land(workshop.source(path="in"))
    shifted = workshop.source(
        path="in", event_time={"column": "when", "zone": "Pacific/Auckland"}, first_day=date(2026, 2, 1)
    )
    assert workshop.land(shifted, date(2026, 2, 28), date(2026, 2, 28)).rows == {date(2026, 2, 28): 1}


def test_second_run_on_parquet_keeps_the_undated_rows(workshop: Workshop) -> None:
    workshop.parquet(
        "SELECT i AS id, CASE WHEN i <> 1 THEN TIMESTAMP '2026-03-01' + INTERVAL (i) DAY END AS "
        "when, 7 AS who, 1.5 AS amount FROM range(3) t(i)"
    )
    source = workshop.source(format="parquet", path="data.parquet")
    assert workshop.land(source).undated == 1
    assert workshop.land(source, date(2026, 3, 3), date(2026, 3, 3)).undated == 1


def test_files_with_other_column_types_share_a_day(workshop: Workshop) -> None:
    workshop.parquet("SELECT 1 AS id, TIMESTAMP '2026-03-01' AS when, 7 AS who, 1.5 AS amount", "in/a.parquet")
    workshop.parquet(
        "SELECT 'x' AS id, TIMESTAMP '2026-03-01' AS when, 'y' AS who, 2.5 AS amount, 3 AS extra", "in/b.parquet"
    )
    workshop.land(workshop.source(format="parquet", path="in"))
    assert [row[0] for row in workshop.raw_rows("2026-03-01")] == ["1", "x"]


def test_simulated_days_land_like_files(workshop: Workshop) -> None:
    config = {"customers": 60, "merchants": 60, "transactions_per_day": 100}
    source = workshop.source(
        format="simulator",
        simulator=config,
        event_time={"column": "event_time"},
        amount={"column": "amount_cents", "unit": "minor"},
        columns={"transaction_id": "transaction_id", "customer_id": "customer_id"},
    )
    landed = workshop.land(source, date(2026, 3, 1), date(2026, 3, 2))
    assert set(landed.rows) == {date(2026, 3, 1), date(2026, 3, 2)}
    assert sum(workshop.validate(source).accepted.values()) == landed.total


def test_missing_columns_are_listed_with_the_nearest_name(workshop: Workshop) -> None:
    workshop.csv("1,2026-03-01,a,1.00", header="id,When,who,amuont")
    with pytest.raises(SourceError) as caught:
        workshop.land(workshop.source())
    assert "event_time.column: " in str(caught.value)
    assert "has no column 'when'. Did you mean 'When'?" in str(caught.value)
    assert "has no column 'amount'. Did you mean 'amuont'?" in str(caught.value)
    assert "id, When, who, amuont" in str(caught.value)


def test_wrong_delimiter_is_named(workshop: Workshop) -> None:
    workshop.csv("1;2026-03-01;a;1.00", header="id;when;who;amount")
    with pytest.raises(SourceError, match=r"single column: is `csv\.delimiter` ',' right"):
        workshop.land(workshop.source())


def test_integer_time_without_a_unit_is_refused(workshop: Workshop) -> None:
    workshop.parquet("SELECT 1 AS id, 1772323200 AS when, 'a' AS who, 1.5 AS amount")
    with pytest.raises(SourceError, match=r"holds INTEGER, not a time\. Say format: epoch_s"):
        workshop.land(workshop.source(format="parquet", path="data.parquet"))


@pytest.mark.parametrize(
    ("content", "format_", "expected"),
    [
        (b"", "csv", "has no rows"),
        (b"id,when,who,amount\n", "csv", "has no rows"),
        (b"PAR1xxxx", "csv", "is a Parquet file"),
        (b"i\0d\0,\0", "csv", "is not text"),
        (b"PK\x03\x04xx", "csv", "compressed file or spreadsheet"),
        (b"id,when,who,amount\r1,2026-03-01,a,1\r", "csv", "has no line ends"),
        (b"id,when\n", "parquet", "is not a Parquet file"),
        (b"", "parquet", "is not a Parquet file"),
    ],
)
def test_unreadable_files_are_named(workshop: Workshop, content: bytes, format_: str, expected: str) -> None:
    workshop.data.write_bytes(content)
    with pytest.raises(UnreadableData, match=expected):
        workshop.land(workshop.source(format=format_))


def test_truncated_gzip_is_named(workshop: Workshop) -> None:
    (workshop.folder / "data.csv.gz").write_bytes(gzip.compress(b"id,when,who,amount\n1,2026-03-01,a,1\n" * 50)[:40])
    with pytest.raises(UnreadableData, match=r"data\.csv\.gz: cannot be read"):
        workshop.land(workshop.source(path="data.csv.gz"))


def test_missing_path_suggests_a_near_name(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS)
    with pytest.raises(UnreadableData, match=r"path: .*dta\.csv.* does not exist .*Did you mean .*data\.csv"):
        workshop.land(workshop.source(path="dta.csv"))


def test_glob_that_matches_nothing_is_said(workshop: Workshop) -> None:
    with pytest.raises(UnreadableData, match="matches no file"):
        workshop.land(workshop.source(path="*.csv"))


def test_file_that_may_not_be_opened_is_said(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.csv(*THREE_DAYS)
    source = workshop.source()
    opened = Path.open

    def forbidden(self: Path, *args: object, **options: object) -> object:
        if self.name == "data.csv":
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(UnreadableData, match=r"cannot be opened: Permission denied\. Check"):
        workshop.land(source)


def test_bad_strptime_format_is_named(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS)
    with pytest.raises(UnreadableData, match=r"event_time\.format"):
        workshop.land(workshop.source(event_time={"column": "when", "format": "%Q"}))


def test_row_numbers_serve_as_ids_for_one_file_only(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS, name="in/a.csv")
    source = workshop.source(path="in", columns={"transaction_id": "_row", "customer_id": "who"})
    workshop.run(source)
    assert workshop.accepted() == ["1", "2", "3"]
    workshop.csv(*THREE_DAYS, name="in/b.csv")
    with pytest.raises(SourceError, match="unique within one file only"):
        workshop.land(source)


def test_scratch_is_left_empty(workshop: Workshop) -> None:
    workshop.csv(*THREE_DAYS)
    workshop.land(workshop.source())
    assert names(workshop.folder / "scratch") == []


@pytest.mark.handbook
@pytest.mark.slow
def test_handbook_lands_whole(workshop: Workshop) -> None:
    from fraud_platform.transactions.sources import load_source

    source = load_source(ROOT / "sources/handbook.yaml", str(HANDBOOK))
    landed = workshop.land(source, source.first_day, source.last_day or source.first_day)
    assert (landed.total, len(landed.rows), landed.undated) == (1_754_155, 183, 0)
    assert landed.seconds < 20
