"""The embedded store: LMDB, one writer at a time across processes, readers never wait.

Four tables: records, states (under generation + key, so that a rebuild can lie beside what serves),
the outbox by sequence, and meta.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

import lmdb
from lmdb.verify import VerifyError, verify

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Entry, Snapshot
from fraud_platform.features.stores.batches import BATCH, batches

VERSION_BYTES = 8
"""Every record and state begins with its version, the sequence of the commit that wrote it: unlike a count
of its own, it is not used again when a state expires and comes back between a read and its commit."""
STATE_HEADER = VERSION_BYTES + 8
"""A state goes on with the latest event time that it holds."""
NEVER = bytes(VERSION_BYTES)
"""The version of what a rebuild wrote, the generation before the first rebuild, the sequence before the first."""

SCANNED = 20_000
"""States that an expiry looks at in one read transaction, which keeps freed pages from being used again."""

_GENERATION = b"generation"
_REBUILDS = b"rebuilds"
_FINGERPRINT = b"fingerprint"
_SEQUENCE = b"sequence"

_ANEW = "Move the folder away (its outbox may hold what the warehouse lacks) and materialize `online_state`."
_MINE = "Give this user the right to write the folder and the files in it."
_FIXES: tuple[tuple[type[Exception], str], ...] = (
    (lmdb.MapFullError, "It has reached its largest size: open it with a larger map_bytes in every process."),
    (lmdb.MapResizedError, "Another process opened it with a larger map_bytes: open it with the same here."),
    (lmdb.DiskError, "Make room on the disk."),
    (lmdb.ReadersFullError, "Too many threads read it at once: use fewer processes."),
    (lmdb.ReadonlyError, _MINE),
    (PermissionError, _MINE),
    (lmdb.CorruptedError, _ANEW),
    (lmdb.PageNotFoundError, _ANEW),
    (lmdb.InvalidError, _ANEW),
    (lmdb.VersionMismatchError, _ANEW),
    (lmdb.PanicError, f"Start this process again. If that does not help: {_ANEW}"),
    (Exception, "Give it a folder on a local disk with room, and open it once in each process."),
)
"""The first that fits the error counts."""


class _Seen(NamedTuple):
    """The generation, and the versions by physical key, None where there was nothing."""

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
        StoreError: if the folder cannot be written, or what is in it is damaged.
    """

    def __init__(self, folder: Path, map_bytes: int = 64 << 30, durable: bool = False) -> None:
        self._folder, self._file = folder, folder / "data.mdb"
        with self._explained("opened"):
            folder.mkdir(parents=True, exist_ok=True)
        with self._explained("opened"), _alone_in(folder):
            if self._file.exists() and not self._file.stat().st_size:
                raise self._damaged("is empty")  # LMDB would take it for a new one
            self._env = lmdb.open(
                str(folder),
                map_size=map_bytes,
                max_dbs=4,
                sync=durable,
                metasync=durable,
                max_readers=512,
                max_spare_txns=8,
            )
            try:
                self._check_length()
                self._env.reader_check()  # a killed process would keep the pages that it was reading from reuse
                self._records, self._states, self._outbox, self._meta = (
                    self._env.open_db(name) for name in (b"records", b"states", b"outbox", b"meta")
                )
            except BaseException:
                self._env.close()
                raise

    def read(self, records: Sequence[bytes], states: Sequence[bytes]) -> Snapshot:
        with self._explained("read"), self._env.begin() as view:
            generation = view.get(_GENERATION, NEVER, db=self._meta)
            recorded = {key: view.get(key, db=self._records) for key in records}
            held = {key: view.get(generation + key, db=self._states) for key in states}
        return Snapshot(
            {key: value and value[VERSION_BYTES:] for key, value in recorded.items()},
            {key: value and value[STATE_HEADER:] for key, value in held.items()},
            _Seen(
                generation,
                {key: value and value[:VERSION_BYTES] for key, value in recorded.items()},
                {generation + key: value and value[:VERSION_BYTES] for key, value in held.items()},
            ),
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
        with self._explained("written"), self._env.begin(write=True) as write:
            if (
                write.get(_GENERATION, NEVER, db=self._meta) != seen.generation
                or _changed(write, self._records, seen.records)
                or _changed(write, self._states, seen.states)
            ):
                return None
            sequence = self._last_sequence(write) + 1
            version = _number(sequence)
            header = _header(version, event_us)
            for key, record in records.items():
                write.put(key, version + record, db=self._records)
            for key, state in sorted(states.items()):  # in the order of the pages: a tenth faster
                write.put(seen.generation + key, header + state, db=self._states)
            write.put(version, entry, append=True, db=self._outbox)
            write.put(_SEQUENCE, version, db=self._meta)
        return sequence

    def entries(self, after: int, limit: int) -> list[Entry]:
        with self._explained("read"), self._env.begin(db=self._outbox) as view, view.cursor() as cursor:
            if not cursor.set_range(_number(after + 1)):
                return []  # a cursor without a place would begin at the first
            return [Entry(int.from_bytes(key, "big"), content) for key, content in islice(cursor, limit)]

    def rebuild(self) -> "LmdbRebuild":
        return LmdbRebuild(self)

    def expire(self, before_us: int) -> int:
        removed, after = 0, b""
        while after is not None:
            old, after = self._older(before_us, after)
            for start in range(0, len(old), BATCH):
                with self._writing("swept") as write:
                    for key in old[start : start + BATCH]:
                        # It may have been written since it was looked at.
                        value = write.get(key, db=self._states)
                        if value is not None and _event_us(value) < before_us:
                            removed += write.delete(key, db=self._states)
        return removed

    def fingerprint(self) -> str | None:
        with self._explained("read"), self._env.begin(db=self._meta) as view:
            found = view.get(_FINGERPRINT)
        return None if found is None else found.decode()

    def close(self) -> None:
        self._env.close()

    def _older(self, before_us: int, after: bytes) -> tuple[list[bytes], bytes | None]:
        """The physical keys that have expired among the next ones, and where to go on; None at the end."""
        old: list[bytes] = []
        with self._explained("read"), self._env.begin(db=self._states, buffers=True) as view, view.cursor() as cursor:
            generation = bytes(view.get(_GENERATION, NEVER, db=self._meta))
            more = cursor.set_range(max(after + b"\0", generation))
            for _ in range(SCANNED):
                key = bytes(cursor.key()) if more else b""
                if not key.startswith(generation):
                    return old, None
                if _event_us(cursor.value()) < before_us:
                    old.append(key)
                after, more = key, cursor.next()
        return old, after

    def _remove(self, first: int, before: int) -> None:
        """Remove the states of the generations in [first, before), but never of the one that serves."""
        more = True
        while more:
            with self._writing("swept") as write, write.cursor(self._states) as cursor:
                serving = write.get(_GENERATION, NEVER, db=self._meta)
                cursor.set_range(_number(first))
                for _ in range(BATCH):
                    generation = cursor.key()[: len(serving)]  # empty at the end
                    if generation == serving:
                        cursor.set_range(_number(int.from_bytes(serving, "big") + 1))
                        generation = cursor.key()[: len(serving)]
                    more = b"" != generation < _number(before)
                    if not more:
                        break
                    cursor.delete()

    def _last_sequence(self, view: "lmdb.Transaction[bytes]") -> int:
        """Kept apart from the outbox, so that it goes on growing if the outbox is ever cut."""
        return int.from_bytes(view.get(_SEQUENCE, NEVER, db=self._meta), "big")

    def _check_length(self) -> None:
        """Refuse a file that was cut: reading a page behind its end would kill the process (SIGBUS).

        LMDB itself leaves out pages at the end that one transaction took and gave back. A short file is
        therefore read through, and made longer where no page that is in use is missing.
        """
        with self._env.begin(write=True):  # nobody writes meanwhile
            length = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
            size = self._file.stat().st_size
            if size >= length:
                return
            try:
                found = verify(self._file)
            except VerifyError as error:
                found = [str(error)]
            if found:
                raise self._damaged(f"has {size} bytes of {length}")
            os.truncate(self._file, length)

    def _damaged(self, how: str) -> StoreError:
        return StoreError(f"The online store in {self._folder} is damaged: {self._file} {how}. {_ANEW}")

    @contextmanager
    def _writing(self, what: str) -> "Iterator[lmdb.Transaction[bytes]]":
        """One write transaction of bulk work."""
        with self._explained(what), self._env.begin(write=True) as write:
            yield write

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn LMDB's errors and the file system's into ours."""
        try:
            yield
        except (lmdb.Error, OSError) as error:
            fix = next(fix for kind, fix in _FIXES if isinstance(error, kind))
            raise StoreError(f"The online store in {self._folder} cannot be {what}: {error}. {fix}") from error


class LmdbRebuild:
    """States under a generation number of their own. Of two rebuilds the later one goes on."""

    def __init__(self, store: LmdbStore) -> None:
        self._store, self._over = store, False
        with store._writing("rebuilt") as write:
            self._number = int.from_bytes(write.get(_REBUILDS, NEVER, db=store._meta), "big") + 1
            self._generation = _number(self._number)
            write.put(_REBUILDS, self._generation, db=store._meta)
        store._remove(0, self._number)  # what a killed rebuild left

    def put(self, states: Iterable[tuple[bytes, int, bytes]]) -> int:
        values = ((self._generation + key, _header(NEVER, event_us) + state) for key, event_us, state in states)
        return sum(self._write(batch, self._store._states, overwrite=True) for batch in batches(values))

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._store._explained("read"), self._store._env.begin() as view:
            self._check_going_on(view)
            values = [view.get(self._generation + key, db=self._store._states) for key in keys]
        return [value and value[STATE_HEADER:] for value in values]

    def record(self, records: Iterable[tuple[bytes, bytes]]) -> int:
        values = ((key, NEVER + record) for key, record in records)
        return sum(self._write(batch, self._store._records, overwrite=False) for batch in batches(values))

    def publish(self, fingerprint: str, through: int) -> bool:
        store = self._store
        with store._writing("published") as write:
            self._check_going_on(write)
            if store._last_sequence(write) > through:
                return False
            write.put(_GENERATION, self._generation, db=store._meta)
            write.put(_FINGERPRINT, fingerprint.encode(), db=store._meta)
        self._over = True
        with store._explained("written to disk"):
            store._env.sync(True)
        store._remove(0, self._number)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over:
            self._over = True
            self._store._remove(self._number, self._number + 1)

    def _write(self, batch: Mapping[bytes, bytes], table: "lmdb._Database", overwrite: bool) -> int:
        """Write one batch, in the order of the tree's pages; returns how many of its values were written."""
        with self._store._writing("rebuilt") as write, write.cursor(table) as cursor:
            self._check_going_on(write)
            _, written = cursor.putmulti(sorted(batch.items()), overwrite=overwrite)
        return written

    def _check_going_on(self, view: "lmdb.Transaction[bytes]") -> None:
        if self._over or view.get(_REBUILDS, db=self._store._meta) != self._generation:
            raise StoreError(
                f"This rebuild of the online store in {self._store._folder} is over: it was published or left, or "
                "another rebuild began after it. Let that one finish; start again if it failed."
            )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """No other process opens the folder's store meanwhile; one that is being made looks damaged."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _changed(view: "lmdb.Transaction[bytes]", table: "lmdb._Database", versions: Mapping[bytes, bytes | None]) -> bool:
    """Whether any of these keys has another version now."""
    for key, version in versions.items():
        value = view.get(key, db=table)
        if (value and value[:VERSION_BYTES]) != version:
            return True
    return False


def _number(number: int) -> bytes:
    """Big-endian, so that LMDB's order of bytes is the order of numbers."""
    return number.to_bytes(VERSION_BYTES, "big")


def _header(version: bytes, event_us: int) -> bytes:
    return version + event_us.to_bytes(8, "big", signed=True)


def _event_us(value: bytes | memoryview) -> int:
    return int.from_bytes(value[VERSION_BYTES:STATE_HEADER], "big", signed=True)
