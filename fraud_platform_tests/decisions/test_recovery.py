"""A rebuilt store goes on as if it had never been lost: the warehouse, then what the outbox knows beyond it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from fraud_platform.decisions.drain import Drained, drain
from fraud_platform.decisions.recovery import Rebuilt, moment_of, rebuild_states
from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.errors import WarehouseError
from fraud_platform.features.expressions import DAY, HOUR
from fraud_platform.features.selection import build_catalog
from fraud_platform.features.stores import Change, Entry, NewEntry
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.monitoring.replay import Recorder
from fraud_platform.warehouse import connect
from fraud_platform_tests.decisions.conftest import small_source

CATALOG = build_catalog({"customer_id", "merchant_id", "amount_cents", "event_time"}, [], 7 * DAY)
START = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000
HISTORY, LIVE = range(40), range(40, 60)


def event(number: int) -> dict[str, Any]:
    """One payment every five hours, of two customers at three merchants."""
    return {
        "transaction_id": f"t{number}",
        "event_us": START + number * 5 * HOUR,
        "customer_id": ("ann", "bob")[number % 2],
        "merchant_id": ("m", "n", "o")[number % 3],
        "amount_cents": 100 + number,
    }


def report(number: int, after: int = DAY) -> int:
    return event(number)["event_us"] + after


class Shop:
    """A store, and a scorer on it whose model keeps what it is given."""

    def __init__(self, folder: Path) -> None:
        self.store = LmdbStore(folder, map_bytes=1 << 26)

    def open(self) -> "Shop":
        self.model = Recorder(CATALOG)
        self.scorer = Scorer(Router(Candidate("1", self.model)), CATALOG, self.store)
        return self

    def next_features(self) -> np.ndarray:
        """What a payment ten days later sees, of every merchant and both customers."""
        first = len(self.model.vectors)
        for number in range(6):
            self.scorer.score(event(1000 + number) | {"event_us": START + 25 * DAY, "transaction_id": f"x{number}"})
        return np.array(self.model.vectors[first:])


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "fraud.duckdb") as connection:
        connection.execute("CREATE TABLE quarantined_transactions (transaction_id VARCHAR, source_file VARCHAR)")
        connection.execute(
            "CREATE TABLE validated_labels (transaction_id VARCHAR, is_fraud BOOLEAN, reported_at TIMESTAMP)"
        )
        columns = {"transaction_id": "VARCHAR", "customer_id": "VARCHAR", "merchant_id": "VARCHAR"}
        columns |= {"event_us": "BIGINT", "amount_cents": "BIGINT", "day": "DATE", "event_time": "TIMESTAMP"}
        listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        connection.execute(f"CREATE TABLE validated_transactions ({listed})")
        yield connection


def land(connection: duckdb.DuckDBPyConnection, numbers: range) -> None:
    rows = pl.DataFrame([event(number) for number in numbers]).with_columns(
        event_time=pl.from_epoch("event_us", "us"), day=pl.from_epoch("event_us", "us").dt.date()
    )
    connection.register("rows", rows.to_arrow())
    connection.execute("INSERT INTO validated_transactions BY NAME SELECT * FROM rows")
    connection.unregister("rows")


def land_label(connection: duckdb.DuckDBPyConnection, number: int, is_fraud: bool, reported_us: int) -> None:
    moment = moment_of(reported_us).replace(tzinfo=None)
    connection.execute("INSERT INTO validated_labels VALUES (?, ?, ?)", [f"t{number}", is_fraud, moment])


@pytest.fixture
def shops(tmp_path: Path, warehouse: duckdb.DuckDBPyConnection) -> Iterator[tuple[Shop, Shop]]:
    """Two stores that were rebuilt from the history and then lived through the same; the second may be rebuilt."""
    land(warehouse, HISTORY)
    land_label(warehouse, 30, True, report(30))
    both = (Shop(tmp_path / "kept"), Shop(tmp_path / "rebuilt"))
    for shop in both:
        rebuild_states(warehouse, CATALOG, shop.store)
        shop.open()
        shop.scorer.label("t45", True, report(45, after=-DAY))
        for number in LIVE:
            shop.scorer.score(event(number))
        shop.scorer.label("t50", True, report(50))
        shop.scorer.label("t51", True, report(51))
        shop.scorer.label("t51", False, report(51, after=2 * DAY))
        shop.scorer.label("t52", True, report(52, after=9 * DAY))
    yield both
    for shop in both:
        shop.store.close()


def rebuilt_goes_on_as_kept(shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection) -> Rebuilt:
    kept, rebuilt = shops
    done = rebuild_states(warehouse, CATALOG, rebuilt.store)
    np.testing.assert_array_equal(rebuilt.open().next_features(), kept.next_features())
    return done


def test_live_events_and_labels_are_caught_up_from_the_outbox(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection
) -> None:
    done = rebuilt_goes_on_as_kept(shops, warehouse)
    assert (done.events, done.caught_up) == (len(HISTORY), len(LIVE))
    assert done.relabelled == 3  # t50; t51 and back


def test_what_reached_the_warehouse_is_not_counted_twice(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection
) -> None:
    land(warehouse, LIVE)
    for number, is_fraud, after in ((45, True, -DAY), (50, True, DAY), (51, True, DAY), (51, False, 2 * DAY)):
        land_label(warehouse, number, is_fraud, report(number, after))
    done = rebuilt_goes_on_as_kept(shops, warehouse)
    assert (done.events, done.caught_up, done.relabelled) == (60, 0, 0)


def test_half_of_it_in_the_warehouse_is_counted_once(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection
) -> None:
    land(warehouse, range(40, 51))
    assert rebuilt_goes_on_as_kept(shops, warehouse).caught_up == 9


def test_an_event_that_validation_refused_stays_out(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection
) -> None:
    warehouse.execute("INSERT INTO quarantined_transactions VALUES ('t59', 'live/2026-03-13.parquet')")
    assert rebuild_states(warehouse, CATALOG, shops[1].store).caught_up == len(LIVE) - 1


def test_a_row_of_a_file_that_was_refused_says_nothing_of_the_event_that_was_decided(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection
) -> None:
    warehouse.execute("INSERT INTO quarantined_transactions VALUES ('t59', '2026-03-13.csv')")
    assert rebuilt_goes_on_as_kept(shops, warehouse).caught_up == len(LIVE)


class TestAfterADrain:
    """What the outbox has let go is in the warehouse, validated or not."""

    @pytest.fixture
    def drain_it(
        self, shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
    ) -> Callable[[int], Drained]:
        source = small_source(tmp_path)
        return lambda keep: drain(warehouse, shops[1].store, source, tmp_path / "raw", tmp_path / "labels", keep)

    @pytest.mark.parametrize("keep", [0, 7, 1000])
    def test_events_and_labels_that_are_not_validated_are_there_and_counted_once(
        self,
        shops: tuple[Shop, Shop],
        warehouse: duckdb.DuckDBPyConnection,
        drain_it: Callable[[int], Drained],
        keep: int,
    ) -> None:
        drain_it(keep)
        assert len(shops[1].store.entries(0, 100)) == min(keep, 25)
        done = rebuilt_goes_on_as_kept(shops, warehouse)
        assert (done.events, done.unvalidated, done.caught_up, done.relabelled) == (60, len(LIVE), 0, 0)

    def test_half_of_it_validated_is_counted_once(
        self, shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection, drain_it: Callable[[int], Drained]
    ) -> None:
        drain_it(0)
        land(warehouse, range(40, 51))
        land_label(warehouse, 50, True, report(50))
        assert rebuilt_goes_on_as_kept(shops, warehouse).unvalidated == 9

    def test_what_came_after_the_drain_is_caught_up(
        self, shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection, drain_it: Callable[[int], Drained]
    ) -> None:
        drain_it(0)
        for shop in shops:
            shop.scorer.score(event(60))
            shop.scorer.label("t59", True, report(59))
            shop.scorer.label("t50", False, report(50, after=2 * DAY))
        done = rebuilt_goes_on_as_kept(shops, warehouse)
        assert (done.unvalidated, done.caught_up, done.relabelled) == (len(LIVE), 1, 2)

    def test_a_drained_event_that_validation_refused_stays_out(
        self, shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection, drain_it: Callable[[int], Drained]
    ) -> None:
        drain_it(10)
        warehouse.execute("INSERT INTO quarantined_transactions VALUES ('t59', 'live/2026-03-13.parquet')")
        done = rebuild_states(warehouse, CATALOG, shops[1].store)
        assert (done.unvalidated, done.caught_up) == (len(LIVE) - 1, 0)

    def test_history_as_of_a_moment_leaves_out_what_is_not_validated(
        self, warehouse: duckdb.DuckDBPyConnection, drain_it: Callable[[int], Drained], tmp_path: Path
    ) -> None:
        """A replay is compared with the feature table, which is made of what is validated."""
        drain_it(0)
        anew = Shop(tmp_path / "anew")
        done = rebuild_states(warehouse, CATALOG, anew.store, before=datetime(2026, 3, 31, tzinfo=UTC))
        assert (done.events, done.unvalidated) == (len(HISTORY), 0)
        anew.store.close()


def test_an_entry_that_cannot_be_read_is_left_out_and_counted(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection
) -> None:
    store = shops[1].store
    store.commit(store.read([], []), Change({}, {}, 0, [NewEntry(b"of a newer version")]))
    done = rebuilt_goes_on_as_kept(shops, warehouse)
    assert (done.unreadable, done.caught_up) == (1, len(LIVE))


def test_events_decided_during_the_rebuild_are_in_it(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, rebuilt = shops
    entries, late_arrivals = rebuilt.store.entries, iter(range(60, 65))

    def entries_while_deciding(after: int, limit: int) -> list[Entry]:
        found = entries(after, limit)
        for number in late_arrivals:
            rebuilt.scorer.score(event(number))
            break
        return found

    monkeypatch.setattr(rebuilt.store, "entries", entries_while_deciding)
    for number in range(60, 65):
        kept.scorer.score(event(number))
    assert rebuilt_goes_on_as_kept(shops, warehouse).caught_up == len(LIVE) + 5


def test_a_fraud_known_to_the_warehouse_is_not_counted_again_when_its_label_comes_once_more(
    shops: tuple[Shop, Shop], warehouse: duckdb.DuckDBPyConnection
) -> None:
    kept, rebuilt = shops
    assert not rebuilt.scorer.label("t30", True, report(30), event=event(30))
    np.testing.assert_array_equal(rebuilt.next_features(), kept.next_features())


def test_as_of_a_moment_nothing_later_is_known(tmp_path: Path, warehouse: duckdb.DuckDBPyConnection) -> None:
    land(warehouse, HISTORY)
    land_label(warehouse, 20, True, report(20))
    before = datetime(2026, 3, 6, tzinfo=UTC)
    told, untold = Shop(tmp_path / "told"), Shop(tmp_path / "untold")
    done = rebuild_states(warehouse, CATALOG, told.store, before=before)
    assert moment_of(done.latest_us) < before and done.events == 24
    warehouse.execute("DELETE FROM validated_labels")
    rebuild_states(warehouse, CATALOG, untold.store, before=before)
    np.testing.assert_array_equal(told.open().next_features(), untold.open().next_features())
    for shop in (told, untold):
        shop.store.close()


def test_without_a_warehouse_there_is_nothing_to_rebuild_from(
    tmp_path: Path, warehouse: duckdb.DuckDBPyConnection
) -> None:
    shop = Shop(tmp_path / "store")
    with pytest.raises(WarehouseError, match="validated_transactions"):
        rebuild_states(warehouse, CATALOG, shop.store)
    assert shop.store.fingerprint() is None
    shop.store.close()
