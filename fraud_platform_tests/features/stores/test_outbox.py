"""The outbox: several entries a commit, filed under keys, and removed when the warehouse has them."""

import threading
from contextlib import closing

import pytest

from fraud_platform.features.stores import Change, Entry, NewEntry, Store
from fraud_platform_tests.features.stores.places import Place, change, commit, committed, held_filings, key, values

CUSTOMER, MERCHANT, NOBODY, KEY = (key(number) for number in (7, 8, 9, 10))


def append(store: Store, number: int, under: tuple[bytes, ...] = ()) -> int:
    """One entry that holds its number."""
    return committed(store, change({}, {}, entry=b"%d" % number, under=under))


def numbered(*sequences: int) -> list[Entry]:
    """What `append` of the sequences' own numbers leaves."""
    return [Entry(sequence, b"%d" % sequence) for sequence in sequences]


def test_entries_of_a_commit_follow_each_other(store: Store, other: Store) -> None:
    append(store, 1)
    assert committed(other, Change({}, {}, 0, [NewEntry(b"2"), NewEntry(b""), NewEntry(b"2")])) == 4
    assert append(store, 5) == 5
    assert store.entries(0, 10) == [*numbered(1, 2), Entry(3, b""), Entry(4, b"2"), *numbered(5)]
    assert store.entries(2, 2) == [Entry(3, b""), Entry(4, b"2")]
    assert other.last_sequence() == 5


def test_what_a_commit_of_several_entries_wrote_changes_with_each_commit(store: Store) -> None:
    several = Change({KEY: b"r"}, {KEY: b"s"}, 0, [NewEntry(b"1"), NewEntry(b"2")])
    committed(store, several)
    first, second = store.read([KEY], []), store.read([], [KEY])
    committed(store, several)
    assert store.commit(first, several) is None
    assert store.commit(second, several) is None
    assert store.last_sequence() == 4


def test_a_refused_commit_appends_files_and_queues_nothing(store: Store) -> None:
    snapshot = store.read([], [KEY])
    commit(store, {}, {KEY: b"theirs"})
    entries = [NewEntry(b"1", (CUSTOMER,)), NewEntry(b"2", (CUSTOMER,))]
    assert store.commit(snapshot, Change({KEY: b"r"}, {KEY: b"s"}, 0, entries, {KEY: 1})) is None
    assert store.last_sequence() == 1
    assert (store.filed(CUSTOMER, 9), store.queue(9), store.waiting()) == ([], [], 0)
    assert values(store, [KEY], [KEY]) == ([None], [b"theirs"])


def test_a_large_batch_is_one_commit(store: Store) -> None:
    records = {key(n): b"r%d" % n for n in range(3_000)}
    entries = [NewEntry(b"%d" % (n + 1), (key(n), CUSTOMER)) for n in range(3_000)]
    assert committed(store, Change(records, records, 0, entries, dict.fromkeys(records, 1))) == 3_000
    assert store.entries(0, 3_000) == numbered(*range(1, 3_001))
    assert store.filed(CUSTOMER, 3_000) == numbered(*range(3_000, 0, -1))
    assert store.filed(key(2_999), 5) == numbered(3_000)
    assert store.waiting() == 3_000


def test_filed_gives_the_newest_first(store: Store, other: Store) -> None:
    for number in range(1, 8):
        append(store, number, (CUSTOMER, MERCHANT) if number % 2 else (MERCHANT,))
    assert other.filed(CUSTOMER, 10) == numbered(7, 5, 3, 1)
    assert other.filed(CUSTOMER, 3) == numbered(7, 5, 3)
    assert other.filed(MERCHANT, 2) == numbered(7, 6)


@pytest.mark.parametrize("number", [0, 0x2A5B5D3F5C << 80, 2**128 - 1, 0x0A0D << 64])
def test_any_sixteen_bytes_are_filed_under_and_neighbours_stay_apart(store: Store, number: int) -> None:
    append(store, 1, (key(number),))
    for neighbour in {max(number - 1, 0), min(number + 1, 2**128 - 1)} - {number}:
        assert store.filed(key(neighbour), 9) == []
        append(store, 0, (key(neighbour),))
    assert store.filed(key(number), 9) == numbered(1)


def test_nothing_is_filed_under_an_unknown_key(store: Store) -> None:
    assert store.filed(NOBODY, 10) == []
    append(store, 1, (CUSTOMER,))
    assert store.filed(NOBODY, 10) == []


def test_filed_under_one_key_twice_it_is_found_once(store: Store) -> None:
    append(store, 1, (CUSTOMER, MERCHANT, CUSTOMER, CUSTOMER))
    assert store.filed(CUSTOMER, 10) == store.filed(MERCHANT, 10) == numbered(1)
    assert held_filings(store) == 2
    assert store.acknowledge(1, 0) == 1
    assert held_filings(store) == 0


def test_an_entry_is_filed_under_many_keys_with_any_content(store: Store) -> None:
    keys = tuple(key(n << 100) for n in range(255))
    content = bytes(range(256)) * 300
    committed(store, change({}, {}, entry=content, under=keys))
    assert store.entries(0, 1) == [Entry(1, content)]
    assert [store.filed(name, 2) for name in (keys[0], keys[254])] == [[Entry(1, content)]] * 2
    assert store.acknowledge(1, 0) == 1
    assert store.filed(keys[254], 2) == []


def test_a_limit_of_nothing_gives_nothing(store: Store) -> None:
    committed(store, change({}, {}, under=(CUSTOMER,), queue={KEY: 1}))
    assert store.entries(0, 0) == store.filed(CUSTOMER, 0) == store.queue(0) == []


def test_a_change_that_no_store_can_keep_is_not_made() -> None:
    with pytest.raises(ValueError, match="without an entry would never reach the warehouse"):
        Change({}, {}, 0, [])
    for under in ((b"short",), (key(1), b""), tuple(key(n) for n in range(256))):
        with pytest.raises(ValueError, match="give at most 255, each of 16 bytes"):
            Change({}, {}, 0, [NewEntry(b""), NewEntry(b"", under)])


def test_acknowledged_entries_go_but_for_the_newest(store: Store, other: Store) -> None:
    for number in range(1, 11):
        append(store, number, (CUSTOMER,))
    assert store.acknowledge(6, keep=2) == 4
    assert other.acknowledged() == 6
    assert other.entries(0, 100) == numbered(*range(5, 11))
    assert other.filed(CUSTOMER, 100) == numbered(*range(10, 4, -1))
    assert other.last_sequence() == 10
    assert store.acknowledge(6, keep=2) == 0
    assert store.acknowledge(6, keep=0) == 2
    assert other.entries(0, 100) == numbered(7, 8, 9, 10)


def test_more_may_be_kept_than_there_is(store: Store) -> None:
    append(store, 1)
    assert store.acknowledge(1, keep=2**62) == 0
    assert (store.acknowledged(), store.entries(0, 10)) == (1, numbered(1))


def test_what_was_acknowledged_never_goes_back(store: Store) -> None:
    for number in range(1, 6):
        append(store, number)
    store.acknowledge(4, keep=4)
    for through in (3, 0, -1):
        assert store.acknowledge(through, keep=4) == 0
        assert store.acknowledged() == 4
    assert store.acknowledge(2, keep=1) == 3  # of what the warehouse has, whoever says so
    assert store.entries(0, 10) == numbered(4, 5)


def test_what_is_beyond_the_end_is_not_acknowledged_before_it_is_there(store: Store, other: Store) -> None:
    assert store.acknowledge(1000, keep=0) == 0
    assert store.acknowledged() == 0
    append(store, 1)
    assert store.acknowledge(1000, keep=0) == 1
    assert store.acknowledged() == 1
    assert append(other, 2) == 2
    assert store.acknowledge(1, keep=0) == 0
    assert store.entries(0, 10) == numbered(2)


def test_sequences_go_on_after_the_outbox_was_emptied(place: Place) -> None:
    with closing(place.open()) as store:
        append(store, 1)
        committed(store, Change({}, {}, 0, [NewEntry(b"2"), NewEntry(b"3")]))
        assert store.acknowledge(3, keep=0) == 3
        assert store.entries(0, 10) == []
        assert store.last_sequence() == 3
    with closing(place.open()) as store:
        assert (store.last_sequence(), store.acknowledged()) == (3, 3)
        assert append(store, 4) == 4
        assert store.entries(0, 10) == numbered(4)


def test_a_rebuild_is_published_after_the_outbox_was_emptied(store: Store) -> None:
    append(store, 1)
    store.acknowledge(1, keep=0)
    with store.rebuild() as rebuild:
        assert not rebuild.publish("fingerprint", 0)
        assert rebuild.publish("fingerprint", 1)
    assert store.last_sequence() == 1


def test_records_and_queue_outlive_their_entries(store: Store) -> None:
    committed(store, change({KEY: b"r"}, {KEY: b"s"}, under=(CUSTOMER,), queue={KEY: 5}))
    store.acknowledge(1, keep=0)
    assert values(store, [KEY], [KEY]) == ([b"r"], [b"s"])
    assert store.queue(10) == [KEY]


def test_a_state_that_was_read_before_the_outbox_was_emptied_has_not_changed(store: Store) -> None:
    commit(store, {}, {KEY: b"s"})
    snapshot = store.read([], [KEY])
    store.acknowledge(1, keep=0)
    assert store.commit(snapshot, change({}, {KEY: b"t"})) == 2


@pytest.mark.parametrize("keep", [0, 1, 700])
def test_a_long_outbox_is_removed_in_steps(store: Store, keep: int) -> None:
    """More entries than one step takes, in commits of many sizes."""
    sequence = 0
    for size in (1, 500, 3, 1_500, 499):
        entries = [NewEntry(b"%d" % (sequence + n + 1), (CUSTOMER, key(n + 100))) for n in range(size)]
        sequence = committed(store, Change({}, {}, 0, entries))
    assert store.acknowledge(2_400, keep) == 2_400 - keep
    assert store.entries(0, 10_000) == numbered(*range(2_401 - keep, sequence + 1))
    assert store.filed(CUSTOMER, 10_000) == numbered(*range(sequence, 2_400 - keep, -1))
    assert held_filings(store) == 2 * (sequence - 2_400 + keep)


def test_a_negative_number_of_entries_cannot_be_kept(store: Store) -> None:
    append(store, 1)
    with pytest.raises(ValueError, match="give 0 or more"):
        store.acknowledge(1, keep=-1)
    assert (store.acknowledged(), store.last_sequence()) == (0, 1)


def test_commits_go_on_while_another_acknowledges(store: Store, other: Store) -> None:
    """Sequences stay without a gap, and nothing that was not acknowledged is gone."""
    committed(store, Change({}, {}, 0, [NewEntry(b"", (CUSTOMER,)) for _ in range(5_000)]))
    removed: list[int] = []
    thread = threading.Thread(target=lambda: removed.append(other.acknowledge(2**62, keep=0)))
    thread.start()
    committed_meanwhile = [append(store, 0, (CUSTOMER,)) for _ in range(100)]
    thread.join()
    assert committed_meanwhile == list(range(5_001, 5_101))
    left = store.entries(0, 10_000)
    assert [entry.sequence for entry in left] == list(range(removed[0] + 1, 5_101))
    assert store.filed(CUSTOMER, 10_000) == left[::-1]
    assert store.acknowledged() == removed[0] >= 5_000


def test_two_that_acknowledge_at_once_remove_each_entry_once(store: Store, other: Store) -> None:
    committed(store, Change({}, {}, 0, [NewEntry(b"", (CUSTOMER,)) for _ in range(5_000)]))
    removed: list[int] = []
    threads = [
        threading.Thread(target=lambda client=client: removed.append(client.acknowledge(4_990, keep=0)))
        for client in (store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(removed) == 4_990
    assert [entry.sequence for entry in store.entries(0, 100)] == list(range(4_991, 5_001))


def test_a_store_keeps_its_identity(place: Place) -> None:
    with closing(place.open()) as store:
        identity = store.identity()
        assert len(identity) == 32
        assert int(identity, 16) >= 0
        append(store, 1)
        with store.rebuild() as rebuild:
            assert rebuild.publish("fingerprint", 1)
        store.acknowledge(1, keep=0)
        assert store.identity() == identity
    with closing(place.open()) as store:
        assert store.identity() == identity
