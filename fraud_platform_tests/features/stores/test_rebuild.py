"""A new set of states, beside those that serve."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Store
from fraud_platform.features.stores.batches import BATCH
from fraud_platform_tests.features.stores.places import Place, change, commit, held_states, key, values

KEY, OTHER = key(1), key(2)


def test_it_is_invisible_until_it_is_published(store: Store, other: Store) -> None:
    commit(store, {}, {KEY: b"old", OTHER: b"old"})
    with store.rebuild() as rebuild:
        assert rebuild.put([(KEY, 5, b"new")]) == 1
        assert values(other, [], [KEY, OTHER]) == ([], [b"old", b"old"])
        assert other.fingerprint() is None
        assert rebuild.publish("fingerprint", through=1)
        assert values(other, [], [KEY, OTHER]) == ([], [b"new", None])
        assert other.fingerprint() == "fingerprint"
    assert values(store, [], [KEY, OTHER]) == ([], [b"new", None])
    assert held_states(store) == 1


def test_its_states_can_be_read_and_replaced(store: Store) -> None:
    commit(store, {}, {KEY: b"old"})
    with store.rebuild() as rebuild:
        assert rebuild.get([KEY, OTHER]) == [None, None]
        assert rebuild.put([(KEY, 1, b"one"), (OTHER, 1, b"")]) == 2
        assert rebuild.put([(KEY, 2, b"two")]) == 1
        assert rebuild.get([KEY, OTHER]) == [b"two", b""]
        assert rebuild.put([]) == 0
        assert rebuild.get([]) == []


def test_of_a_key_that_comes_twice_the_last_state_counts(store: Store) -> None:
    with store.rebuild() as rebuild:
        rebuild.put([(KEY, 1, b"one"), (OTHER, 1, b"other"), (KEY, 2, b"two")])
        assert rebuild.get([KEY, OTHER]) == [b"two", b"other"]


def test_it_is_not_published_past_what_it_has_caught_up_with(store: Store, other: Store) -> None:
    with store.rebuild() as rebuild:
        rebuild.put([(KEY, 0, b"without")])
        sequence = commit(other, {}, {KEY: b"live"})
        assert not rebuild.publish("fingerprint", through=sequence - 1)
        assert store.fingerprint() is None
        assert values(store, [], [KEY]) == ([], [b"live"])
        rebuild.put([(KEY, 0, b"caught up")])
        assert rebuild.publish("fingerprint", through=sequence)
    assert values(store, [], [KEY]) == ([], [b"caught up"])


def test_left_unpublished_it_leaves_nothing(store: Store) -> None:
    commit(store, {}, {KEY: b"old"})
    with store.rebuild() as rebuild:
        rebuild.put((key(n), 0, b"new") for n in range(2 * BATCH + 1))
        assert held_states(store) == 2 * BATCH + 2
    assert held_states(store) == 1
    assert values(store, [], [KEY]) == ([], [b"old"])


def test_an_error_in_its_block_drops_it(store: Store) -> None:
    def states() -> Iterator[tuple[bytes, int, bytes]]:
        yield from ((key(n), 0, b"new") for n in range(BATCH + 1))
        raise ValueError("the warehouse is gone")

    with pytest.raises(ValueError, match="the warehouse is gone"), store.rebuild() as rebuild:
        rebuild.put(states())
    assert held_states(store) == 0


def test_a_commit_from_before_it_is_refused(store: Store, other: Store) -> None:
    commit(store, {}, {KEY: b"old"})
    present, absent, nothing = store.read([], [KEY]), store.read([], [OTHER]), store.read([], [])
    with other.rebuild() as rebuild:
        rebuild.put([(KEY, 0, b"old")])
        assert rebuild.publish("fingerprint", 1)
    for snapshot in (present, absent, nothing):
        assert store.commit(snapshot, change({}, dict.fromkeys(snapshot.states, b"mine"), 0, b"")) is None
    assert values(store, [], [KEY, OTHER]) == ([], [b"old", None])
    assert commit(store, {}, {KEY: b"mine"}) == 2


def test_a_commit_on_what_it_wrote_goes_on(store: Store) -> None:
    with store.rebuild() as rebuild:
        rebuild.put([(KEY, 0, b"new")])
        rebuild.publish("fingerprint", 0)
    first, second = store.read([], [KEY]), store.read([], [KEY])
    assert store.commit(first, change({}, {KEY: b"newer"}, 0, b"")) == 1
    assert store.commit(second, change({}, {KEY: b"lost"}, 0, b"")) is None


def test_records_and_outbox_survive_it(store: Store) -> None:
    commit(store, {KEY: b"decided"}, {KEY: b"old"}, b"entry")
    with store.rebuild() as rebuild:
        assert rebuild.publish("fingerprint", 1)
    assert values(store, [KEY], [KEY]) == ([b"decided"], [None])
    assert [entry.content for entry in store.entries(0, 10)] == [b"entry"]
    assert held_states(store) == 0


def test_records_that_are_there_stay(store: Store, other: Store) -> None:
    commit(store, {KEY: b"decided"}, {})
    snapshot = store.read([OTHER], [])
    with store.rebuild() as rebuild:
        assert rebuild.record([(KEY, b"from the warehouse"), (OTHER, b"from the warehouse")]) == 1
        assert values(other, [KEY, OTHER], []) == ([b"decided", b"from the warehouse"], [])
        assert rebuild.record((key(n), b"") for n in range(BATCH + 10)) == BATCH + 8
    assert values(other, [OTHER, key(3)], []) == ([b"from the warehouse", b""], [])
    assert store.commit(snapshot, change({OTHER: b"mine"}, {}, 0, b"")) is None


def test_one_follows_another(store: Store) -> None:
    for number in range(3):
        with store.rebuild() as rebuild:
            rebuild.put([(key(number), 0, b"%d" % number)])
            assert rebuild.publish(f"catalog {number}", 0)
        assert store.fingerprint() == f"catalog {number}"
        assert values(store, [], [key(n) for n in range(3)])[1] == [
            b"%d" % number if n == number else None for n in range(3)
        ]
        assert held_states(store) == 1


def test_of_two_the_later_goes_on(store: Store, other: Store) -> None:
    commit(store, {}, {KEY: b"old"})
    with store.rebuild() as earlier:
        earlier.put([(KEY, 0, b"earlier")])
        with other.rebuild() as later:
            later.put([(KEY, 0, b"later")])
            for attempt in (
                lambda: earlier.put([(OTHER, 0, b"earlier")]),
                lambda: earlier.get([KEY]),
                lambda: earlier.record([(KEY, b"earlier")]),
                lambda: earlier.publish("earlier", 1),
            ):
                with pytest.raises(StoreError, match="another rebuild began after it"):
                    attempt()
            earlier.__exit__(None, None, None)
            assert later.get([KEY]) == [b"later"]
            assert later.publish("later", 1)
    assert store.fingerprint() == "later"
    assert values(store, [], [KEY]) == ([], [b"later"])
    assert held_states(store) == 1


def test_after_another_was_published_it_is_over(store: Store, other: Store) -> None:
    with store.rebuild() as earlier:
        with other.rebuild() as later:
            later.put([(KEY, 0, b"later")])
            assert later.publish("later", 0)
        with pytest.raises(StoreError, match="another rebuild began after it"):
            earlier.publish("earlier", 0)
    assert values(store, [], [KEY]) == ([], [b"later"])


def test_published_it_takes_no_more(store: Store) -> None:
    with store.rebuild() as rebuild:
        assert rebuild.publish("fingerprint", 0)
        with pytest.raises(StoreError, match="it was published"):
            rebuild.put([(KEY, 0, b"late")])
        with pytest.raises(StoreError, match="it was published"):
            rebuild.publish("other", 0)
    assert store.fingerprint() == "fingerprint"


@pytest.mark.slow
def test_commits_go_on_while_a_large_one_is_made(place: Place, store: Store, other: Store) -> None:
    """Each commit counts one of fifty counters up and says which; the rebuild makes the counts from the outbox."""
    counters, rows = 50, 20_000
    finished = threading.Event()
    committed: list[int] = []

    def serve() -> None:
        for number in itertools.count():
            if finished.is_set():
                return
            counter = key(number % counters)
            while True:
                snapshot = other.read([], [counter])
                total = int(snapshot.states[counter] or b"0") + 1
                sequence = other.commit(snapshot, change({}, {counter: b"%d" % total}, 0, counter))
                if sequence is not None:
                    committed.append(sequence)
                    break

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        through, published, refused = 0, False, 0
        with store.rebuild() as rebuild:
            assert rebuild.put((key(n), 0, b"x" * 1000) for n in range(counters, rows)) == rows - counters
            during = len(committed)
            while not published:
                while entries := store.entries(through, 1000):
                    through = entries[-1].sequence
                    counts = Counter(entry.content for entry in entries)
                    before = rebuild.get(list(counts))
                    rebuild.put(
                        (counter, 0, b"%d" % (int(state or b"0") + counts[counter]))
                        for counter, state in zip(counts, before, strict=True)
                    )
                published = rebuild.publish("fingerprint", through)
                refused += not published
                if refused == 5:
                    finished.set()  # it might never meet a client that commits as fast as it can
        assert during > 0
    finally:
        finished.set()
        thread.join()
    assert committed == list(range(1, len(committed) + 1))
    totals = [int(state or b"0") for state in store.read([], [key(n) for n in range(counters)]).states.values()]
    assert sum(totals) == len(committed)
    assert max(totals) - min(totals) <= 1
    assert held_states(store) == rows - counters + sum(total > 0 for total in totals)
