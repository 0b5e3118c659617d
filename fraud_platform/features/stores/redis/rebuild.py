"""A new set of states in Redis, beside those that serve."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.batches import batches
from fraud_platform.features.stores.redis.connection import NEVER, VERSION_BYTES, Connection
from fraud_platform.features.stores.redis.scripts import GIVE_UP, PUBLISH


class RedisRebuild:
    """States under a generation number of their own. Of two rebuilds the later one goes on."""

    def __init__(self, connection: Connection, lifetime_ms: int) -> None:
        self._connection, self._lifetime_ms, self._over = connection, lifetime_ms, False
        self._publish = connection.client.register_script(PUBLISH)
        self._give_up = connection.client.register_script(GIVE_UP)
        with connection.explained("rebuilt"):
            self._number = connection.client.incr(connection.rebuilds)
        self._prefix = b"%s%d:" % (connection.state_prefix, self._number)
        connection.remove_states(0, self._number)  # what a killed rebuild left

    def put(self, states: Iterable[tuple[bytes, int, bytes]]) -> int:
        values = ((self._prefix + key, NEVER + state) for key, _, state in states)
        return sum(self._send(batch, px=self._lifetime_ms) for batch in batches(values))

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._check_open()
        asked = [self._connection.rebuilds, *(self._prefix + key for key in keys)]
        latest, *values = self._connection.asked_again(lambda: self._connection.client.mget(asked))
        self._check_latest(latest)
        return [value and value[VERSION_BYTES:] for value in values]

    def record(self, records: Iterable[tuple[bytes, bytes]]) -> int:
        values = ((self._connection.record_prefix + key, NEVER + record) for key, record in records)
        return sum(self._send(batch, nx=True) for batch in batches(values))

    def publish(self, fingerprint: str, through: int) -> bool:
        self._check_open()
        connection = self._connection
        generation = f"{self._number}:{fingerprint}"
        with connection.explained("published", "It may or may not have been: rebuild it again."):
            published = self._publish(
                [connection.rebuilds, connection.sequence, connection.generation], [self._number, through, generation]
            )
        if published is None:
            raise self._error()
        if published:
            self._over = True
            connection.remove_states(0, self._number)
        return bool(published)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        self._over = True
        with self._connection.explained("rebuilt"):
            self._give_up([self._connection.rebuilds], [self._number])
        self._connection.remove_states(self._number, self._number + 1)

    def _send(self, batch: Mapping[bytes, bytes], **options: Any) -> int:
        """Write one batch; returns how many of its values were written.

        What arrives after a later rebuild has swept is never published, and goes at the end of its lifetime.
        """
        self._check_open()
        connection = self._connection
        with connection.explained("rebuilt"), connection.client.pipeline(transaction=False) as pipeline:
            pipeline.get(connection.rebuilds)
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
            f"This rebuild of the online store at {self._connection.place} is over: it was published or left, or "
            "another rebuild began after it. Let that one finish; start again if it failed."
        )
