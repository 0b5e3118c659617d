"""Counters with an end that all workers of a machine share: a storage for the library `limits`.

Workers share a socket and the kernel deals connections out unevenly, so that a limit divided by the
number of workers would refuse an honest client that got one worker, and an undivided one would be
several limits. The counters are therefore in a file that each worker maps into its memory: exact, no
server to ask, and microseconds.
"""

import errno
import fcntl
import mmap
import os
import struct
import threading
import time
from hashlib import blake2b
from pathlib import Path

from limits.storage import Storage

from fraud_platform.errors import AccessError

SLOTS = 4096
PROBES = 8
"""Slots that a counter may be in. When others that still count hold them all, it takes the one that ends first."""

_SLOT = struct.Struct("<Qqd")
"""Digest of the counter's name, count, end (seconds since 1970)."""
_BYTES = SLOTS * _SLOT.size


class SharedCounters(Storage):
    """Counters in a file of a fixed size.

    Raises:
        AccessError: if the file cannot be made.
    """

    STORAGE_SCHEME = None

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._threads = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _fill(self._file)
            self._slots = mmap.mmap(self._file, _BYTES)
        except (OSError, ValueError) as error:
            raise AccessError(
                f"The counters of the rate limits cannot be kept in {path}: {error}. "
                "Make room, or give the service's user access to the folder."
            ) from error

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return OSError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to a counter, which starts at 0 and ends `expiry` seconds after its start; gives the sum."""
        digest, now = _digest(key), time.time()
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                position, count, end = self._slot(digest, now, now + expiry)
                count += amount
                _SLOT.pack_into(self._slots, position, digest, count, end)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        return count

    def get(self, key: str) -> int:
        """The count; 0 once it has ended."""
        found = self._find(key)
        return 0 if found is None else found[1]

    def get_expiry(self, key: str) -> float:
        """When the counter ends, seconds since 1970; now if there is none."""
        found = self._find(key)
        return time.time() if found is None else found[2]

    def check(self) -> bool:
        """Whether the storage can be used: it could be opened."""
        return True

    def reset(self) -> int | None:
        """Drop every counter."""
        with self._threads:
            self._slots[:] = bytes(_BYTES)
        return None

    def clear(self, key: str) -> None:
        """Drop one counter."""
        found = self._find(key)
        if found is not None:
            _SLOT.pack_into(self._slots, found[0], 0, 0, 0.0)

    def _find(self, key: str) -> tuple[int, int, float] | None:
        digest, now = _digest(key), time.time()
        for position in _positions(digest):
            name, count, end = _SLOT.unpack_from(self._slots, position)
            if name == digest and end > now:
                return position, count, end
        return None

    def _slot(self, digest: int, now: float, latest: float) -> tuple[int, int, float]:
        """Position, count and end of the counter: its own, or else the slot that ends or has ended first, emptied.

        A counter that would end after `latest` is of a clock that was put back, and starts anew.
        """
        positions = _positions(digest)
        first, first_end = positions[0], float("inf")
        for position in positions:
            name, count, end = _SLOT.unpack_from(self._slots, position)
            if name == digest and now < end <= latest:
                return position, count, end
            if name == digest or end < first_end:
                first, first_end = position, 0.0 if name == digest else end
        return first, 0, latest


def _fill(file: int) -> None:
    """Take all of the room on the disk now: a mapped page that has none when it is written ends the process."""
    size = os.fstat(file).st_size
    if size < _BYTES and os.pwrite(file, bytes(_BYTES - size), size) < _BYTES - size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _digest(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _positions(digest: int) -> list[int]:
    return [(digest + probe) % SLOTS * _SLOT.size for probe in range(PROBES)]
