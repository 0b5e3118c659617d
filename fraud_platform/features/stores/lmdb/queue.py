"""The queue: which records wait for a person, the highest priority first."""

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

from fraud_platform.features.stores.lmdb.environment import Environment
from fraud_platform.features.stores.priorities import RANK_BYTES, rank

if TYPE_CHECKING:
    import lmdb


class Queue:
    """One table in order, and one that says where in it a key is."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._table, self._priorities = environment.queue, environment.priorities

    def change(self, write: "lmdb.Transaction[bytes]", queue: Mapping[bytes, int | None]) -> None:
        for key, priority in queue.items():
            if (present := write.get(key, db=self._priorities)) is not None:
                write.delete(present + key, db=self._table)
                write.delete(key, db=self._priorities)
            if priority is not None:
                write.put(rank(priority) + key, b"", db=self._table)
                write.put(key, rank(priority), db=self._priorities)

    def keys(self, limit: int) -> list[bytes]:
        with self._environment.reading() as view, view.cursor(self._table) as cursor:
            return [key[RANK_BYTES:] for key in islice(cursor.iternext(values=False), limit)]

    def waiting(self) -> int:
        with self._environment.reading() as view:
            return view.stat(self._table)["entries"]
