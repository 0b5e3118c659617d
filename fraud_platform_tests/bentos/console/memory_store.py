"""The store's protocol in a few dicts: obviously correct, for one thread."""

from collections import defaultdict
from collections.abc import Sequence

from fraud_platform.features.stores import Change, Entry, Rebuild, Snapshot


class MemoryStore:
    """Records, the outbox with its filings, and the queue; no states."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.outbox: list[Entry] = []
        self.filings: dict[bytes, list[Entry]] = defaultdict(list)
        self.waits: dict[bytes, int] = {}
        self.done = 0
        self.sequence = 0

    def read(self, records: Sequence[bytes], states: Sequence[bytes]) -> Snapshot:
        return Snapshot({key: self.records.get(key) for key in records}, dict.fromkeys(states), None)

    def commit(self, snapshot: Snapshot, change: Change) -> int | None:
        self.records |= change.records
        for entry in change.entries:
            self.sequence += 1
            kept = Entry(self.sequence, entry.content)
            self.outbox.append(kept)
            for key in set(entry.under):
                self.filings[key].append(kept)
        for key, priority in change.queue.items():
            self.waits.pop(key, None)
            if priority is not None:
                self.waits[key] = priority
        return self.sequence

    def entries(self, after: int, limit: int) -> list[Entry]:
        return [entry for entry in self.outbox if entry.sequence > after][:limit]

    def last_sequence(self) -> int:
        return self.sequence

    def filed(self, under: bytes, limit: int) -> list[Entry]:
        return self.filings[under][::-1][:limit]

    def queue(self, limit: int) -> list[bytes]:
        return sorted(self.waits, key=lambda key: (-self.waits[key], key))[:limit]

    def waiting(self) -> int:
        return len(self.waits)

    def acknowledge(self, through: int, keep: int) -> int:
        self.done = max(self.done, min(through, self.sequence))
        gone = [entry for entry in self.outbox if entry.sequence <= self.done - keep]
        self.outbox = [entry for entry in self.outbox if entry not in gone]
        for key, filed in self.filings.items():
            self.filings[key] = [entry for entry in filed if entry not in gone]
        return len(gone)

    def acknowledged(self) -> int:
        return self.done

    def identity(self) -> str:
        return "0" * 32

    def rebuild(self) -> Rebuild:
        raise NotImplementedError("the console never rebuilds")

    def expire(self, before_us: int) -> int:
        return 0

    def fingerprint(self) -> str | None:
        return "0f27f6bd1eb9c87c"

    def close(self) -> None: ...
