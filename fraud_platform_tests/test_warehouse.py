"""The warehouse: whole days are replaced or nothing is, and what goes wrong is said."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from fraud_platform.errors import WarehouseError
from fraud_platform.warehouse import (
    connect,
    create_table,
    day_file,
    day_files,
    has_table,
    last_day,
    replace_days,
    rows_by_day,
    take_back_days,
    transaction,
    write_files,
    write_grown_days,
)

MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def one_row(day: date, amount: int) -> str:
    return f"SELECT DATE '{day}' AS day, {amount} AS amount"


def rows(connection: duckdb.DuckDBPyConnection, columns: str = "*") -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT {columns} FROM t ORDER BY day, amount").fetchall()


def create_and_fail(connection: duckdb.DuckDBPyConnection) -> None:
    replace_days(connection, "t", one_row(MONDAY, 1), MONDAY, MONDAY)
    raise RuntimeError("broken")


class TestReplaceDays:
    def test_creates_the_table_and_counts_the_rows(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert replace_days(connection, "t", one_row(MONDAY, 1), MONDAY, MONDAY) == 1
        assert rows(connection) == [(MONDAY, 1)]

    def test_replaces_exactly_the_days(self, connection: duckdb.DuckDBPyConnection) -> None:
        for day in (MONDAY, TUESDAY, WEDNESDAY):
            replace_days(connection, "t", one_row(day, 1), day, day)
        replace_days(connection, "t", one_row(TUESDAY, 2), TUESDAY, TUESDAY)
        assert rows(connection) == [(MONDAY, 1), (TUESDAY, 2), (WEDNESDAY, 1)]

    def test_a_day_without_new_rows_is_emptied(self, connection: duckdb.DuckDBPyConnection) -> None:
        replace_days(connection, "t", one_row(MONDAY, 1), MONDAY, TUESDAY)
        assert replace_days(connection, "t", f"{one_row(MONDAY, 1)} WHERE false", MONDAY, TUESDAY) == 0
        assert rows(connection) == []

    def test_twice_is_the_same_as_once(self, connection: duckdb.DuckDBPyConnection) -> None:
        for _ in range(2):
            replace_days(connection, "t", one_row(MONDAY, 1), MONDAY, MONDAY)
        assert rows(connection) == [(MONDAY, 1)]

    def test_adds_a_column_that_earlier_days_lack(self, connection: duckdb.DuckDBPyConnection) -> None:
        replace_days(connection, "t", one_row(MONDAY, 1), MONDAY, MONDAY)
        replace_days(connection, "t", f"{one_row(TUESDAY, 2)}, 'x' AS \"two words\"", TUESDAY, TUESDAY)
        assert rows(connection) == [(MONDAY, 1, None), (TUESDAY, 2, "x")]

    def test_a_column_that_is_gone_is_null_from_then_on(self, connection: duckdb.DuckDBPyConnection) -> None:
        replace_days(connection, "t", f"{one_row(MONDAY, 1)}, 'x' AS word", MONDAY, MONDAY)
        replace_days(connection, "t", one_row(TUESDAY, 2), TUESDAY, TUESDAY)
        assert rows(connection, "day, word") == [(MONDAY, "x"), (TUESDAY, None)]

    def test_columns_go_by_name_and_not_by_position(self, connection: duckdb.DuckDBPyConnection) -> None:
        replace_days(connection, "t", one_row(MONDAY, 1), MONDAY, MONDAY)
        replace_days(connection, "t", f"SELECT 2 AS amount, DATE '{TUESDAY}' AS day", TUESDAY, TUESDAY)
        assert rows(connection) == [(MONDAY, 1), (TUESDAY, 2)]

    def test_an_error_rolls_back_the_deletion(self, connection: duckdb.DuckDBPyConnection) -> None:
        replace_days(connection, "t", one_row(MONDAY, 1), MONDAY, MONDAY)
        failing = f"SELECT DATE '{MONDAY}' AS day, CAST(error('broken') AS INTEGER) AS amount"
        with pytest.raises(duckdb.Error, match="broken"), transaction(connection):
            replace_days(connection, "t", failing, MONDAY, MONDAY)
        assert rows(connection) == [(MONDAY, 1)]

    def test_an_error_rolls_back_the_new_table(self, connection: duckdb.DuckDBPyConnection) -> None:
        with pytest.raises(RuntimeError), transaction(connection):
            create_and_fail(connection)
        with pytest.raises(duckdb.CatalogException):
            rows(connection)

    def test_many_rows_are_found_by_a_filter_in_the_transaction_that_made_the_table(
        self, connection: duckdb.DuckDBPyConnection
    ) -> None:
        # From a table, not from range(): only a parallel insert made the rows invisible.
        days = f"DATE '{MONDAY}' + (i // 150000)::INTEGER AS day"
        connection.execute(f"CREATE TABLE many AS SELECT {days}, i AS amount FROM range(300000) r(i)")
        with transaction(connection):
            replace_days(connection, "t", "SELECT * FROM many", MONDAY, TUESDAY)
            found = connection.execute("SELECT count(*) FROM t WHERE day = ?", [TUESDAY]).fetchall()
        assert found == [(150_000,)]


class TestTransaction:
    def test_the_first_error_is_told_when_the_rollback_fails_too(self, connection: duckdb.DuckDBPyConnection) -> None:
        with pytest.raises(duckdb.Error, match="first"), transaction(connection):
            connection.execute("COMMIT; SELECT error('first')").fetchall()


class TestLastDay:
    def test_is_the_latest_day_that_has_rows(self, connection: duckdb.DuckDBPyConnection) -> None:
        replace_days(connection, "t", f"{one_row(TUESDAY, 1)} UNION ALL {one_row(MONDAY, 1)}", MONDAY, TUESDAY)
        assert last_day(connection, "t") == TUESDAY

    def test_a_missing_table_says_what_to_materialize(self, connection: duckdb.DuckDBPyConnection) -> None:
        with pytest.raises(WarehouseError, match=r"no table validated_transactions yet\. Materialize `validated_trans"):
            last_day(connection, "validated_transactions")

    def test_an_empty_table_says_what_to_materialize(self, connection: duckdb.DuckDBPyConnection) -> None:
        replace_days(connection, "t", f"{one_row(MONDAY, 1)} WHERE false", MONDAY, MONDAY)
        with pytest.raises(WarehouseError, match=r"t has no rows\. Materialize `t`"):
            last_day(connection, "t")


class TestConnect:
    def test_makes_the_folder_and_speaks_utc(self, tmp_path: Path) -> None:
        with connect(tmp_path / "a" / "b" / "fraud.duckdb") as connection:
            assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]

    def test_closes_the_file_after_an_error(self, tmp_path: Path) -> None:
        database = tmp_path / "fraud.duckdb"
        with pytest.raises(RuntimeError), connect(database):
            raise RuntimeError
        with connect(database, read_only=True) as connection:  # refused while the other is open
            assert connection.execute("SELECT 1").fetchall() == [(1,)]

    def test_a_missing_file_cannot_be_read_and_is_not_made(self, tmp_path: Path) -> None:
        database = tmp_path / "none" / "fraud.duckdb"
        with (
            pytest.raises(WarehouseError, match=r"fraud\.duckdb yet\. Materialize `validated_transactions`"),
            connect(database, read_only=True),
        ):
            pass
        assert not database.parent.exists()

    @pytest.mark.parametrize("read_only", [True, False])
    def test_names_the_process_that_holds_the_file(self, tmp_path: Path, read_only: bool) -> None:
        database = tmp_path / "fraud.duckdb"
        hold = (
            "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE t (i INTEGER)'); "
            "print('held', flush=True); sys.stdin.read()"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", hold, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with holder:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            with (
                pytest.raises(WarehouseError, match=rf"PID {holder.pid}.*Close the other process"),
                connect(database, read_only),
            ):
                pass
            holder.communicate("")

    def test_a_second_connection_of_this_process_is_explained(self, tmp_path: Path) -> None:
        database = tmp_path / "fraud.duckdb"
        with (
            connect(database),
            pytest.raises(WarehouseError, match="This process has it open already"),
            connect(database, read_only=True),
        ):
            pass

    def test_a_file_of_something_else_is_left_alone(self, tmp_path: Path) -> None:
        database = tmp_path / "fraud.duckdb"
        database.write_bytes(b"not a database" * 1000)
        with pytest.raises(WarehouseError, match="Something else wrote it: move it away"), connect(database):
            pass
        assert database.read_bytes() == b"not a database" * 1000

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with (
            pytest.raises(WarehouseError, match=r"file/fraud\.duckdb.*Check FRAUD_WAREHOUSE"),
            connect(tmp_path / "file" / "fraud.duckdb"),
        ):
            pass


def writer(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def broken(path: Path) -> None:
    path.write_text("half of it")
    raise RuntimeError("broken")


class TestWriteFiles:
    def test_writes_all_and_makes_their_folders(self, tmp_path: Path) -> None:
        first, second = tmp_path / "x" / "1", tmp_path / "y" / "2"
        write_files([(first, writer("one")), (second, writer("two"))])
        assert (first.read_text(), second.read_text()) == ("one", "two")

    def test_a_writer_that_fails_half_way_leaves_every_old_file(self, tmp_path: Path) -> None:
        paths = [tmp_path / name for name in "abc"]
        write_files([(path, writer("old")) for path in paths])
        with pytest.raises(RuntimeError, match="broken"):
            write_files([(paths[0], writer("new")), (paths[1], broken), (paths[2], writer("new"))])
        assert [path.read_text() for path in paths] == ["old"] * 3

    def test_a_writer_that_fails_leaves_nothing_beside_the_files(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError):
            write_files([(tmp_path / "a", writer("new")), (tmp_path / "b", broken)])
        assert list(tmp_path.iterdir()) == []

    def test_an_error_between_two_writers_leaves_every_old_file(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("old")

        def writers() -> Iterator[tuple[Path, Callable[[Path], None]]]:
            yield tmp_path / "a", writer("new")
            raise RuntimeError("the second chunk cannot be computed")

        with pytest.raises(RuntimeError):
            write_files(writers())
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]

    def test_what_a_killed_process_left_is_overwritten_and_not_read(self, tmp_path: Path) -> None:
        left = tmp_path / f"{day_file(tmp_path, MONDAY).name}.partial"
        left.write_text("half of it")
        assert day_files(tmp_path, MONDAY, MONDAY) == []
        write_files([(day_file(tmp_path, MONDAY), writer("whole"))])
        assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]

    def test_a_full_disk_is_told_with_the_file_and_the_fix(self, tmp_path: Path) -> None:
        def full(path: Path) -> None:
            raise OSError(28, "No space left on device", str(path))

        with pytest.raises(WarehouseError, match=r"2026-03-02\.parquet.*No space left.*Free space"):
            write_files([(day_file(tmp_path, MONDAY), full)])


def test_day_files_are_those_of_the_range_in_order(tmp_path: Path) -> None:
    for name in ("2026-03-04.parquet", "2026-03-02.parquet", "2026-03-03.parquet", "undated.parquet", "files.json"):
        (tmp_path / name).write_text("")
    assert [path.stem for path in day_files(tmp_path, MONDAY, TUESDAY)] == ["2026-03-02", "2026-03-03"]


class TestDayFilesOfATable:
    """A table that only grows, and its day files, hold the same rows; either gives them back to the other."""

    COLUMNS: ClassVar = {"day": "DATE", "amount": "BIGINT"}

    @pytest.fixture(autouse=True)
    def table(self, connection: duckdb.DuckDBPyConnection) -> None:
        create_table(connection, "t", self.COLUMNS)

    def add(self, connection: duckdb.DuckDBPyConnection, *amounts: int, day: date = MONDAY) -> None:
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(day, amount) for amount in amounts])

    def test_a_day_that_grew_is_written_and_others_are_not(
        self, connection: duckdb.DuckDBPyConnection, tmp_path: Path
    ) -> None:
        self.add(connection, 2, 1)
        self.add(connection, 3, day=TUESDAY)
        assert write_grown_days(connection, "t", tmp_path, ["amount"]) == {MONDAY: 2, TUESDAY: 1}
        self.add(connection, 4, day=TUESDAY)
        assert write_grown_days(connection, "t", tmp_path, ["amount"]) == {TUESDAY: 2}
        assert write_grown_days(connection, "t", tmp_path, ["amount"]) == {}
        assert rows_by_day(day_files(tmp_path, MONDAY, TUESDAY)) == {MONDAY: 2, TUESDAY: 2}
        monday = connection.execute(f"SELECT amount FROM read_parquet('{day_file(tmp_path, MONDAY)}')").fetchall()
        assert monday == [(1,), (2,)]

    def test_a_table_that_lost_rows_takes_them_back_once(
        self, connection: duckdb.DuckDBPyConnection, tmp_path: Path
    ) -> None:
        self.add(connection, 1, 2)
        write_grown_days(connection, "t", tmp_path, ["amount"])
        connection.execute("DELETE FROM t WHERE amount = 1")
        assert take_back_days(connection, "t", tmp_path, ["amount"]) == 1
        assert take_back_days(connection, "t", tmp_path, ["amount"]) == 0
        assert rows(connection) == [(MONDAY, 1), (MONDAY, 2)]

    def test_with_the_columns_that_only_the_files_have(
        self, connection: duckdb.DuckDBPyConnection, tmp_path: Path
    ) -> None:
        create_table(connection, "t", {**self.COLUMNS, "note": "VARCHAR"})
        connection.execute("INSERT INTO t VALUES (?, 1, 'kept')", [MONDAY])
        write_grown_days(connection, "t", tmp_path, ["amount"])
        connection.execute("DROP TABLE t")
        create_table(connection, "t", self.COLUMNS)
        take_back_days(connection, "t", tmp_path, ["amount"])
        assert rows(connection) == [(MONDAY, 1, "kept")]

    def test_rows_that_are_not_written_yet_stay(self, connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
        self.add(connection, 1)
        write_grown_days(connection, "t", tmp_path, ["amount"])
        self.add(connection, 2)
        assert take_back_days(connection, "t", tmp_path, ["amount"]) == 0
        assert rows(connection, "amount") == [(1,), (2,)]

    def test_a_table_is_created_once_and_gains_columns(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.add(connection, 1)
        create_table(connection, "t", {**self.COLUMNS, 'odd "name"': "DOUBLE"})
        assert rows(connection) == [(MONDAY, 1, None)]

    def test_whether_there_is_a_table(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert (has_table(connection, "t"), has_table(connection, "u")) == (True, False)
