"""The store for several machines: Redis or Valkey, one round trip to read and one to commit.

What survives depends on the server's settings. With `appendonly yes` and `appendfsync always` an answered
commit survives a power cut; with `everysec` the last second may be lost, answered or not, and with neither
everything is. A failover loses what the replica had not received. `maxmemory-policy` has to be `noeviction`:
anything else throws away records to make room.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Entry, Snapshot
from fraud_platform.features.stores.batches import BATCH, batches

VERSION_BYTES = 8
"""Every record and state begins with its version, the sequence of the commit that wrote it: unlike a count
of its own, it is not used again when a state expires and comes back between a read and its commit."""
NEVER = bytes(VERSION_BYTES)
"""The version of what a rebuild wrote."""

TIMEOUT = 1.5
"""Seconds to connect, and to answer; `?socket_timeout=` in the URL says otherwise."""

# KEYS: generation, sequence, outbox, then what was read, the records to write, the states to write.
# ARGV: generation seen, lifetime in ms, entry, how many were read, how many records, then one for each key:
# the version seen, or what to write. INCR and XADD come first: they alone can fail (no memory, a key of
# another type), and a script that has failed half-way is not undone.
_COMMIT = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return false end
local read, records = tonumber(ARGV[4]), tonumber(ARGV[5])
for i = 1, read do
  if redis.call('GETRANGE', KEYS[3 + i], 0, 7) ~= ARGV[5 + i] then return false end
end
local sequence = redis.call('INCR', KEYS[2])
local version = struct.pack('>I8', sequence)
redis.call('XADD', KEYS[3], string.format('%.0f-0', sequence), 'entry', ARGV[3])
for i = read + 1, #KEYS - 3 do
  if i <= read + records then
    redis.call('SET', KEYS[3 + i], version .. ARGV[5 + i])
  else
    redis.call('SET', KEYS[3 + i], version .. ARGV[5 + i], 'PX', ARGV[2])
  end
end
return sequence
"""

# KEYS: rebuilds, sequence, generation. ARGV: the rebuild's number, through, the new generation.
_PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
if tonumber(redis.call('GET', KEYS[2]) or 0) > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[3], ARGV[3])
return 1
"""

# KEYS: rebuilds. ARGV: the rebuild's number. A publication that is still on its way comes to nothing then.
_GIVE_UP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('INCR', KEYS[1]) end
"""

_LOST = (ConnectionError, TimeoutError)
_REFUSED = (BusyLoadingError, AuthenticationError)
"""Kinds of ConnectionError by which the server says that it did nothing."""
_FIXES: tuple[tuple[type[RedisError], str], ...] = (
    (BusyLoadingError, "It is loading its data: try again when it has."),
    (AuthenticationError, "Correct the user and the password in the URL."),
    (ConnectionError, "Start it, or correct the URL."),
    (TimeoutError, "Find out what keeps it busy, or give it longer: ?socket_timeout= in the URL."),
    (OutOfMemoryError, "Raise its maxmemory."),
    (ReadOnlyError, "This is a replica: give the URL of the primary."),
    (MovedError, "This node of the cluster does not hold the namespace: give the URL of the one."),
    (NoPermissionError, "Let this user run scripts and all commands on the namespace's keys."),
    (RedisError, "Check that it is Redis 6.2, Valkey or newer and that nothing else uses the keys."),
)
"""The first that fits the error counts."""


class _Seen(NamedTuple):
    """The generation, and what was read: physical keys and versions, empty where there was nothing."""

    generation: bytes
    keys: list[bytes]
    versions: list[bytes]


class RedisStore:
    """A store in one Redis. Safe for many processes and threads; nothing is connected before the first call.

    All keys of a namespace have one hash tag, so that a cluster keeps them together on one node.

    Args:
        url: redis://user:password@host:6379/0, rediss://… for TLS, or unix:///path?db=0.
        namespace: any name without braces; stores of other namespaces are not seen.
        lifetime_us: how long a state that is not written stays, microseconds by the server's clock.

    Raises:
        StoreError: if the URL or the namespace cannot be used.
    """

    def __init__(self, url: str, namespace: str, lifetime_us: int) -> None:
        if not namespace or set(namespace) & set("{}"):
            raise StoreError(f"{namespace!r} cannot be the online store's namespace: give a name without braces.")
        try:
            # A command that was sent is never sent again by the client: the first may have been carried out.
            self._client = redis.Redis.from_url(
                url,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
            )
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # which connects nowhere, but knows its options
        except (ValueError, TypeError) as error:
            raise StoreError(f"The URL of Redis cannot be used: {error}. Write redis://host:6379/0.") from error
        parts = urlsplit(url)
        self._place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # no password
        self._lifetime_ms = max(1, -(-lifetime_us // 1000))
        self._tag = tag = f"{{{namespace}}}:".encode()
        self._generation_key, self._rebuilds_key = tag + b"generation", tag + b"rebuilds"
        self._sequence_key, self._outbox_key = tag + b"sequence", tag + b"outbox"
        self._record_prefix, self._state_prefix = tag + b"record:", tag + b"state:"
        self._generation = b""  # as last seen; a read finds out that it has changed
        self._commit = self._client.register_script(_COMMIT)
        self._publish = self._client.register_script(_PUBLISH)
        self._give_up = self._client.register_script(_GIVE_UP)

    def read(self, records: Sequence[bytes], states: Sequence[bytes]) -> Snapshot:
        while True:
            generation = self._generation
            prefix = self._states_of(generation)
            keys = [*(self._record_prefix + key for key in records), *(prefix + key for key in states)]
            present, *values = self._asked_again(lambda keys=keys: self._client.mget(self._generation_key, *keys))
            if (present or b"") == generation:
                break
            self._generation = present or b""
        contents = [value and value[VERSION_BYTES:] for value in values]
        return Snapshot(
            dict(zip(records, contents[: len(records)], strict=True)),
            dict(zip(states, contents[len(records) :], strict=True)),
            _Seen(generation, keys, [value[:VERSION_BYTES] if value else b"" for value in values]),
        )

    def commit(
        self,
        snapshot: Snapshot,
        records: Mapping[bytes, bytes],
        states: Mapping[bytes, bytes],
        event_us: int,
        entry: bytes,
    ) -> int | None:
        seen = cast(_Seen, snapshot.seen)
        prefix = self._states_of(seen.generation)
        keys = [
            *(self._generation_key, self._sequence_key, self._outbox_key, *seen.keys),
            *(self._record_prefix + key for key in records),
            *(prefix + key for key in states),
        ]
        arguments = [
            *(seen.generation, self._lifetime_ms, entry, len(seen.keys), len(records), *seen.versions),
            *records.values(),
            *states.values(),
        ]
        with self._explained("written", "It may or may not have been: send the same request again."):
            return cast(int | None, self._commit(keys, arguments))

    def entries(self, after: int, limit: int) -> list[Entry]:
        found = self._asked_again(lambda: self._client.xrange(self._outbox_key, f"{after + 1}-0", "+", limit))
        return [Entry(int(sequence.partition(b"-")[0]), fields[b"entry"]) for sequence, fields in found]

    def rebuild(self) -> "RedisRebuild":
        return RedisRebuild(self)

    def expire(self, before_us: int) -> int:
        """Nothing: each state goes by itself, its lifetime after it was written."""
        return 0

    def fingerprint(self) -> str | None:
        found = self._asked_again(lambda: self._client.get(self._generation_key))
        return found.partition(b":")[2].decode() if found else None

    def clear(self) -> None:
        """Remove everything of the namespace, records and outbox too."""
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._tag) + b"*"
        with self._explained("cleared"):
            for batch in batches((key, b"") for key in self._client.scan_iter(pattern, BATCH)):
                self._client.unlink(*batch)

    def close(self) -> None:
        self._client.close()

    def _states_of(self, generation: bytes) -> bytes:
        """What the keys of a generation's states begin with; the first generation, never published, is 0."""
        return b"%s%d:" % (self._state_prefix, _number(generation))

    def _remove(self, first: int, before: int) -> None:
        """Remove the states of the generations in [first, before), but never of the one that serves."""
        with self._explained("swept"):
            serving = _number(cast(bytes | None, self._client.get(self._generation_key)))
            doomed: list[bytes] = []
            pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._state_prefix) + b"*"
            for key in self._client.scan_iter(pattern, BATCH):
                number = int(key[len(self._state_prefix) :].partition(b":")[0])
                if first <= number < before and number != serving:
                    doomed.append(key)
                if len(doomed) >= BATCH:
                    self._client.unlink(*doomed)
                    doomed.clear()
            if doomed:
                self._client.unlink(*doomed)

    def _asked_again(self, question: Callable[[], Any]) -> Any:
        """The answer to what only reads: asked once more where the connection was lost."""
        with self._explained("read"):
            try:
                return question()
            except _LOST:
                return question()

    @contextmanager
    def _explained(self, what: str, in_doubt: str = "") -> Iterator[None]:
        """Turn Redis's errors into ours; `in_doubt` is said where the command may have been carried out."""
        try:
            yield
        except RedisError as error:
            fix = next(fix for kind, fix in _FIXES if isinstance(error, kind))
            if isinstance(error, _LOST) and not isinstance(error, _REFUSED):
                fix = f"{in_doubt} {fix}".strip()
            raise StoreError(f"The online store at {self._place} cannot be {what}: {error}. {fix}") from error


class RedisRebuild:
    """States under a generation number of their own. Of two rebuilds the later one goes on."""

    def __init__(self, store: RedisStore) -> None:
        self._store, self._over = store, False
        with store._explained("rebuilt"):
            self._number = store._client.incr(store._rebuilds_key)
        self._prefix = b"%s%d:" % (store._state_prefix, self._number)
        store._remove(0, self._number)  # what a killed rebuild left

    def put(self, states: Iterable[tuple[bytes, int, bytes]]) -> int:
        values = ((self._prefix + key, NEVER + state) for key, _, state in states)
        return sum(self._send(batch, px=self._store._lifetime_ms) for batch in batches(values))

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._check_open()
        store = self._store
        asked = [store._rebuilds_key, *(self._prefix + key for key in keys)]
        latest, *values = store._asked_again(lambda: store._client.mget(asked))
        self._check_latest(latest)
        return [value and value[VERSION_BYTES:] for value in values]

    def record(self, records: Iterable[tuple[bytes, bytes]]) -> int:
        values = ((self._store._record_prefix + key, NEVER + record) for key, record in records)
        return sum(self._send(batch, nx=True) for batch in batches(values))

    def publish(self, fingerprint: str, through: int) -> bool:
        self._check_open()
        store = self._store
        generation = f"{self._number}:{fingerprint}"
        with store._explained("published", "It may or may not have been: rebuild it again."):
            published = store._publish(
                [store._rebuilds_key, store._sequence_key, store._generation_key], [self._number, through, generation]
            )
        if published is None:
            raise self._error()
        if published:
            self._over = True
            store._remove(0, self._number)
        return bool(published)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        self._over = True
        with self._store._explained("rebuilt"):
            self._store._give_up([self._store._rebuilds_key], [self._number])
        self._store._remove(self._number, self._number + 1)

    def _send(self, batch: Mapping[bytes, bytes], **options: Any) -> int:
        """Write one batch; returns how many of its values were written.

        What arrives after a later rebuild has swept is never published, and goes at the end of its lifetime.
        """
        self._check_open()
        with self._store._explained("rebuilt"), self._store._client.pipeline(transaction=False) as pipeline:
            pipeline.get(self._store._rebuilds_key)
            for key, value in batch.items():
                pipeline.set(key, value, **options)
            latest, *written = pipeline.execute()
        self._check_latest(latest)
        return sum(map(bool, written))

    def _check_open(self) -> None:
        if self._over:
            raise self._error()

    def _check_latest(self, rebuilds: bytes | None) -> None:
        if rebuilds != b"%d" % self._number:
            raise self._error()

    def _error(self) -> StoreError:
        return StoreError(
            f"This rebuild of the online store at {self._store._place} is over: it was published or left, or "
            "another rebuild began after it. Let that one finish; start again if it failed."
        )


def _number(generation: bytes | None) -> int:
    """The number of a generation, which is followed by the fingerprint; 0 before the first was published."""
    return int(generation.partition(b":")[0]) if generation else 0
