"""Where a store of the tests is. A process that is given a place opens the store for itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fraud_platform.features.stores import Change, NewEntry, Store
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.features.stores.redis import RedisStore

DAY_US = 86_400_000_000
NAMESPACE = "shop [*] new?"
"""A name with everything that Redis's patterns would take for a wildcard."""


@dataclass(frozen=True)
class Place:
    """A folder, or the URL of a Redis."""

    address: Path | str
    namespace: str = NAMESPACE

    def open(self) -> Store:
        if isinstance(self.address, Path):
            return LmdbStore(self.address, map_bytes=1 << 30)
        return opened(self.address, self.namespace)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def held_states(store: Store) -> int:
    """How many states lie in a store, those of every rebuild counted."""
    if isinstance(store, LmdbStore):
        with store._lmdb.begin() as view:
            return view.stat(store._states)["entries"]
    assert isinstance(store, RedisStore)
    return sum(1 for _ in store._connection.scan(store._connection.state_prefix))


def held_filings(store: Store) -> int:
    """Under how many keys the outbox's entries lie, each counted by itself."""
    if isinstance(store, LmdbStore):
        with store._lmdb.begin() as view:
            return view.stat(store._environment.filed)["entries"]
    assert isinstance(store, RedisStore)
    names = store._connection
    return sum(names.client.zcard(name) for name in set(names.scan(names.filed_prefix)))


def change(
    records: Mapping[bytes, bytes],
    states: Mapping[bytes, bytes],
    event_us: int = 0,
    entry: bytes = b"entry",
    under: tuple[bytes, ...] = (),
    queue: Mapping[bytes, int | None] | None = None,
) -> Change:
    """A change with one entry."""
    return Change(records, states, event_us, [NewEntry(entry, under)], queue or {})


def commit(store: Store, records: dict[bytes, bytes], states: dict[bytes, bytes], entry: bytes = b"entry") -> int:
    """Read and commit, with nobody in between."""
    return committed(store, change(records, states, 0, entry))


def committed(store: Store, changed: Change) -> int:
    """Read and commit any change, with nobody in between."""
    sequence = store.commit(store.read(list(changed.records), list(changed.states)), changed)
    assert sequence is not None
    return sequence


def values(store: Store, records: list[bytes], states: list[bytes]) -> tuple[list[bytes | None], list[bytes | None]]:
    snapshot = store.read(records, states)
    assert (list(snapshot.records), list(snapshot.states)) == (records, states)
    return list(snapshot.records.values()), list(snapshot.states.values())


def opened(url: str, namespace: str = NAMESPACE) -> RedisStore:
    return RedisStore(url, namespace, DAY_US)
