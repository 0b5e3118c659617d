"""What the embedded store does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from fraud_platform.features.stores import Change, Entry, Snapshot
from fraud_platform.features.stores.batches import BATCH
from fraud_platform.features.stores.lmdb.environment import Environment
from fraud_platform.features.stores.lmdb.layout import (
    FINGERPRINT,
    GENERATION,
    IDENTITY,
    NEVER,
    STATE_HEADER,
    VERSION_BYTES,
    event_us,
    header,
    number,
)
from fraud_platform.features.stores.lmdb.outbox import Outbox
from fraud_platform.features.stores.lmdb.queue import Queue
from fraud_platform.features.stores.lmdb.rebuild import LmdbRebuild

if TYPE_CHECKING:
    import lmdb

SCANNED = 20_000
"""States that an expiry looks at in one read transaction, which keeps freed pages from being used again."""


class _Seen(NamedTuple):
    """The last transaction, the generation, and the versions by physical key, None where there was nothing."""

    transaction: int
    generation: bytes
    records: dict[bytes, bytes | None]
    states: dict[bytes, bytes | None]


class LmdbStore:
    """A store in one folder on a local disk. Safe for many processes; open it once in each, and after a fork.

    A commit survives the death of every process. Unless `durable`, a power cut may lose the latest commits
    or damage the file: then the store is built again from the warehouse.

    Args:
        folder: created if missing.
        map_bytes: the largest size the store may grow to; the file takes no more than it has held.
            A rebuild needs room for the old and the new states together.
        durable: whether a commit waits for the disk (True) or for the operating system.

    Raises:
        StoreError: if the folder cannot be written, or what is in it is damaged or of an earlier layout.
    """

    def __init__(self, folder: Path, map_bytes: int = 64 << 30, durable: bool = False) -> None:
        self._environment = Environment(folder, map_bytes, durable)
        self._lmdb = self._environment.lmdb
        self._records, self._states, self._meta = (
            self._environment.records,
            self._environment.states,
            self._environment.meta,
        )
        self._outbox, self._queue = Outbox(self._environment), Queue(self._environment)

    def read(self, records: Sequence[bytes], states: Sequence[bytes]) -> Snapshot:
        with self._environment.explained("read"), self._lmdb.begin() as view:
            transaction = view.id()
            generation = view.get(GENERATION, NEVER, db=self._meta)
            recorded = {key: view.get(key, db=self._records) for key in records}
            held = {key: view.get(generation + key, db=self._states) for key in states}
        return Snapshot(
            {key: value and value[VERSION_BYTES:] for key, value in recorded.items()},
            {key: value and value[STATE_HEADER:] for key, value in held.items()},
            _Seen(
                transaction,
                generation,
                {key: value and value[:VERSION_BYTES] for key, value in recorded.items()},
                {generation + key: value and value[:VERSION_BYTES] for key, value in held.items()},
            ),
        )

    def commit(self, snapshot: Snapshot, change: Change) -> int | None:
        seen = cast(_Seen, snapshot.seen)
        with self._environment.explained("written"), self._lmdb.begin(write=True) as write:
            # Where nobody committed anything since the read, nothing of it can have changed.
            if write.id() != seen.transaction + 1 and (
                write.get(GENERATION, NEVER, db=self._meta) != seen.generation
                or _changed(write, self._records, seen.records)
                or _changed(write, self._states, seen.states)
            ):
                return None
            sequence = self._outbox.append(write, change.entries)
            version = number(sequence)
            for key, record in sorted(change.records.items()):
                write.put(key, version + record, db=self._records)
            before = header(version, change.event_us)
            for key, state in sorted(change.states.items()):  # in the order of the pages: a tenth faster
                write.put(seen.generation + key, before + state, db=self._states)
            if change.queue:
                self._queue.change(write, change.queue)
        return sequence

    def entries(self, after: int, limit: int) -> list[Entry]:
        return self._outbox.entries(after, limit)

    def last_sequence(self) -> int:
        with self._environment.reading() as view:
            return self._outbox.last_sequence(view)

    def filed(self, under: bytes, limit: int) -> list[Entry]:
        return self._outbox.filed(under, limit)

    def queue(self, limit: int) -> list[bytes]:
        return self._queue.keys(limit)

    def waiting(self) -> int:
        return self._queue.waiting()

    def acknowledge(self, through: int, keep: int) -> int:
        return self._outbox.acknowledge(through, keep)

    def acknowledged(self) -> int:
        with self._environment.reading() as view:
            return self._outbox.acknowledged(view)

    def identity(self) -> str:
        with self._environment.reading() as view:
            return view.get(IDENTITY, b"", db=self._meta).decode()

    def rebuild(self) -> LmdbRebuild:
        return LmdbRebuild(self._environment, self._outbox)

    def expire(self, before_us: int) -> int:
        removed, after = 0, b""
        while after is not None:
            old, after = self._older(before_us, after)
            for start in range(0, len(old), BATCH):
                with self._environment.step("swept") as write:
                    for key in old[start : start + BATCH]:
                        # It may have been written since it was looked at.
                        value = write.get(key, db=self._states)
                        if value is not None and event_us(value) < before_us:
                            removed += write.delete(key, db=self._states)
        return removed

    def fingerprint(self) -> str | None:
        with self._environment.reading() as view:
            found = view.get(FINGERPRINT, db=self._meta)
        return None if found is None else found.decode()

    def close(self) -> None:
        self._lmdb.close()

    def _older(self, before_us: int, after: bytes) -> tuple[list[bytes], bytes | None]:
        """The physical keys that have expired among the next ones, and where to go on; None at the end."""
        old: list[bytes] = []
        with (
            self._environment.explained("read"),
            self._lmdb.begin(db=self._states, buffers=True) as view,
            view.cursor() as cursor,
        ):
            generation = bytes(view.get(GENERATION, NEVER, db=self._meta))
            more = cursor.set_range(max(after + b"\0", generation))
            for _ in range(SCANNED):
                key = bytes(cursor.key()) if more else b""
                if not key.startswith(generation):
                    return old, None
                if event_us(cursor.value()) < before_us:
                    old.append(key)
                after, more = key, cursor.next()
        return old, after


def _changed(view: "lmdb.Transaction[bytes]", table: "lmdb._Database", versions: Mapping[bytes, bytes | None]) -> bool:
    """Whether any of these keys has another version now."""
    for key, version in versions.items():
        value = view.get(key, db=table)
        if (value and value[:VERSION_BYTES]) != version:
            return True
    return False
