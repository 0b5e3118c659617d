"""What an online store does; each store is one package in this one.

A store keeps: records (what was decided and reported, for ever), states (one per key of an entity,
replaced together by a rebuild, gone when they are too old to be read), the outbox (what was committed, in
order, for the warehouse, filed under keys by which a person finds it again), and the queue (records that
wait for a person). It knows nothing of what the bytes mean.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Protocol, Self

KEY_BYTES = 16
FILINGS = 255
"""Keys that one entry is filed under, at most: a store keeps their number in one byte."""
HIGHEST_PRIORITY = 2**62


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one read saw: the ground that a commit stands on.

    Attributes:
        records: the value of each record that was asked for, None where there is none.
        states: the value of each state that was asked for, None where there is none.
        seen: what the store itself needs to find out whether any of them changed since.
    """

    records: Mapping[bytes, bytes | None]
    states: Mapping[bytes, bytes | None]
    seen: object


class NewEntry(NamedTuple):
    """What is appended to the outbox, and the keys (16 bytes each, at most 255) that it is filed under.

    A key that is given twice counts once.
    """

    content: bytes
    under: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit writes, all or nothing.

    Raises:
        ValueError: if it has no entry, or a key or a priority that no store can keep.

    Attributes:
        records, states: the new values.
        event_us: the latest event time that the states hold, microseconds.
        entries: appended to the outbox in this order; at least one.
        queue: by the key of a record, its priority (0 to 2^62, the higher the sooner) where it begins to
            wait for a person, None where it no longer does. One that waits already moves to its new priority;
            taking off what does not wait changes nothing.
    """

    records: Mapping[bytes, bytes]
    states: Mapping[bytes, bytes]
    event_us: int
    entries: Sequence[NewEntry]
    queue: Mapping[bytes, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.entries:
            raise ValueError("A change without an entry would never reach the warehouse: give it one.")
        for _, under in self.entries:
            if len(under) > FILINGS or any(len(key) != KEY_BYTES for key in under):
                lengths = sorted({len(key) for key in under})
                raise ValueError(
                    f"An entry is filed under {len(under)} keys of {lengths} bytes: "
                    f"give at most {FILINGS}, each of {KEY_BYTES} bytes."
                )
        for key, priority in self.queue.items():
            if len(key) != KEY_BYTES or not (priority is None or 0 <= priority <= HIGHEST_PRIORITY):
                raise ValueError(
                    f"{key!r} cannot wait with priority {priority}: give a key of {KEY_BYTES} bytes, 0 to 2^62 or None."
                )


class Entry(NamedTuple):
    """One entry of the outbox; sequences grow by commit order and are never used twice."""

    sequence: int
    content: bytes


class Rebuild(Protocol):
    """A new set of states, invisible until it is published. Leaving the block unpublished drops it."""

    def put(self, states: Iterable[tuple[bytes, int, bytes]]) -> int:
        """Write or replace states, each (key, the latest event time that it holds in µs, state).

        Returns the number written. Commits of others go on meanwhile.
        """
        ...

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The new state of each key, None where there is none."""
        ...

    def record(self, records: Iterable[tuple[bytes, bytes]]) -> int:
        """Write records that the store does not have yet; those it has stay. Visible at once."""
        ...

    def publish(self, fingerprint: str, through: int) -> bool:
        """Replace all states by the new ones at once, unless the outbox has entries after `through`.

        Returns False, having changed nothing, where it has: catch up with them and publish again.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """Safe for many processes at once; every process opens it for itself.

    Keys are 16 bytes. Every method raises StoreError, saying what to do, where the store cannot be
    read or written.
    """

    def read(self, records: Sequence[bytes], states: Sequence[bytes]) -> Snapshot:
        """The present values, all as of one moment, in one round trip."""
        ...

    def commit(self, snapshot: Snapshot, change: Change) -> int | None:
        """Write a change: all of it or nothing, in one round trip.

        Args:
            snapshot: from `read`, for at least the records and states that are written.

        Returns:
            The last entry's sequence, those of the others just before it; None, with nothing written, where any
            record or state that the snapshot holds has changed since, or the states were rebuilt: read again,
            compute again, commit again.
        """
        ...

    def entries(self, after: int, limit: int) -> list[Entry]:
        """The first `limit` entries of the outbox whose sequence is greater than `after`, in order."""
        ...

    def last_sequence(self) -> int:
        """The sequence of the newest entry, 0 before the first."""
        ...

    def filed(self, under: bytes, limit: int) -> list[Entry]:
        """The newest `limit` entries filed under a key that the outbox still has, the newest first."""
        ...

    def queue(self, limit: int) -> list[bytes]:
        """The keys of the records that wait, highest priority first; of equal ones in the order of the keys."""
        ...

    def waiting(self) -> int:
        """How many records wait."""
        ...

    def acknowledge(self, through: int, keep: int) -> int:
        """Note that the warehouse has the entries up to `through`, and remove all that it has but the newest `keep`.

        Entries go with their filings, in steps that commits of others wait for only milliseconds, and at a cost
        that grows with what is removed. It may be called again, by anybody, after it was interrupted.

        Returns:
            The number removed. What was acknowledged never goes back; entries that were not are never removed, those
            of later commits included where `through` is beyond the last.

        Raises:
            ValueError: if `keep` is negative.
        """
        ...

    def acknowledged(self) -> int:
        """The greatest sequence that the warehouse has, 0 before the first."""
        ...

    def identity(self) -> str:
        """A name that the store was given when it was made: another one means that its sequences began anew.

        A store that lost its latest commits (a power cut, a failover) keeps its name and uses their sequences again.
        """
        ...

    def rebuild(self) -> Rebuild:
        """Begin a new set of states; the old one serves until the new one is published."""
        ...

    def expire(self, before_us: int) -> int:
        """Remove the states whose latest event is before this moment; returns how many.

        A store that lets them go by itself removes none.
        """
        ...

    def fingerprint(self) -> str | None:
        """The fingerprint of the catalog that the states belong to; None where none were published."""
        ...

    def close(self) -> None: ...
