"""A Redis that is killed, that does not answer in time, or that refuses: clear errors, and nothing by halves."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import pytest
import redis

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.redis import RedisRebuild
from fraud_platform_tests.features.stores.counting import KEY, count_up, counted, counting
from fraud_platform_tests.features.stores.places import NAMESPACE, change, commit, held_states, key, opened, values
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


def out_of_place(server: RedisServer) -> None:
    with server.client() as client:
        client.delete(f"{{{NAMESPACE}}}:outbox")
        client.set(f"{{{NAMESPACE}}}:outbox", "somebody's")


@pytest.mark.parametrize(
    ("happens", "fix"),
    [(full, "Raise its maxmemory"), (a_replica, "URL of the primary"), (out_of_place, "nothing else uses the keys")],
)
def test_a_commit_that_is_refused_writes_nothing(
    own_redis: RedisServer, happens: Callable[[RedisServer], None], fix: str
) -> None:
    with closing(opened(own_redis.url)) as store:
        count_up(store)
        happens(own_redis)
        with pytest.raises(StoreError, match=rf"cannot be written: .*{fix}"):
            count_up(store)
        assert values(store, [key(1), key(2)], [KEY]) == ([b"r" * 300, None], [b"1"])


class Scripted(socketserver.StreamRequestHandler):
    """Answers each command with the next of the server's replies, the last for ever; hangs up where it is None."""

    def handle(self) -> None:
        replies: list[bytes | None] = self.server.replies  # type: ignore[attr-defined]
        while header := self.rfile.readline():
            command = [self.rfile.read(int(self.rfile.readline()[1:]) + 2) for _ in range(int(header[1:]))]
            if command[0] == b"CLIENT\r\n":  # how the client introduces itself
                self.wfile.write(b"+OK\r\n")
                continue
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            if reply is None:
                return
            self.wfile.write(reply + b"\r\n")


@contextmanager
def answering(*replies: bytes | None) -> Iterator[str]:
    """The URL of a server that gives these answers."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Scripted) as server:
        server.replies = list(replies)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()


NOTHING = b"*1\r\n$-1"


@pytest.mark.parametrize(
    ("reply", "fix"),
    [
        (b"-LOADING Redis is loading the dataset in memory", "try again when it has"),
        (b"-NOAUTH Authentication required.", "Correct the user and the password"),
        (b"-NOPERM No permissions to access a key", "Let this user run scripts"),
        (b"-MOVED 1234 127.0.0.1:7001", "node of the cluster does not hold the namespace"),
        (b"-MISCONF Errors writing to the AOF file: No space left on device", "No space left on device"),
        (b"-ERR unknown command", r"Check that it is Redis 6\.2"),
    ],
)
def test_errors_of_the_server_come_with_a_fix(reply: bytes, fix: str) -> None:
    with answering(NOTHING, reply) as url, closing(opened(url)) as store:
        snapshot = store.read([], [])
        for attempt in (lambda: store.read([], []), lambda: store.commit(snapshot, change({}, {}, 0, b""))):
            with pytest.raises(StoreError, match=fix) as caught:
                attempt()
            assert "may or may not" not in str(caught.value)


def test_a_read_that_loses_its_connection_is_asked_once_more() -> None:
    with answering(None, NOTHING, None) as url, closing(opened(url)) as store:
        assert store.read([], []).states == {}
        with pytest.raises(StoreError, match=r"cannot be read: .*Start it"):
            store.read([], [])


def test_a_commit_that_loses_its_connection_is_not_sent_again() -> None:
    with answering(NOTHING, None, b":1") as url, closing(opened(url)) as store:
        snapshot = store.read([], [])
        with pytest.raises(StoreError, match="It may or may not have been: send the same request again"):
            store.commit(snapshot, change({}, {}, 0, b""))


def test_a_publication_that_arrives_after_all_was_dropped_comes_to_nothing(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_way: list[tuple[Any, ...]] = []

    def lose(*sent: Any) -> None:
        on_its_way.append(sent)
        raise redis.TimeoutError

    with closing(opened(own_redis.url)) as store:
        commit(store, {}, {KEY: b"old"})
        publish = store._publish
        monkeypatch.setattr(store, "_publish", lose)
        with store.rebuild() as rebuild:
            rebuild.put([(KEY, 0, b"new")])
            with pytest.raises(StoreError, match="It may or may not have been: rebuild it again"):
                rebuild.publish("fingerprint", 1)
        assert held_states(store) == 1
        assert publish(*on_its_way[0]) is None
        assert (store.fingerprint(), values(store, [], [KEY])[1]) == (None, [b"old"])
