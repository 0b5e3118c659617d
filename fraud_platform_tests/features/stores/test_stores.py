"""What every store promises, one client after the other."""

import threading
from collections.abc import Callable

import pytest

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Entry, Snapshot, Store
from fraud_platform_tests.features.stores.places import Place, change, commit, held_states, key, values

RECORD, OTHER_RECORD, STATE, OTHER_STATE = (key(number) for number in range(4))


def test_a_new_store_is_empty(store: Store) -> None:
    assert values(store, [RECORD], [STATE]) == ([None], [None])
    assert store.entries(0, 10) == []
    assert (store.last_sequence(), store.acknowledged()) == (0, 0)
    assert store.filed(RECORD, 10) == []
    assert (store.queue(10), store.waiting()) == ([], 0)
    assert store.fingerprint() is None


def test_a_read_of_nothing_is_nothing(store: Store) -> None:
    assert values(store, [], []) == ([], [])


def test_a_commit_writes_records_states_and_entry(store: Store, other: Store) -> None:
    snapshot = store.read([RECORD, OTHER_RECORD], [STATE, OTHER_STATE])
    assert store.commit(snapshot, change({RECORD: b"r"}, {STATE: b"s", OTHER_STATE: b"t"}, 7, b"what happened")) == 1
    assert values(other, [RECORD, OTHER_RECORD], [STATE, OTHER_STATE]) == ([b"r", None], [b"s", b"t"])
    assert other.entries(0, 10) == [Entry(1, b"what happened")]


def test_records_and_states_of_one_key_are_two(store: Store) -> None:
    commit(store, {STATE: b"record"}, {STATE: b"state"})
    assert values(store, [STATE], [STATE]) == ([b"record"], [b"state"])


@pytest.mark.parametrize("value", [b"", b"\0" * 40, bytes(range(256)) * 20, b"*[?]" * 50_000], ids=len)
def test_any_bytes_come_back(store: Store, value: bytes) -> None:
    for _ in range(2):
        sequence = commit(store, {RECORD: value}, {STATE: value}, value)
        assert values(store, [RECORD], [STATE]) == ([value], [value])
        assert store.entries(sequence - 1, 1) == [Entry(sequence, value)]


@pytest.mark.parametrize("number", [0, 0x2A5B5D3F5C << 80, 2**128 - 1, 0x0A0D << 64])
def test_any_sixteen_bytes_are_a_key(store: Store, number: int) -> None:
    commit(store, {key(number): b"r"}, {key(number): b"s"})
    assert values(store, [key(number)], [key(number)]) == ([b"r"], [b"s"])


def change_state(store: Store) -> None:
    commit(store, {}, {STATE: b"theirs"})


def change_record(store: Store) -> None:
    commit(store, {RECORD: b"theirs"}, {})


def write_the_same_again(store: Store) -> None:
    before = store.read([], [STATE]).states[STATE]
    commit(store, {}, {STATE: before or b"theirs"})


def there_and_back(store: Store) -> None:
    before = store.read([], [STATE]).states[STATE]
    commit(store, {}, {STATE: b"away"})
    commit(store, {}, {STATE: before or b"theirs"})


@pytest.mark.parametrize("happens", [change_state, change_record, write_the_same_again, there_and_back])
@pytest.mark.parametrize("present", [True, False])
def test_a_commit_on_what_has_changed_writes_nothing(
    store: Store, other: Store, happens: Callable[[Store], None], present: bool
) -> None:
    if present:
        commit(store, {RECORD: b"first"}, {STATE: b"first"})
    snapshot = store.read([RECORD, OTHER_RECORD], [STATE, OTHER_STATE])
    happens(other)
    after = values(store, [RECORD, OTHER_RECORD], [STATE, OTHER_STATE])
    entries = store.entries(0, 10)
    mine = {RECORD: b"mine", OTHER_RECORD: b"mine"}, {STATE: b"mine", OTHER_STATE: b"mine"}
    assert store.commit(snapshot, change(*mine, 0, b"mine")) is None
    assert values(store, [RECORD, OTHER_RECORD], [STATE, OTHER_STATE]) == after
    assert store.entries(0, 10) == entries
    assert commit(store, *mine) == entries[-1].sequence + 1


def test_a_change_of_what_was_only_read_counts(store: Store, other: Store) -> None:
    snapshot = store.read([], [STATE, OTHER_STATE])
    commit(other, {}, {OTHER_STATE: b"theirs"})
    assert store.commit(snapshot, change({}, {STATE: b"mine"}, 0, b"")) is None


def test_a_change_elsewhere_does_not_count(store: Store, other: Store) -> None:
    snapshot = store.read([RECORD], [STATE])
    commit(other, {OTHER_RECORD: b"theirs"}, {OTHER_STATE: b"theirs"})
    assert store.commit(snapshot, change({RECORD: b"mine"}, {STATE: b"mine"}, 0, b"")) == 2


def test_a_snapshot_is_good_for_one_commit(store: Store) -> None:
    snapshot = store.read([], [STATE])
    assert store.commit(snapshot, change({}, {STATE: b"once"}, 0, b"")) == 1
    assert store.commit(snapshot, change({}, {STATE: b"twice"}, 0, b"")) is None


def test_the_outbox_is_read_in_pages(store: Store, other: Store) -> None:
    sequences = [commit((store, other)[n % 2], {}, {key(n): b""}, b"%d" % n) for n in range(25)]
    assert sequences == list(range(1, 26))
    pages = [store.entries(after, 10) for after in (0, 10, 20, 25, 1000)]
    assert [len(page) for page in pages] == [10, 10, 5, 0, 0]
    assert [entry for page in pages for entry in page] == [Entry(n + 1, b"%d" % n) for n in range(25)]


def test_what_was_written_is_there_for_the_next_process(place: Place) -> None:
    first = place.open()
    with first.rebuild() as rebuild:
        rebuild.put([(OTHER_STATE, 0, b"old")])
        assert rebuild.publish("another catalog's", 0)
    commit(first, {RECORD: b"r"}, {STATE: b"s"}, b"e")
    first.close()
    second = place.open()
    assert values(second, [RECORD], [STATE, OTHER_STATE]) == ([b"r"], [b"s", b"old"])
    assert second.entries(0, 10) == [Entry(1, b"e")]
    assert second.fingerprint() == "another catalog's"
    assert commit(second, {}, {STATE: b"t"}) == 2
    second.close()


def test_a_large_commit_is_one_commit(store: Store) -> None:
    records = {key(n): b"%d" % n for n in range(500)}
    states = {key(n): b"%d" % n * 1000 for n in range(500)}
    assert commit(store, records, states) == 1
    assert values(store, list(records), list(states)) == (list(records.values()), list(states.values()))
    assert held_states(store) == 500


def test_threads_share_a_client(store: Store) -> None:
    def count() -> None:
        done = 0
        while done < 100:
            snapshot = store.read([], [STATE])
            total = int(snapshot.states[STATE] or b"0") + 1
            done += store.commit(snapshot, change({}, {STATE: b"%d" % total}, 0, b"%d" % total)) is not None

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read([], [STATE]).states == {STATE: b"400"}
    assert [entry.content for entry in store.entries(0, 1000)] == [b"%d" % n for n in range(1, 401)]


def test_a_snapshot_tells_what_it_saw(store: Store) -> None:
    commit(store, {RECORD: b"r"}, {STATE: b"s"})
    snapshot = store.read([OTHER_RECORD, RECORD], [STATE, OTHER_STATE])
    assert isinstance(snapshot, Snapshot)
    assert snapshot.records == {OTHER_RECORD: None, RECORD: b"r"}
    assert snapshot.states == {STATE: b"s", OTHER_STATE: None}
    commit(store, {}, {STATE: b"t"})
    assert snapshot.states[STATE] == b"s"


def test_a_store_error_is_raised_by_what_is_over(store: Store) -> None:
    with store.rebuild() as rebuild:
        pass
    with pytest.raises(StoreError, match="is over: it was published or left"):
        rebuild.put([(STATE, 0, b"s")])
