"""The feature table: days are replaced together, chunks change nothing, and what is missing is said."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError, WarehouseError
from fraud_platform.features import table
from fraud_platform.features.batch import compute_aggregates
from fraud_platform.features.events import IDENTITY
from fraud_platform.features.selection import Catalog, build_catalog
from fraud_platform.features.table import features_of, materialize_features, read_features
from fraud_platform.warehouse import day_files

FIRST, DAYS = date(2026, 3, 1), 6
LAST = FIRST + timedelta(days=DAYS - 1)
QUIET_DAY = FIRST + timedelta(days=3)
PRESENT = ("transaction_id", "event_time", "customer_id", "amount_cents", "merchant_id")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return build_catalog(PRESENT, (), 86_400_000_000)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """40 events a day, none on the quiet day; every seventh is a fraud that was reported half a day later."""
    with duckdb.connect() as opened:
        opened.execute(
            f"""CREATE TABLE validated_transactions AS
            SELECT CAST(event_time AS DATE) AS day, epoch_us(event_time) AS event_us, * FROM (
                SELECT 't' || i AS transaction_id, TIMESTAMP '{FIRST}' + i * INTERVAL 36 MINUTE AS event_time,
                    'c' || i % 5 AS customer_id, 100 + i * 7919 % 5000 AS amount_cents, 'm' || i % 3 AS merchant_id
                FROM range({DAYS * 40}) r(i)) WHERE CAST(event_time AS DATE) <> DATE '{QUIET_DAY}'"""
        )
        opened.execute(
            """CREATE TABLE validated_labels AS SELECT day, transaction_id, true AS is_fraud,
                event_time + INTERVAL 12 HOUR AS reported_at
            FROM validated_transactions WHERE CAST(substr(transaction_id, 2) AS INTEGER) % 7 = 0"""
        )
        yield opened


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_a_day_with_identity_and_features_in_order(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path
) -> None:
    counts = materialize_features(connection, catalog, tmp_path, FIRST, LAST)
    assert list(counts.values()) == [40] * (DAYS - 1)
    assert [path.stem for path in day_files(tmp_path, FIRST, LAST)] == [str(day) for day in counts]
    frame = read_features(tmp_path, FIRST, LAST)
    assert frame.columns == [*IDENTITY, *catalog.names]
    assert frame.equals(frame.sort("event_us", "transaction_id"))
    assert set(frame.dtypes[5:]) == {pl.Float32}


@pytest.mark.parametrize("rows", [1, 45, 100])
def test_chunks_change_nothing(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    materialize_features(connection, catalog, tmp_path / "whole", FIRST, LAST)
    monkeypatch.setattr(table, "CHUNK_ROWS", rows)
    materialize_features(connection, catalog, tmp_path / "chunks", FIRST, LAST)
    assert contents(tmp_path / "chunks") == contents(tmp_path / "whole")


def test_day_by_day_gives_the_same_files(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path
) -> None:
    materialize_features(connection, catalog, tmp_path / "range", FIRST, LAST)
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        materialize_features(connection, catalog, tmp_path / "days", day, day)
    assert contents(tmp_path / "days") == contents(tmp_path / "range")


def test_a_chunk_that_fails_leaves_every_file_as_it_was(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialize_features(connection, catalog, tmp_path, FIRST, LAST)
    before = contents(tmp_path)
    connection.execute("UPDATE validated_transactions SET amount_cents = amount_cents + 1")

    def fails_later(events: pl.DataFrame, of: Catalog, skip: int) -> NDArray[np.int64]:
        if skip:
            raise CatalogError("a sum left the range of int64")
        return compute_aggregates(events, of, skip)

    monkeypatch.setattr(table, "CHUNK_ROWS", 40)
    monkeypatch.setattr(table, "compute_aggregates", fails_later)
    with pytest.raises(CatalogError):
        materialize_features(connection, catalog, tmp_path, FIRST, LAST)
    assert contents(tmp_path) == before


def test_a_day_without_events_loses_its_file(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path
) -> None:
    materialize_features(connection, catalog, tmp_path, FIRST, LAST)
    connection.execute("DELETE FROM validated_transactions WHERE day = ?", [LAST])
    assert materialize_features(connection, catalog, tmp_path, LAST, LAST) == {}
    assert day_files(tmp_path, LAST, LAST) == []
    assert len(day_files(tmp_path, FIRST, LAST)) == DAYS - 2


def test_the_view_sees_every_day(connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path) -> None:
    materialize_features(connection, catalog, tmp_path / "it's", FIRST, FIRST)
    materialize_features(connection, catalog, tmp_path / "it's", LAST, LAST)
    found = connection.execute("SELECT day, count(*) FROM transaction_features GROUP BY day ORDER BY day").fetchall()
    assert found == [(FIRST, 40), (LAST, 40)]


def test_a_first_range_without_events_writes_nothing(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path
) -> None:
    assert materialize_features(connection, catalog, tmp_path, QUIET_DAY, QUIET_DAY) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_quiet_day_reads_as_no_rows_with_the_columns_of_the_others(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path
) -> None:
    materialize_features(connection, catalog, tmp_path, FIRST, LAST)
    quiet = read_features(tmp_path, QUIET_DAY, QUIET_DAY)
    assert (quiet.height, quiet.columns) == (0, [*IDENTITY, *catalog.names])


@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_of_labels_reported_at_one_instant_fraud_wins(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path, order: str
) -> None:
    """A row that comes twice may bring two verdicts; their order in the table is no order in time."""
    expected = features_of(connection, catalog, FIRST, LAST)
    connection.execute("INSERT INTO validated_labels SELECT * REPLACE (false AS is_fraud) FROM validated_labels")
    connection.execute(
        f"CREATE OR REPLACE TABLE validated_labels AS SELECT * FROM validated_labels ORDER BY is_fraud {order}"
    )
    assert features_of(connection, catalog, FIRST, LAST).equals(expected)
    assert expected["merchant_fraud_rate_1d"].fill_nan(0).sum() > 0


@pytest.mark.parametrize("empty", [True, False])
def test_without_transactions_it_says_what_to_materialize(catalog: Catalog, tmp_path: Path, empty: bool) -> None:
    with duckdb.connect() as connection:
        if empty:
            connection.execute("CREATE TABLE validated_transactions (day DATE)")
        with pytest.raises(WarehouseError, match="Materialize `validated_transactions`"):
            materialize_features(connection, catalog, tmp_path, FIRST, LAST)


def test_days_that_were_not_computed_say_what_to_materialize(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path
) -> None:
    materialize_features(connection, catalog, tmp_path, FIRST, FIRST)
    with pytest.raises(WarehouseError, match=f"No features from {LAST} to {LAST}.*Materialize `transaction_features`"):
        read_features(tmp_path, LAST, LAST)


def test_days_of_two_catalogs_are_not_mixed(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, tmp_path: Path
) -> None:
    fewer = build_catalog(("transaction_id", "event_time", "customer_id", "amount_cents"), (), 86_400_000_000)
    materialize_features(connection, fewer, tmp_path, FIRST, FIRST)
    materialize_features(connection, catalog, tmp_path, LAST, LAST)
    with pytest.raises(WarehouseError, match="Materialize `transaction_features` for all these days again"):
        read_features(tmp_path, FIRST, LAST)
