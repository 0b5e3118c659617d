"""States in LMDB expire by the latest event that they hold."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fraud_platform.features.stores.batches import BATCH
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.features.stores.lmdb import store as lmdb_store
from fraud_platform_tests.features.building import build
from fraud_platform_tests.features.stores.places import change, commit, held_states, key, values


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with closing(LmdbStore(tmp_path / "store", map_bytes=1 << 30)) as opened:
        yield opened


def test_states_expire_by_their_latest_event(store: LmdbStore) -> None:
    build(store, "fingerprint", ((key(n), n - 50, b"%d" % n) for n in range(100)))
    snapshot = store.read([], [key(50), key(51)])
    assert store.commit(snapshot, change({}, {key(50): b"renewed", key(51): b"older"}, 90, b"")) == 1
    assert store.expire(before_us=-50) == 0
    assert store.expire(before_us=10) == 58
    assert values(store, [], [key(n) for n in (59, 60, 50, 51)])[1] == [None, b"60", b"renewed", b"older"]
    assert store.expire(before_us=10) == 0
    assert store.expire(before_us=1_000_000) == 42
    assert held_states(store) == 0


@pytest.mark.parametrize("scanned", [1, 7, 2 * BATCH, 1_000_000])
def test_expiry_goes_through_all_states(store: LmdbStore, scanned: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_store, "SCANNED", scanned)
    rows = BATCH * 3 + 1 if scanned > 7 else 30
    build(store, "fingerprint", ((key(n), n % 3, b"") for n in range(rows)))
    assert store.expire(before_us=1) == (rows + 2) // 3
    assert held_states(store) == rows - (rows + 2) // 3


def test_expiry_of_a_new_store(store: LmdbStore) -> None:
    assert store.expire(before_us=1) == 0
    commit(store, {key(1): b"r"}, {key(1): b"s"})
    assert store.expire(before_us=1) == 1
    assert values(store, [key(1)], [key(1)]) == ([b"r"], [None])


def test_what_has_expired_and_come_back_is_not_what_was_read(store: LmdbStore) -> None:
    commit(store, {}, {key(1): b"same"})
    snapshot = store.read([], [key(1)])
    store.expire(before_us=1)
    assert store.commit(snapshot, change({}, {key(1): b"mine"}, 0, b"")) is None
    commit(store, {}, {key(1): b"same"})
    assert store.commit(snapshot, change({}, {key(1): b"mine"}, 0, b"")) is None


def test_what_is_renewed_meanwhile_does_not_expire(store: LmdbStore) -> None:
    rows = 3 * BATCH
    build(store, "fingerprint", ((key(n), 0, b"old") for n in range(rows)))

    def renew() -> None:
        for number in range(0, rows, 10):
            while store.commit(store.read([], [key(number)]), change({}, {key(number): b"new"}, 1, b"")) is None:
                pass

    thread = threading.Thread(target=renew)
    thread.start()
    removed = store.expire(before_us=1)
    thread.join()
    removed += store.expire(before_us=1)
    assert held_states(store) == rows // 10
    assert rows - rows // 10 <= removed <= rows
    assert set(values(store, [], [key(n) for n in range(0, rows, 10)])[1]) == {b"new"}
