"""What only Redis does: one command for each call, states that go by themselves, namespaces, URLs."""

import socket
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Change, NewEntry
from fraud_platform.features.stores.batches import BATCH
from fraud_platform.features.stores.redis import RedisStore
from fraud_platform_tests.features.stores.counting import KEY, count_up, counted
from fraud_platform_tests.features.stores.places import (
    DAY_US,
    NAMESPACE,
    Place,
    change,
    commit,
    committed,
    held_states,
    key,
    opened,
    values,
)
from fraud_platform_tests.features.stores.redis_server import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    with closing(opened(redis_server.url, f"{NAMESPACE} {uuid4()}")) as store:
        yield store


def test_states_go_after_their_lifetime_and_records_stay(store: RedisStore) -> None:
    commit(store, {KEY: b"r"}, {KEY: b"s"})
    with store.rebuild() as rebuild:
        rebuild.put([(key(2), 0, b"s")])
        rebuild.record([(key(2), b"r")])
        assert rebuild.publish("fingerprint", 1)
    commit(store, {}, {KEY: b"s"})
    names = store._connection
    lifetimes = {name: store._client.pttl(name) for name in names.scan(names.tag)}
    assert {name: 0 < lifetime <= DAY_US // 1000 for name, lifetime in lifetimes.items()} == {
        name: name.startswith(names.state_prefix) for name in lifetimes
    }
    assert len(lifetimes) == 2 + 2 + 4
    assert min(lifetime for lifetime in lifetimes.values() if lifetime > 0) > DAY_US // 1000 - 60_000
    assert store.expire(before_us=1 << 60) == 0
    assert held_states(store) == 2


def test_a_state_that_went_was_changed(store: RedisStore) -> None:
    commit(store, {}, {KEY: b"s"})
    snapshot = store.read([], [KEY])
    assert store._client.delete(store._connection.states_of(b"") + KEY) == 1
    assert store.commit(snapshot, change({}, {KEY: b"t"}, 0, b"")) is None
    commit(store, {}, {KEY: b"s"})
    assert store.commit(snapshot, change({}, {KEY: b"t"}, 0, b"")) is None


def test_namespaces_do_not_see_each_other(store: RedisStore, redis_server: RedisServer) -> None:
    committed(store, change({KEY: b"r"}, {KEY: b"s"}, under=(KEY,), queue={KEY: 1}))
    with closing(opened(redis_server.url, f"another {uuid4()}")) as other:
        assert (other.filed(KEY, 9), other.queue(9), other.waiting(), other.last_sequence()) == ([], [], 0, 0)
        assert other.identity() != store.identity()
        assert values(other, [KEY], [KEY]) == ([None], [None])
        with other.rebuild() as rebuild:
            assert rebuild.publish("theirs", 0)
    assert store.fingerprint() is None
    assert values(store, [KEY], [KEY]) == ([b"r"], [b"s"])


def test_all_keys_of_a_namespace_have_one_hash_tag(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        count_up(store)
        with store.rebuild() as rebuild:
            rebuild.put([(KEY, 0, b"s")])
            rebuild.publish("fingerprint", 1)
        store.acknowledge(1, keep=1)
        store.identity()
        assert {name.partition(b"}")[0] for name in client.scan_iter()} == {b"{" + NAMESPACE.encode()}


@pytest.mark.parametrize("size", [1, BATCH, 2 * BATCH + 1])
def test_old_states_are_removed_in_batches(store: RedisStore, size: int) -> None:
    with store.rebuild() as rebuild:
        rebuild.put((key(n), 0, b"") for n in range(size))
        assert rebuild.publish("old", 0)
    with store.rebuild() as rebuild:
        assert rebuild.publish("new", 0)
    assert held_states(store) == 0


@pytest.mark.parametrize("entries", [1, 3])
def test_a_read_is_one_command_and_a_commit_is_one(own_redis: RedisServer, entries: int) -> None:
    appended = [NewEntry(b"e", (key(n), KEY)) for n in range(entries)]
    changed = Change({KEY: b"r"}, {KEY: b"t"}, 0, appended, {KEY: 1, key(2): None})
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        commit(store, {}, {KEY: b"s"})
        client.config_resetstat()
        committed(store, changed)
        calls = {name: figures["calls"] for name, figures in client.info("commandstats").items()}
        assert calls["cmdstat_mget"] == calls["cmdstat_evalsha"] == 1
        assert {"cmdstat_eval", "cmdstat_script|load"}.isdisjoint(calls)


def test_a_server_that_forgot_the_script_is_told_it_again(own_redis: RedisServer) -> None:
    with closing(opened(own_redis.url)) as store, own_redis.client() as client:
        assert count_up(store) == 1
        client.script_flush()
        assert count_up(store) == 2
        client.script_flush()
        assert counted(store) == 2
        client.script_flush()
        assert store.acknowledge(2, keep=0) == 2


def test_nothing_is_left_of_what_was_drained_and_decided(store: RedisStore) -> None:
    """What bounds the namespace: no filing without its entry, and no queue where nothing waits."""
    for number in range(30):
        committed(store, change({}, {}, under=(key(number), KEY), queue={key(number): number}))
    committed(store, Change({}, {}, 0, [NewEntry(b"")], {key(number): None for number in range(30)}))
    store.acknowledge(31, keep=0)
    names = store._connection
    present = {name.removeprefix(names.tag): names.client.type(name) for name in names.scan(names.tag)}
    assert present == {b"sequence": b"string", b"acknowledged": b"string", b"outbox": b"stream"}
    assert names.client.xlen(names.outbox) == 0


def test_a_namespace_that_was_cleared_has_another_identity(store: RedisStore) -> None:
    before = store.identity()
    count_up(store)
    store.acknowledge(1, keep=0)
    store.clear()
    assert store.identity() != before
    assert (store.last_sequence(), store.acknowledged()) == (0, 0)
    assert store.acknowledge(1, keep=0) == 0
    assert count_up(store) == 1
    assert counted(store) == 1


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
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with own_redis.client() as client:
        client.config_set("port", port)
        with closing(Place(f"redis://127.0.0.1:{port}/0").open()) as store:
            assert commit(store, {KEY: b"r"}, {KEY: b"s"}) == 1


def test_clearing_a_namespace_leaves_the_others(redis_server: RedisServer) -> None:
    with closing(opened(redis_server.url, "clear*")) as cleared, closing(opened(redis_server.url, "cleared")) as kept:
        assert count_up(cleared) == count_up(kept) == 1
        cleared.clear()
        assert (counted(cleared), counted(kept)) == (0, 1)
