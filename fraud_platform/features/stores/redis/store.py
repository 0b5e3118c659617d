"""What the store in Redis does."""

import secrets
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from fraud_platform.features.stores import KEY_BYTES, Change, Entry, Snapshot
from fraud_platform.features.stores.batches import BATCH, batches
from fraud_platform.features.stores.priorities import RANK_BYTES, rank
from fraud_platform.features.stores.redis.connection import VERSION_BYTES, Connection
from fraud_platform.features.stores.redis.rebuild import RedisRebuild
from fraud_platform.features.stores.redis.scripts import ACKNOWLEDGE, COMMIT, FILED

_COUNTS = struct.Struct(">4I")
_ABSENT = b"\xff" * VERSION_BYTES
"""Stands where a version stands, for what was not there."""


class _Seen(NamedTuple):
    """The generation, and what was read: physical keys and versions."""

    generation: bytes
    keys: list[bytes]
    versions: list[bytes]


class RedisStore:
    """A store in one Redis. Safe for many processes and threads; nothing is connected before the first call.

    Args:
        url: redis://user:password@host:6379/0, rediss://… for TLS, or unix:///path?db=0.
        namespace: any name without braces; stores of other namespaces are not seen.
        lifetime_us: how long a state that is not written stays, microseconds by the server's clock.

    Raises:
        StoreError: if the URL or the namespace cannot be used.
    """

    def __init__(self, url: str, namespace: str, lifetime_us: int) -> None:
        self._connection = Connection(url, namespace)
        self._client = self._connection.client
        self._lifetime_ms = max(1, -(-lifetime_us // 1000))
        self._generation = b""  # as last seen; a read finds out that it has changed
        self._commit = self._client.register_script(COMMIT)
        self._filed = self._client.register_script(FILED)
        self._acknowledge = self._client.register_script(ACKNOWLEDGE)

    def read(self, records: Sequence[bytes], states: Sequence[bytes]) -> Snapshot:
        names = self._connection
        while True:
            generation = self._generation
            prefix = names.states_of(generation)
            keys = [*(names.record_prefix + key for key in records), *(prefix + key for key in states)]
            present, *values = names.asked_again(lambda keys=keys: self._client.mget(names.generation, *keys))
            if (present or b"") == generation:
                break
            self._generation = present or b""
        contents = [value and value[VERSION_BYTES:] for value in values]
        return Snapshot(
            dict(zip(records, contents[: len(records)], strict=True)),
            dict(zip(states, contents[len(records) :], strict=True)),
            _Seen(generation, keys, [value[:VERSION_BYTES] if value else _ABSENT for value in values]),
        )

    def commit(self, snapshot: Snapshot, change: Change) -> int | None:
        seen = cast(_Seen, snapshot.seen)
        names, prefix = self._connection, self._connection.states_of(seen.generation)
        keys = [
            *(names.generation, names.sequence, names.outbox),
            *seen.keys,
            *[names.record_prefix + key for key in change.records],
            *[prefix + key for key in change.states],
            *[names.filed_prefix + key for _, under in change.entries for key in under],
            *((names.queue, names.priorities) if change.queue else ()),
        ]
        arguments = [
            *(seen.generation, self._lifetime_ms),
            _COUNTS.pack(len(seen.keys), len(change.records), len(change.states), len(change.queue)),
            *(b"".join(seen.versions), bytes(len(under) for _, under in change.entries)),
            *change.records.values(),
            *change.states.values(),
            *[content for content, _ in change.entries],
            *[key if priority is None else key + rank(priority) for key, priority in change.queue.items()],
        ]
        with names.explained("written", "It may or may not have been: send the same request again."):
            return cast(int | None, self._commit(keys, arguments))

    def entries(self, after: int, limit: int) -> list[Entry]:
        return [Entry(sequence, fields[b"entry"]) for sequence, fields in self._outbox(f"{after + 1}-0", "+", limit)]

    def last_sequence(self) -> int:
        return int(self._value(self._connection.sequence) or 0)

    def filed(self, under: bytes, limit: int) -> list[Entry]:
        if not limit:
            return []
        keys = [self._connection.filed_prefix + under, self._connection.outbox]
        found = self._connection.asked_again(lambda: self._filed(keys, [limit - 1]))
        return [Entry(int(at), content) for at, content in zip(found[::2], found[1::2], strict=True)]

    def queue(self, limit: int) -> list[bytes]:
        """All scores are 0, so that the order is that of the members, which begin with the priority's rank."""
        if not limit:
            return []
        found = self._connection.asked_again(lambda: self._client.zrange(self._connection.queue, 0, limit - 1))
        return [member[RANK_BYTES:] for member in found]

    def waiting(self) -> int:
        return self._connection.asked_again(lambda: self._client.zcard(self._connection.queue))

    def acknowledge(self, through: int, keep: int) -> int:
        if keep < 0:
            raise ValueError(f"{keep} entries cannot be kept: give 0 or more.")
        acknowledged, removed = min(max(self.acknowledged(), through), self.last_sequence()), 0
        while True:
            oldest = self._outbox("-", str(acknowledged - keep), BATCH if acknowledged > keep else 0)
            removed += self._remove(acknowledged, oldest)
            if len(oldest) < BATCH:
                return removed

    def acknowledged(self) -> int:
        return int(self._value(self._connection.acknowledged) or 0)

    def identity(self) -> str:
        """Given at the first call: a namespace that was emptied has another one."""
        key = self._connection.identity
        found = self._value(key)
        if found is None:
            with self._connection.explained("written"):
                self._client.set(key, secrets.token_hex(16), nx=True)
            found = self._value(key) or b""
        return found.decode()

    def rebuild(self) -> RedisRebuild:
        return RedisRebuild(self._connection, self._lifetime_ms)

    def expire(self, before_us: int) -> int:
        """Nothing: each state goes by itself, its lifetime after it was written."""
        return 0

    def fingerprint(self) -> str | None:
        found = self._value(self._connection.generation)
        return found.partition(b":")[2].decode() if found else None

    def clear(self) -> None:
        """Remove everything of the namespace, records and outbox too."""
        with self._connection.explained("cleared"):
            for batch in batches((key, b"") for key in self._connection.scan(self._connection.tag)):
                self._client.unlink(*batch)

    def close(self) -> None:
        self._client.close()

    def _outbox(self, first: str, last: str, limit: int) -> list[tuple[int, dict[bytes, bytes]]]:
        """Entries between two ids, with the fields that they have there."""
        if not limit:
            return []
        found = self._connection.asked_again(lambda: self._client.xrange(self._connection.outbox, first, last, limit))
        return [(int(at.partition(b"-")[0]), fields) for at, fields in found]

    def _remove(self, acknowledged: int, oldest: list[tuple[int, dict[bytes, bytes]]]) -> int:
        """Note what is acknowledged, and remove these entries, which nothing precedes; returns how many were there."""
        names = self._connection
        filings = [
            (names.filed_prefix + under[start : start + KEY_BYTES], at)
            for at, fields in oldest
            for under in [fields.get(b"under", b"")]
            for start in range(0, len(under), KEY_BYTES)
        ]
        keys = [names.sequence, names.acknowledged, names.outbox, *(key for key, _ in filings)]
        stays = oldest[-1][0] + 1 if oldest else 0
        with names.explained("cut", "It may or may not have been: do it again."):
            return cast(int, self._acknowledge(keys, [acknowledged, stays, *(at for _, at in filings)]))

    def _value(self, key: bytes) -> Any:
        return self._connection.asked_again(lambda: self._client.get(key))
