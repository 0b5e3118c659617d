"""The files of the embedded store: opened, checked, with errors that say what to do."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import lmdb
from lmdb.verify import VerifyError, verify

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.lmdb.layout import IDENTITY

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

_TABLES = (b"records", b"states", b"outbox", b"filed", b"queue", b"priorities", b"meta")


class Environment:
    """LMDB's environment in a folder, and its tables.

    Args:
        folder, map_bytes, durable: as `LmdbStore` takes them.

    Raises:
        StoreError: if the folder cannot be written, or what is in it is damaged or of an earlier layout.
    """

    def __init__(self, folder: Path, map_bytes: int, durable: bool) -> None:
        self.folder, self._file = folder, folder / "data.mdb"
        with self.explained("opened"):
            folder.mkdir(parents=True, exist_ok=True)
        with self.explained("opened"), _alone_in(folder):
            if self._file.exists() and not self._file.stat().st_size:
                raise self._unusable("is damaged", "is empty")  # LMDB would take it for a new one
            self.lmdb = lmdb.open(
                str(folder),
                map_size=map_bytes,
                max_dbs=len(_TABLES),
                sync=durable,
                metasync=durable,
                max_readers=512,
                max_spare_txns=8,
            )
            try:
                self._check_length()
                self.lmdb.reader_check()  # a killed process would keep the pages that it was reading from reuse
                tables = (self.lmdb.open_db(name) for name in _TABLES)
                self.records, self.states, self.outbox, self.filed, self.queue, self.priorities, self.meta = tables
                self._give_identity()
            except BaseException:
                self.lmdb.close()
                raise

    @contextmanager
    def reading(self) -> "Iterator[lmdb.Transaction[bytes]]":
        """One moment of the store."""
        with self.explained("read"), self.lmdb.begin() as view:
            yield view

    @contextmanager
    def writing(self, what: str) -> "Iterator[lmdb.Transaction[bytes]]":
        """One write transaction, which an error undoes; others that write wait for its end."""
        with self.explained(what), self.lmdb.begin(write=True) as write:
            yield write

    @contextmanager
    def step(self, what: str) -> "Iterator[lmdb.Transaction[bytes]]":
        """One write transaction of many: after it, others may write for as long as it took.

        LMDB's lock goes to whoever asks first when it is free, which would be the next step again and again.
        """
        with self.writing(what) as write:
            started = time.perf_counter()
            yield write
        time.sleep(time.perf_counter() - started)

    def explained(self, what: str) -> "_Explained":
        """Turns LMDB's errors and the file system's into ours."""
        return _Explained(self.folder, what)

    def _check_length(self) -> None:
        """Refuse a file that was cut: reading a page behind its end would kill the process (SIGBUS).

        LMDB itself leaves out pages at the end that one transaction took and gave back. A short file is
        therefore read through, and made longer where no page that is in use is missing.
        """
        with self.lmdb.begin(write=True):  # nobody writes meanwhile
            length = (self.lmdb.info()["last_pgno"] + 1) * self.lmdb.stat()["psize"]
            size = self._file.stat().st_size
            if size >= length:
                return
            try:
                found = verify(self._file)
            except VerifyError as error:
                found = [str(error)]
            if found:
                raise self._unusable("is damaged", f"has {size} bytes of {length}")
            os.truncate(self._file, length)

    def _give_identity(self) -> None:
        """Name a store that is new."""
        with self.lmdb.begin(write=True, db=self.meta) as write:
            if write.get(IDENTITY) is not None:
                return
            if write.stat(self.meta)["entries"]:
                raise self._unusable("cannot be used", "was written by an earlier version of the platform")
            write.put(IDENTITY, secrets.token_hex(16).encode())

    def _unusable(self, what: str, why: str) -> StoreError:
        return StoreError(f"The online store in {self.folder} {what}: {self._file} {why}. {_ANEW}")


class _Explained:
    """A class, because a generator takes a microsecond longer, and every decision enters twice."""

    __slots__ = ("_folder", "_what")

    def __init__(self, folder: Path, what: str) -> None:
        self._folder, self._what = folder, what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, lmdb.Error | OSError):
            fix = next(fix for kind, fix in _FIXES if isinstance(error, kind))
            raise StoreError(f"The online store in {self._folder} cannot be {self._what}: {error}. {fix}") from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """No other process opens the folder's store meanwhile; one that is being made looks damaged."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
