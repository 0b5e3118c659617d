"""A Redis that is killed, that does not answer in time, or that refuses: clear errors, and nothing by halves."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import pytest
import redis

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Change, NewEntry
from fraud_platform.features.stores.redis.rebuild import RedisRebuild
from fraud_platform_tests.features.stores.counting import KEY, count_up, counted, counting
from fraud_platform_tests.features.stores.places import (
    NAMESPACE,
    change,
    commit,
    committed,
    held_filings,
    held_states,
    key,
    opened,
    values,
)
from fraud_platform_tests.features.stores.redis_server import PATIENCE, RedisServer

pytestmark = pytest.mark.redis

SHORT = "?socket_timeout=0.2"


def test_a_read_goes_on_after_a_restart(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store:
        assert count_up(store) == 1
        own_redis.stop()
        own_redis.start()
        assert counted(store) == 1


def test_killed_between_read_and_commit(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store:
        count_up(store)
        snapshot = store.read([], [KEY])
        own_redis.kill()
        with pytest.raises(StoreError, match=r"It may or may not have been: send the same request again\. Start it"):
            store.commit(snapshot, counting(2))
        with pytest.raises(StoreError, match=r"cannot be read: .*\. Start it, or correct the URL\."):
            store.entries(0, 1)
        own_redis.start()
        assert counted(store) == 1
        assert store.commit(snapshot, counting(2)) == 2
        assert counted(store) == 2


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    """Commands wait in the socket, and are carried out afterwards, whoever has gone."""
    server.freeze()
    yield
    server.thaw()


@contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    """Writes wait in the server, which forgets them when their client goes."""
    with server.client() as client:
        client.client_pause(60_000, all=False)
        yield
        client.client_unpause()


@pytest.mark.parametrize(("halted", "carried_out"), [(frozen, 1), (paused, 0)])
def test_a_commit_without_an_answer(
    own_redis: RedisServer, halted: Callable[[RedisServer], AbstractContextManager[None]], carried_out: int
) -> None:
    with closing(opened(own_redis.url + SHORT)) as store:
        count_up(store)
        snapshot = store.read([], [KEY])
        with halted(own_redis), pytest.raises(StoreError, match=r"written: .*It may or may not have .*socket_timeout="):
            store.commit(snapshot, counting(2))
        assert counted(store) == 1 + carried_out
        # The same request again: where the first was carried out, its snapshot no longer holds.
        again = store.commit(snapshot, counting(2))
        assert again == (None if carried_out else 2)
        assert counted(store) == 2


def test_a_read_without_an_answer(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url + SHORT)) as store:
        with frozen(own_redis), pytest.raises(StoreError, match=r"cannot be read: .*socket_timeout="):
            store.read([], [KEY])
        assert counted(store) == 0


def serve(url: str, answered: SimpleQueue[int]) -> None:
    """Count up until the server is gone."""
    with closing(opened(url)) as store, suppress(StoreError):
        while True:
            if (sequence := count_up(store)) is not None:
                answered.put(sequence)


@pytest.mark.slow
def test_killed_while_clients_commit(own_redis: RedisServer) -> None:
    """What was answered is there; of what was not, each client has at most one, and that whole."""
    total = 0
    with closing(opened(own_redis.url)) as store:
        for _ in range(3):
            queue: SimpleQueue[int] = SimpleQueue()
            clients = [threading.Thread(target=serve, args=(own_redis.url, queue)) for _ in range(2)]
            for client in clients:
                client.start()
            answered = {queue.get(timeout=PATIENCE) for _ in range(200)}
            own_redis.kill()
            for client in clients:
                client.join()
            answered |= {queue.get() for _ in range(queue.qsize())}
            own_redis.start()
            assert {entry.sequence for entry in store.entries(total, 1_000_000)} >= answered
            before, total = total, counted(store)
            assert before + len(answered) <= total <= before + len(answered) + len(clients)


def test_a_rebuild_that_loses_its_server_is_dropped_by_the_next(own_redis: RedisServer) -> None:
    def lose(rebuild: RedisRebuild) -> None:
        with rebuild:
            rebuild.put([(KEY, 0, b"lost")])
            own_redis.kill()
            rebuild.put([(key(2), 0, b"lost")])

    with closing(opened(own_redis.url)) as store:
        with pytest.raises(StoreError, match="cannot be rebuilt"):
            lose(store.rebuild())
        own_redis.start()
        assert held_states(store) == 1
        with store.rebuild() as rebuild:
            rebuild.put([(KEY, 0, b"new")])
            assert rebuild.publish("fingerprint", 0)
        assert values(store, [], [KEY, key(2)]) == ([], [b"new", None])
        assert held_states(store) == 1


@pytest.mark.parametrize("halted", [frozen, paused])
def test_a_publication_without_an_answer(
    own_redis: RedisServer, halted: Callable[[RedisServer], AbstractContextManager[None]]
) -> None:
    """Whether it comes through late or never: the states that serve are whole, and there are no others."""
    with closing(opened(own_redis.url + SHORT)) as store:
        commit(store, {}, {KEY: b"old"})
        with store.rebuild() as rebuild:
            rebuild.put([(KEY, 0, b"new")])
            with halted(own_redis), pytest.raises(StoreError, match="It may or may not have been: rebuild it again"):
                rebuild.publish("fingerprint", 1)
        published = store.fingerprint() == "fingerprint"
        assert values(store, [], [KEY])[1] == [b"new" if published else b"old"]
        assert held_states(store) == 1 + published  # the next rebuild removes what this one replaced


def full(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "1mb")


def a_replica(server: RedisServer) -> None:
    with server.client() as client:
        client.replicaof("127.0.0.1", 1)


def somebody_elses(name: str) -> Callable[[RedisServer], None]:
    """What happens when another program writes to one of our keys."""

    def out_of_place(server: RedisServer) -> None:
        with server.client() as client:
            at = f"{{{NAMESPACE}}}:{name}".encode() + KEY * (name == "filed:")
            assert client.delete(at) == 1
            client.set(at, "somebody's")

    return out_of_place


@pytest.mark.parametrize(
    ("happens", "fix"),
    [
        (full, "Raise its maxmemory"),
        (a_replica, "URL of the primary"),
        *(
            (somebody_elses(name), "nothing else uses the keys")
            for name in ("sequence", "outbox", "filed:", "queue", "priorities")
        ),
    ],
)
def test_a_commit_that_is_refused_writes_nothing(
    own_redis: RedisServer, happens: Callable[[RedisServer], None], fix: str
) -> None:
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        count_up(store)
        happens(own_redis)
        before = {name: client.dump(name) for name in client.scan_iter()}
        with pytest.raises(StoreError, match=rf"cannot be written: .*{fix}"):
            count_up(store)
        assert values(store, [key(1), key(2)], [KEY]) == ([b"r" * 300, None], [b"1"])
        after = {name: client.dump(name) for name in client.scan_iter()}
        assert after == before


def test_a_full_server_makes_room_when_the_warehouse_has_its_entries(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        for number in range(500):
            committed(store, change({}, {}, entry=b"e" * 10_000, under=(key(number), KEY)))
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        with pytest.raises(StoreError, match="Raise its maxmemory"):
            count_up(store)
        assert len(store.filed(KEY, 1_000)) == 500
        assert store.acknowledge(500, keep=10) == 490
        assert store.acknowledged() == 500
        assert count_up(store) == 501


@pytest.mark.parametrize("halted", [frozen, paused])
def test_an_acknowledgement_without_an_answer(
    own_redis: RedisServer, halted: Callable[[RedisServer], AbstractContextManager[None]]
) -> None:
    """Whether it was carried out or not, it can be sent again."""
    with closing(opened(own_redis.url + SHORT)) as store:
        for _ in range(5):
            committed(store, change({}, {}, under=(KEY,)))
        with halted(own_redis), pytest.raises(StoreError, match=r"cannot be (cut|read): "):
            store.acknowledge(4, keep=1)
        removed = 5 - len(store.entries(0, 10))
        assert (store.acknowledged(), removed) in ((0, 0), (4, 3))
        assert store.acknowledge(4, keep=1) == 3 - removed
        assert [entry.sequence for entry in store.filed(KEY, 10)] == [5, 4]
        assert held_filings(store) == 2


def test_killed_while_a_client_acknowledges(own_redis: RedisServer) -> None:
    """At any moment: each entry is there with its filings, or gone with them."""
    entries = [NewEntry(b"%d" % n, (KEY, key(n))) for n in range(1, 5_001)]
    with closing(opened(own_redis.url)) as store:
        committed(store, Change({}, {}, 0, entries))
        own_redis.kill()
        with pytest.raises(StoreError, match="cannot be read"):
            store.acknowledge(5_000, keep=0)
        own_redis.start()
        with ThreadPoolExecutor(1) as pool:
            acknowledging = pool.submit(store.acknowledge, 4_900, 0)
            while not store.acknowledged() and not acknowledging.done():
                pass
            own_redis.kill()
            assert acknowledging.exception() is None or isinstance(acknowledging.exception(), StoreError)
        own_redis.start()
        assert store.acknowledged() == 4_900
        left = store.entries(0, 5_000)
        assert store.filed(KEY, 5_000) == left[::-1]
        assert held_filings(store) == 2 * len(left)
        assert store.acknowledge(4_900, keep=0) == len(left) - 100


def test_a_publication_that_arrives_after_all_was_dropped_comes_to_nothing(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_way: list[tuple[Any, ...]] = []

    def lose(*sent: Any) -> None:
        on_its_way.append(sent)
        raise redis.TimeoutError

    with closing(opened(own_redis.url)) as store:
        commit(store, {}, {KEY: b"old"})
        with store.rebuild() as rebuild:
            publish = rebuild._publish
            monkeypatch.setattr(rebuild, "_publish", lose)
            rebuild.put([(KEY, 0, b"new")])
            with pytest.raises(StoreError, match="It may or may not have been: rebuild it again"):
                rebuild.publish("fingerprint", 1)
        assert held_states(store) == 1
        assert publish(*on_its_way[0]) is None
        assert (store.fingerprint(), values(store, [], [KEY])[1]) == (None, [b"old"])
