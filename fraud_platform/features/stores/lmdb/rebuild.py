"""A new set of states in the embedded store, beside those that serve."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.batches import BATCH, batches
from fraud_platform.features.stores.lmdb.environment import Environment
from fraud_platform.features.stores.lmdb.layout import (
    FINGERPRINT,
    GENERATION,
    NEVER,
    REBUILDS,
    STATE_HEADER,
    header,
    number,
)
from fraud_platform.features.stores.lmdb.outbox import Outbox

if TYPE_CHECKING:
    import lmdb


class LmdbRebuild:
    """States under a generation number of their own. Of two rebuilds the later one goes on."""

    def __init__(self, environment: Environment, outbox: Outbox) -> None:
        self._environment, self._outbox, self._over = environment, outbox, False
        self._states, self._meta = environment.states, environment.meta
        with environment.writing("rebuilt") as write:
            self._number = int.from_bytes(write.get(REBUILDS, NEVER, db=self._meta), "big") + 1
            self._generation = number(self._number)
            write.put(REBUILDS, self._generation, db=self._meta)
        self._remove(0, self._number)  # what a killed rebuild left

    def put(self, states: Iterable[tuple[bytes, int, bytes]]) -> int:
        values = ((self._generation + key, header(NEVER, event_us) + state) for key, event_us, state in states)
        return sum(self._write(batch, self._states, overwrite=True) for batch in batches(values))

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with self._environment.reading() as view:
            self._check_going_on(view)
            values = [view.get(self._generation + key, db=self._states) for key in keys]
        return [value and value[STATE_HEADER:] for value in values]

    def record(self, records: Iterable[tuple[bytes, bytes]]) -> int:
        values = ((key, NEVER + record) for key, record in records)
        return sum(self._write(batch, self._environment.records, overwrite=False) for batch in batches(values))

    def publish(self, fingerprint: str, through: int) -> bool:
        with self._environment.writing("published") as write:
            self._check_going_on(write)
            if self._outbox.last_sequence(write) > through:
                return False
            write.put(GENERATION, self._generation, db=self._meta)
            write.put(FINGERPRINT, fingerprint.encode(), db=self._meta)
        self._over = True
        with self._environment.explained("written to disk"):
            self._environment.lmdb.sync(True)
        self._remove(0, self._number)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over:
            self._over = True
            self._remove(self._number, self._number + 1)

    def _write(self, batch: Mapping[bytes, bytes], table: "lmdb._Database", overwrite: bool) -> int:
        """Write one batch, in the order of the tree's pages; returns how many of its values were written."""
        with self._environment.writing("rebuilt") as write, write.cursor(table) as cursor:
            self._check_going_on(write)
            _, written = cursor.putmulti(sorted(batch.items()), overwrite=overwrite)
        return written

    def _remove(self, first: int, before: int) -> None:
        """Remove the states of the generations in [first, before), but never of the one that serves."""
        more = True
        while more:
            with self._environment.step("swept") as write, write.cursor(self._states) as cursor:
                serving = write.get(GENERATION, NEVER, db=self._meta)
                cursor.set_range(number(first))
                for _ in range(BATCH):
                    generation = cursor.key()[: len(serving)]  # empty at the end
                    if generation == serving:
                        cursor.set_range(number(int.from_bytes(serving, "big") + 1))
                        generation = cursor.key()[: len(serving)]
                    more = b"" != generation < number(before)
                    if not more:
                        break
                    cursor.delete()

    def _check_going_on(self, view: "lmdb.Transaction[bytes]") -> None:
        if self._over or view.get(REBUILDS, db=self._meta) != self._generation:
            raise StoreError(
                f"This rebuild of the online store in {self._environment.folder} is over: it was published or left, "
                "or another rebuild began after it. Let that one finish; start again if it failed."
            )
