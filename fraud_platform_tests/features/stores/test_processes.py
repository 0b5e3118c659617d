"""Several processes on one store, some of which are killed: nothing is lost, nothing is there by halves."""

import itertools
import multiprocessing
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

import pytest

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Change, NewEntry, Store
from fraud_platform.features.stores.batches import BATCH
from fraud_platform_tests.features.stores.counting import count_up, counted
from fraud_platform_tests.features.stores.places import Place, change, held_filings, held_states, key, values
from fraud_platform_tests.features.stores.redis_server import PATIENCE

pytestmark = pytest.mark.slow

SPAWN = multiprocessing.get_context("spawn")
COUNTERS = 5
KEY = key(1)


@contextmanager
def running(target: Callable[..., None], *arguments: Any) -> Iterator[tuple[SpawnProcess, Connection]]:
    """A process that opens the store for itself, and our end of the pipe that it reports through."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()  # the pipe ends when the process does
    try:
        yield process, cast(Connection, ours)
    finally:
        process.kill()
        process.join()
        ours.close()


def received(pipe: Connection) -> int:
    assert pipe.poll(PATIENCE), "the other process reports nothing"
    return pipe.recv()


def rest(pipe: Connection) -> list[int]:
    """All that was reported and not received, to the end of the process."""
    reported = []
    while pipe.poll(PATIENCE):
        try:
            reported.append(pipe.recv())
        except EOFError:
            return reported
    raise AssertionError("the other process goes on")


def count_pairs(place: Place, seed: int, times: int, pipe: Connection) -> None:
    """Count two of the counters up in each commit, whoever else does; report its sequence."""
    chance = random.Random(seed)
    with closing(place.open()) as store:
        for _ in range(times):
            pair = [key(number) for number in chance.sample(range(COUNTERS), 2)]
            sequence = None
            while sequence is None:
                snapshot = store.read([], pair)
                states = {name: b"%d" % (int(state or b"0") + 1) for name, state in snapshot.states.items()}
                sequence = store.commit(snapshot, change({}, states, 0, b"".join(pair)))
            pipe.send(sequence)


def test_processes_on_the_same_keys_lose_nothing(place: Place, store: Store) -> None:
    times = 1_000
    with running(count_pairs, place, 1, times) as (_, first), running(count_pairs, place, 2, times) as (_, second):
        reported = [*rest(first), *rest(second)]
    entries = store.entries(0, 10_000)
    assert sorted(reported) == [entry.sequence for entry in entries] == list(range(1, 2 * times + 1))
    counts = Counter(number for entry in entries for number in (entry.content[:16], entry.content[16:]))
    assert counts.total() == 4 * times
    names = [key(number) for number in range(COUNTERS)]
    assert values(store, [], names)[1] == [b"%d" % counts[name] for name in names]


def count_for_ever(place: Place, pipe: Connection) -> None:
    with closing(place.open()) as store:
        while True:
            pipe.send(count_up(store))


def test_a_process_killed_while_it_commits(place: Place, store: Store) -> None:
    """What it reported is there, and at most one commit more.

    LMDB may show that one only when somebody writes, who then has to read again.
    """
    total = 0
    for commits in (1, 50, 333):
        with running(count_for_ever, place) as (process, pipe):
            reported = [received(pipe) for _ in range(commits)]
            process.kill()
            reported += rest(pipe)
            process.join()
            assert process.exitcode == -signal.SIGKILL
        assert reported == list(range(total + 1, total + len(reported) + 1))
        ours = [sequence for sequence in (count_up(store), count_up(store)) if sequence is not None]
        before, total = total, counted(store)
        assert total - before - len(reported) - len(ours) in (0, 1)


def append_and_acknowledge(place: Place, pipe: Connection) -> None:
    """Report the last sequence just before all but the newest ten entries are acknowledged, and five of those kept."""
    with closing(place.open()) as store:
        while True:
            entries = [NewEntry(b"%d" % n, (KEY, key(2 + n % 3))) for n in range(3_000)]
            last = store.commit(store.read([], []), Change({}, {}, 0, entries))
            assert last is not None
            pipe.send(last)
            store.acknowledge(last - 10, keep=5)


def test_a_process_killed_while_it_acknowledges(place: Place, store: Store) -> None:
    """No entry is there without its filings and no filing without its entry, and the next one goes on."""
    for rounds in (1, 2, 1, 3):
        with running(append_and_acknowledge, place) as (process, pipe):
            reported = [received(pipe) for _ in range(rounds)]
            process.kill()
            reported += rest(pipe)
        store.read([], [])  # Redis has carried out by now what was sent before
        acknowledged, last = store.acknowledged(), store.last_sequence()
        assert acknowledged in {0, *(sequence - 10 for sequence in reported), reported[0] - 3_000 - 10}
        left = store.entries(0, 10_000)
        assert [entry.sequence for entry in left] == list(range(last - len(left) + 1, last + 1))
        assert len(left) >= last - acknowledged + 5 * (acknowledged > 0)
        assert store.filed(KEY, 10_000) == left[::-1]
        assert held_filings(store) == 2 * len(left)
        assert store.acknowledge(last - 10, keep=5) == len(left) - 15
        assert held_filings(store) == 2 * 15


def rebuild_for_ever(place: Place, pipe: Connection) -> None:
    """Publish every other rebuild, each with states of its own number only."""
    with closing(place.open()) as store:
        for number in itertools.count(1):
            with store.rebuild() as rebuild:
                rebuild.put((key(n), 0, b"%d" % number) for n in range(BATCH + 500))
                if number % 2:
                    assert rebuild.publish(f"catalog {number}", 0)
            pipe.send(number)


def test_a_process_killed_while_it_rebuilds(place: Place, store: Store) -> None:
    """Whatever it left, what serves is whole."""
    names = [key(number) for number in range(BATCH + 500)]
    for rebuilds in (0, 1, 2, 7):
        with running(rebuild_for_ever, place) as (process, pipe):
            for _ in range(rebuilds):
                received(pipe)
            process.kill()
            rest(pipe)
            process.join()
        store.read([], [])  # Redis has carried out by now what was sent before
        found = set(values(store, [], names)[1])
        fingerprint = store.fingerprint()
        assert len(found) == 1
        assert found == {fingerprint and fingerprint.removeprefix("catalog ").encode()}
        assert rebuilds == 0 or fingerprint is not None


def begin_to_rebuild(place: Place, pipe: Connection) -> None:
    with closing(place.open()) as store, store.rebuild() as rebuild:
        pipe.send(rebuild.put((key(n), 0, b"") for n in range(BATCH + 500)))
        signal.pause()


def test_what_a_killed_rebuild_left_is_removed_by_the_next(place: Place, store: Store) -> None:
    with running(begin_to_rebuild, place) as (_, pipe):
        assert received(pipe) == BATCH + 500
    assert held_states(store) == BATCH + 500
    with store.rebuild() as rebuild:
        assert held_states(store) == 0
        assert rebuild.get([KEY]) == [None]
        rebuild.put([(KEY, 0, b"s")])
        assert rebuild.publish("fingerprint", 0)
    assert values(store, [], [KEY])[1] == [b"s"]


def rebuild_until_refused(place: Place, pipe: Connection) -> None:
    with suppress(StoreError):
        rebuild_for_ever(place, pipe)


def test_processes_that_rebuild_at_once(place: Place, store: Store) -> None:
    """The later of two goes on; the earlier ends with an error, and has destroyed nothing."""
    with running(rebuild_until_refused, place) as (_, first), running(rebuild_until_refused, place) as (_, second):
        going_on = [first, second]
        while len(going_on) == 2:
            for pipe in wait(going_on, PATIENCE):
                try:
                    received(cast(Connection, pipe))
                except EOFError:
                    going_on.remove(cast(Connection, pipe))
        for _ in range(4):
            received(going_on[0])
    found = set(values(store, [], [key(number) for number in range(BATCH + 500)])[1])
    assert found == {(store.fingerprint() or "").removeprefix("catalog ").encode()}
