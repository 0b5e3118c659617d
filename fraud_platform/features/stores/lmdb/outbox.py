"""The outbox, and the keys under which a person finds its entries again."""

from collections.abc import Sequence
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from fraud_platform.features.stores import KEY_BYTES, Entry, NewEntry
from fraud_platform.features.stores.lmdb.environment import Environment
from fraud_platform.features.stores.lmdb.layout import (
    ACKNOWLEDGED,
    NEVER,
    VERSION_BYTES,
    content_of,
    filed_under,
    number,
    outbox_value,
)

if TYPE_CHECKING:
    import lmdb

REMOVED_AT_ONCE = 100
"""Entries that one write transaction removes: some milliseconds, which the commits of others wait for."""

_AFTER_ALL = b"\xff" * VERSION_BYTES
"""A sequence that no entry has."""


class Outbox:
    """Entries by sequence. An entry goes together with its filings."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._table, self._filed, self._meta = environment.outbox, environment.filed, environment.meta

    def append(self, write: "lmdb.Transaction[bytes]", entries: Sequence[NewEntry]) -> int:
        """Append entries and file them; returns the sequence of the last."""
        sequence = self.last_sequence(write)
        filings: list[bytes] = []
        for content, under in entries:
            sequence += 1
            at = number(sequence)
            write.put(at, outbox_value(content, under), append=True, db=self._table)
            filings += [key + at for key in under]
        for filing in sorted(filings):  # in the order of the pages
            write.put(filing, b"", db=self._filed)
        return sequence

    def last_sequence(self, view: "lmdb.Transaction[bytes]") -> int:
        """Where all entries are removed, it is the last of them that was acknowledged."""
        with view.cursor(self._table) as cursor:
            return _sequence(cursor.key()) if cursor.last() else self.acknowledged(view)

    def acknowledged(self, view: "lmdb.Transaction[bytes]") -> int:
        return _sequence(view.get(ACKNOWLEDGED, NEVER, db=self._meta))

    def entries(self, after: int, limit: int) -> list[Entry]:
        with self._environment.reading() as view, view.cursor(self._table) as cursor:
            if not cursor.set_range(number(after + 1)):
                return []  # a cursor without a place would begin at the first
            return [Entry(_sequence(key), content_of(value)) for key, value in islice(cursor, limit)]

    def filed(self, under: bytes, limit: int) -> list[Entry]:
        found: list[Entry] = []
        with self._environment.reading() as view, view.cursor(self._filed) as cursor:
            more = cursor.prev() if cursor.set_range(under + _AFTER_ALL) else cursor.last()
            while more and len(found) < limit and cursor.key().startswith(under):
                at = cursor.key()[KEY_BYTES:]
                if (value := view.get(at, db=self._table)) is not None:
                    found.append(Entry(_sequence(at), content_of(value)))
                more = cursor.prev()
        return found

    def acknowledge(self, through: int, keep: int) -> int:
        if keep < 0:
            raise ValueError(f"{keep} entries cannot be kept: give 0 or more.")
        with self._environment.writing("cut") as write:
            acknowledged = max(self.acknowledged(write), min(through, self.last_sequence(write)))
            write.put(ACKNOWLEDGED, number(acknowledged), db=self._meta)
        removed = 0
        while oldest := self._oldest(acknowledged - keep):
            with self._environment.step("cut") as write:
                for filing in sorted(key + at for at, under in oldest.items() for key in under):
                    write.delete(filing, db=self._filed)
                removed += sum(write.delete(at, db=self._table) for at in oldest)
        return removed

    def _oldest(self, through: int) -> dict[bytes, list[bytes]]:
        """The oldest entries up to a sequence, so many as go at once, and what they are filed under.

        They are read outside the transaction that removes them, which is shorter for it.
        """
        with self._environment.reading() as view, view.cursor(self._table) as cursor:
            values = takewhile(lambda row: _sequence(row[0]) <= through, islice(cursor, REMOVED_AT_ONCE))
            return {at: filed_under(value) for at, value in values}


def _sequence(key: bytes) -> int:
    return int.from_bytes(key, "big")
