"""The queue: what waits for a person, the highest priority first."""

import random
from collections.abc import Mapping

import pytest

from fraud_platform.features.stores import Change, NewEntry, Store
from fraud_platform_tests.features.stores.places import change, committed, key, values

A, B, C, D = (key(number) for number in range(4))
HIGHEST = 2**62


def queue(store: Store, changes: Mapping[bytes, int | None]) -> None:
    committed(store, change({}, {}, queue=changes))


def test_the_highest_priority_comes_first(store: Store, other: Store) -> None:
    queue(store, {A: 5, B: 700, C: 0})
    queue(other, {D: 6})
    assert store.queue(10) == [B, D, A, C]
    assert other.queue(2) == [B, D]
    assert store.waiting() == 4


def test_equal_priorities_come_in_the_order_of_the_keys(store: Store) -> None:
    keys = [key(n << 64 | 0xFF) for n in range(20)]
    for name in random.Random(1).sample(keys, len(keys)):
        queue(store, {name: 300})
    assert store.queue(100) == keys


@pytest.mark.parametrize("lower", [0, 255, 2**31, 2**53, 2**53 + 1, HIGHEST - 1])
def test_priorities_that_differ_by_one_are_in_order(store: Store, lower: int) -> None:
    queue(store, {A: lower, B: lower + 1})
    assert store.queue(10) == [B, A]
    queue(store, {A: HIGHEST, C: 0})
    assert store.queue(1) == [A]
    assert store.queue(10) == [A, B, C]


def test_what_waits_moves_to_its_new_priority(store: Store) -> None:
    queue(store, {A: 1, B: 2})
    queue(store, {A: 3})
    assert (store.queue(10), store.waiting()) == ([A, B], 2)
    queue(store, {A: 0, B: 0})
    assert (store.queue(10), store.waiting()) == ([A, B], 2)
    queue(store, {A: 0})
    assert (store.queue(10), store.waiting()) == ([A, B], 2)


def test_what_no_longer_waits_is_gone(store: Store, other: Store) -> None:
    queue(store, {A: 1, B: 2, C: 3})
    queue(other, {B: None, A: 4})
    assert (store.queue(10), store.waiting()) == ([A, C], 2)
    queue(store, {A: None, C: None})
    assert (store.queue(10), store.waiting()) == ([], 0)
    queue(store, {B: 0})
    assert (store.queue(10), store.waiting()) == ([B], 1)


def test_taking_off_what_does_not_wait_changes_nothing(store: Store) -> None:
    queue(store, {A: None})
    assert (store.queue(10), store.waiting()) == ([], 0)
    queue(store, {A: 1})
    queue(store, {B: None})
    queue(store, {A: None})
    queue(store, {A: None})
    assert (store.queue(10), store.waiting()) == ([], 0)


def test_what_waits_need_not_have_been_read_or_written(store: Store) -> None:
    snapshot = store.read([A], [])
    assert store.commit(snapshot, Change({A: b"r"}, {}, 0, [NewEntry(b"")], {B: 1})) == 1
    assert store.queue(10) == [B]
    assert values(store, [A, B], [])[0] == [b"r", None]


@pytest.mark.parametrize("number", [0, 0x2A5B5D3F5C << 80, 2**128 - 1, 0x0A0D << 64])
def test_any_sixteen_bytes_wait(store: Store, number: int) -> None:
    queue(store, {key(number): 2**40})
    assert store.queue(10) == [key(number)]
    queue(store, {key(number): None})
    assert store.waiting() == 0


@pytest.mark.parametrize("priority", [-1, HIGHEST + 1])
def test_a_priority_out_of_range_is_refused(priority: int) -> None:
    with pytest.raises(ValueError, match=r"cannot wait with priority .*0 to 2\^62"):
        change({}, {}, queue={A: priority})


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="give a key of 16 bytes"):
        change({}, {}, queue={b"a": None})


def test_a_queue_is_what_sorting_gives(store: Store) -> None:
    chance = random.Random(7)
    naive: dict[bytes, int] = {}
    for _ in range(60):
        changes = {
            key(chance.randrange(40)): chance.choice([None, 0, 1, chance.randrange(HIGHEST)])
            for _ in range(chance.randrange(1, 8))
        }
        queue(store, changes)
        naive |= {name: priority for name, priority in changes.items() if priority is not None}
        naive = {name: priority for name, priority in naive.items() if changes.get(name, 0) is not None}
        ordered = sorted(naive, key=lambda name: (-naive[name], name))
        limit = chance.randrange(50)
        assert store.queue(limit) == ordered[:limit]
        assert store.waiting() == len(naive)
