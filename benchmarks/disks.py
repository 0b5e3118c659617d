"""A disk that can be filled up, for a folder: a file system of its own, or else a limit on the size of files."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil

PAGE_BYTES = 4096


class Disk(Protocol):
    """What a folder lies on."""

    def fill(self) -> None:
        """From now on nothing in the folder can grow."""
        ...

    def free(self) -> None:
        """It can again."""
        ...


class MountedDisk:
    """A file system in memory, filled by one file beside the others."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb") as file:
            size, piece = 0, shutil.disk_usage(self._ballast.parent).free
            while piece >= PAGE_BYTES:
                try:
                    os.posix_fallocate(file.fileno(), size, piece)
                    size += piece
                except OSError:
                    piece //= 2  # others took some of the room meanwhile

    def free(self) -> None:
        self._ballast.unlink()


class LimitedFiles:
    """No file of these processes may become larger than the folder's largest is.

    Args:
        processes: gives those that write there.
    """

    def __init__(self, folder: Path, processes: Callable[[], list[psutil.Process]]) -> None:
        self._folder, self._processes = folder, processes

    def fill(self) -> None:
        self._limit(max(path.stat().st_size for path in self._folder.iterdir()))

    def free(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        for process in self._processes():
            _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


@contextmanager
def small_disk(folder: Path, megabytes: int, processes: Callable[[], list[psutil.Process]]) -> Iterator[Disk]:
    """Put what is in the folder on a disk of this size.

    Only root may mount one; for others the files are limited while it is full. Says on standard error which.

    Args:
        processes: gives those that write to the folder.
    """
    with tempfile.TemporaryDirectory(prefix="disk-") as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        options = f"size={megabytes}m,mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            print("The store's disk is filled by a limit on the size of files.", file=sys.stderr)
            yield LimitedFiles(folder, processes)
            return
        print(f"The store's disk is a tmpfs of {megabytes} MB.", file=sys.stderr)
        try:
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            yield MountedDisk(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
