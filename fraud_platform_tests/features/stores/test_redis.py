"""What only Redis does: let states go by themselves, and fail while it is asked."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from queue import SimpleQueue
from uuid import uuid4

import pytest

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.batches import BATCH
from fraud_platform.features.stores.redis import RedisRebuild, RedisStore
from fraud_platform_tests.features.stores.places import DAY_US, NAMESPACE, Place, commit, held_states, key, values
from fraud_platform_tests.features.stores.redis_server import PATIENCE, RedisServer

pytestmark = pytest.mark.redis

SHORT = "?socket_timeout=0.2"
KEY = key(1)


def opened(url: str, namespace: str = NAMESPACE) -> RedisStore:
    return RedisStore(url, namespace, DAY_US)


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    with closing(opened(redis_server.url, f"{NAMESPACE} {uuid4()}")) as store:
        yield store


def count_up(store: RedisStore) -> int | None:
    """One commit that keeps its number in a record of its own, in a state and in its entry."""
    snapshot = store.read([], [KEY])
    number = int(snapshot.states[KEY] or b"0") + 1
    return store.commit(snapshot, {key(number): b"r"}, {KEY: b"%d" % number}, 0, b"%d" % number)


def counted(store: RedisStore) -> int:
    """How many commits there were, if all they wrote is there once."""
    entries = store.entries(0, 1_000_000)
    total = len(entries)
    assert [int(entry.content) for entry in entries] == list(range(1, total + 1))
    assert [entry.sequence for entry in entries] == sorted({entry.sequence for entry in entries})
    records, states = values(store, [key(number) for number in range(1, total + 2)], [KEY])
    assert records == [b"r"] * total + [None]
    assert states == [b"%d" % total if total else None]
    return total


def test_states_go_after_their_lifetime_and_records_stay(store: RedisStore) -> None:
    commit(store, {KEY: b"r"}, {KEY: b"s"})
    with store.rebuild() as rebuild:
        rebuild.put([(key(2), 0, b"s")])
        rebuild.record([(key(2), b"r")])
        assert rebuild.publish("fingerprint", 1)
    commit(store, {}, {KEY: b"s"})
    tag = store._outbox_key.removesuffix(b"outbox")
    lifetimes = {name: store._client.pttl(name) for name in store._client.scan_iter(count=1000) if name.startswith(tag)}
    assert {name: 0 < lifetime <= DAY_US // 1000 for name, lifetime in lifetimes.items()} == {
        name: name.startswith(store._state_prefix) for name in lifetimes
    }
    assert len(lifetimes) == 2 + 2 + 4
    assert min(lifetime for lifetime in lifetimes.values() if lifetime > 0) > DAY_US // 1000 - 60_000
    assert store.expire(before_us=1 << 60) == 0
    assert held_states(store) == 2


def test_a_state_that_went_was_changed(store: RedisStore) -> None:
    commit(store, {}, {KEY: b"s"})
    snapshot = store.read([], [KEY])
    assert store._client.delete(store._states_of(b"") + KEY) == 1
    assert store.commit(snapshot, {}, {KEY: b"t"}, 0, b"") is None
    commit(store, {}, {KEY: b"s"})
    assert store.commit(snapshot, {}, {KEY: b"t"}, 0, b"") is None


def test_namespaces_do_not_see_each_other(store: RedisStore, redis_server: RedisServer) -> None:
    commit(store, {KEY: b"r"}, {KEY: b"s"})
    with closing(opened(redis_server.url, f"another {uuid4()}")) as other:
        assert values(other, [KEY], [KEY]) == ([None], [None])
        with other.rebuild() as rebuild:
            assert rebuild.publish("theirs", 0)
    assert store.fingerprint() is None
    assert values(store, [KEY], [KEY]) == ([b"r"], [b"s"])


def test_all_keys_of_a_namespace_have_one_hash_tag(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        commit(store, {KEY: b"r"}, {KEY: b"s"})
        with store.rebuild() as rebuild:
            rebuild.put([(KEY, 0, b"s")])
            rebuild.publish("fingerprint", 1)
        assert {name.partition(b"}")[0] for name in client.scan_iter()} == {b"{" + NAMESPACE.encode()}


@pytest.mark.parametrize("size", [1, BATCH, 2 * BATCH + 1])
def test_old_states_are_removed_in_batches(store: RedisStore, size: int) -> None:
    with store.rebuild() as rebuild:
        rebuild.put((key(n), 0, b"") for n in range(size))
        assert rebuild.publish("old", 0)
    with store.rebuild() as rebuild:
        assert rebuild.publish("new", 0)
    assert held_states(store) == 0


def test_a_read_is_one_command_and_a_commit_is_one(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        commit(store, {}, {KEY: b"s"})
        client.config_resetstat()
        commit(store, {KEY: b"r"}, {KEY: b"t"})
        calls = {name: figures["calls"] for name, figures in client.info("commandstats").items()}
        assert calls["cmdstat_mget"] == calls["cmdstat_evalsha"] == 1
        assert {"cmdstat_eval", "cmdstat_script|load"}.isdisjoint(calls)


def test_a_server_that_forgot_the_script_is_told_it_again(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        assert count_up(store) == 1
        client.script_flush()
        assert count_up(store) == 2
        assert counted(store) == 2


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
            store.commit(snapshot, {key(2): b"r"}, {KEY: b"2"}, 0, b"2")
        with pytest.raises(StoreError, match=r"cannot be read: .*\. Start it, or correct the URL\."):
            store.entries(0, 1)
        own_redis.start()
        assert counted(store) == 1
        assert store.commit(snapshot, {key(2): b"r"}, {KEY: b"2"}, 0, b"2") == 2
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
            store.commit(snapshot, {key(2): b"r"}, {KEY: b"2"}, 0, b"2")
        assert counted(store) == 1 + carried_out
        # The same request again: where the first was carried out, its snapshot no longer holds.
        again = store.commit(snapshot, {key(2): b"r"}, {KEY: b"2"}, 0, b"2")
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
        assert values(store, [key(1), key(2)], [KEY]) == ([b"r", None], [b"1"])


class Refusal(socketserver.StreamRequestHandler):
    """Answers whatever it is asked with the server's error."""

    def handle(self) -> None:
        while header := self.rfile.readline():
            for _ in range(int(header[1:])):
                self.rfile.read(int(self.rfile.readline()[1:]) + 2)
            self.wfile.write(self.server.reply)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reply", "fix"),
    [
        (b"-LOADING Redis is loading the dataset in memory", "try again when it has"),
        (b"-NOAUTH Authentication required.", "Correct the user and the password"),
        (b"-NOPERM No permissions to access a key", "Let this user run scripts"),
        (b"-MOVED 1234 127.0.0.1:7001", "node of the cluster does not hold the namespace"),
        (b"-MISCONF Errors writing to the AOF file: No space left on device", "No space left on device"),
        (b"-ERR unknown command", "Check that it is Redis 6.2"),
    ],
)
def test_errors_of_the_server_come_with_a_fix(reply: bytes, fix: str) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusal) as server:
        server.reply = reply + b"\r\n"  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with closing(opened(f"redis://127.0.0.1:{server.server_address[1]}/0")) as store:
                with pytest.raises(StoreError, match=fix) as caught:
                    store.read([], [KEY])
                assert "may or may not" not in str(caught.value)
        finally:
            server.shutdown()
            thread.join()


def test_nobody_there_and_no_password_told() -> None:
    with pytest.raises(StoreError, match=r"store at redis://127\.0\.0\.1:1/0 cannot be read") as caught:
        opened("redis://user:secret@127.0.0.1:1/0").fingerprint()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://localhost:99999",
        "redis://localhost/0?socket_timeout=soon",
        "redis://localhost/0?colour=red",
    ],
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    with pytest.raises(StoreError, match="URL of Redis cannot be used"):
        opened(url)


@pytest.mark.parametrize("namespace", ["", "a{b}", "}"])
def test_a_namespace_that_cannot_be_used(namespace: str) -> None:
    with pytest.raises(StoreError, match="without braces"):
        opened("redis://localhost", namespace)


def test_a_lifetime_is_never_nothing(redis_server: RedisServer) -> None:
    with closing(RedisStore(redis_server.url, str(uuid4()), lifetime_us=0)) as store:
        assert commit(store, {KEY: b"r"}, {KEY: b"s"}) == 1


def test_a_place_can_be_reached_by_port(own_redis: RedisServer) -> None:
    """The Unix socket of the other tests is not what production uses."""
    with own_redis.client() as client, socketserver.TCPServer(("127.0.0.1", 0), Refusal) as unused:
        port = unused.server_address[1]
        unused.server_close()
        client.config_set("port", port)
        with closing(Place(f"redis://127.0.0.1:{port}/0").open()) as store:
            assert commit(store, {KEY: b"r"}, {KEY: b"s"}) == 1


def test_clearing_a_namespace_leaves_the_others(redis_server: RedisServer) -> None:
    with closing(opened(redis_server.url, "clear*")) as cleared, closing(opened(redis_server.url, "cleared")) as kept:
        assert count_up(cleared) == count_up(kept) == 1
        cleared.clear()
        assert (counted(cleared), counted(kept)) == (0, 1)
