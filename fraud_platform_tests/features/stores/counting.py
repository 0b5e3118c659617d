"""Commits that can be counted afterwards: whatever was interrupted, each is there once and whole, or not at all."""

from fraud_platform.features.stores import Store
from fraud_platform_tests.features.stores.places import key, values

KEY = key(1)


def count_up(store: Store) -> int | None:
    """One commit that keeps its number in a record of its own, in a state and in its entry."""
    snapshot = store.read([], [KEY])
    number = int(snapshot.states[KEY] or b"0") + 1
    return store.commit(snapshot, {key(number): b"r" * 300}, {KEY: b"%d" % number}, 0, b"%d" % number)


def counted(store: Store) -> int:
    """How many commits there were, all that they wrote being there once."""
    entries = store.entries(0, 1_000_000)
    total = len(entries)
    assert [int(entry.content) for entry in entries] == list(range(1, total + 1))
    assert [entry.sequence for entry in entries] == sorted({entry.sequence for entry in entries})
    records, states = values(store, [key(number) for number in range(1, total + 2)], [KEY])
    assert records == [b"r" * 300] * total + [None]
    assert states == [b"%d" % total if total else None]
    return total
