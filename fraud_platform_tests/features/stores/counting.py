"""Commits that can be counted afterwards: whatever was interrupted, each is there once and whole, or not at all."""

from fraud_platform.features.stores import Change, Store
from fraud_platform_tests.features.stores.places import change, key, values

KEY = key(1)


def counting(number: int) -> Change:
    """What a commit writes that keeps its number in a record of its own, a state, its entry, a filing and the queue."""
    record = key(number)
    return change({record: b"r" * 300}, {KEY: b"%d" % number}, 0, b"%d" % number, (KEY,), {record: number})


def count_up(store: Store) -> int | None:
    """One commit."""
    snapshot = store.read([], [KEY])
    return store.commit(snapshot, counting(int(snapshot.states[KEY] or b"0") + 1))


def counted(store: Store) -> int:
    """How many commits there were, all that they wrote being there once."""
    entries = store.entries(0, 1_000_000)
    total = len(entries)
    assert [int(entry.content) for entry in entries] == list(range(1, total + 1))
    assert [entry.sequence for entry in entries] == sorted({entry.sequence for entry in entries})
    assert store.filed(KEY, 1_000_000) == entries[::-1]
    assert store.queue(1_000_000) == [key(number) for number in range(total, 0, -1)]
    assert store.waiting() == total
    records, states = values(store, [key(number) for number in range(1, total + 2)], [KEY])
    assert records == [b"r" * 300] * total + [None]
    assert states == [b"%d" % total if total else None]
    return total
