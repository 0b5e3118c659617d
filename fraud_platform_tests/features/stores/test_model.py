"""Any mixture of two clients' calls gives what dictionaries and a list give."""

from dataclasses import dataclass, field
from itertools import count

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from fraud_platform.features.stores import Change, Entry, NewEntry, Snapshot, Store
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform_tests.features.stores.places import committed, held_filings, key

NAMES = st.integers(0, 3)
CLIENT = st.integers(0, 1)
CONTENT = st.binary(max_size=8)
TIME = st.integers(-3, 3)
ENTRIES = st.lists(st.tuples(CONTENT, st.lists(NAMES, max_size=3)), min_size=1, max_size=3)
"""Contents, each with the names that it is filed under, which may come twice."""
QUEUE = st.dictionaries(NAMES, st.none() | st.sampled_from([0, 1, 2, 2**53, 2**53 + 1, 2**62]))
LIMIT = st.integers(0, 4)
EXAMPLE = count(1)


@dataclass
class Model:
    """What the store should hold: values with the number of the change that made them."""

    records: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    states: dict[bytes, tuple[int, bytes, int]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    under: dict[int, set[bytes]] = field(default_factory=dict)
    waiting: dict[bytes, int] = field(default_factory=dict)
    last: int = 0
    acknowledged: int = 0
    published: int = 0
    changes: int = 0

    def stamp(self) -> int:
        self.changes += 1
        return self.changes

    def append(self, change: Change) -> None:
        """What a commit does to outbox and queue."""
        for content, under in change.entries:
            self.last += 1
            self.entries.append(Entry(self.last, content))
            self.under[self.last] = set(under)
        for name, priority in change.queue.items():
            self.waiting.pop(name, None)
            if priority is not None:
                self.waiting[name] = priority

    def seen(self, records: list[bytes], states: list[bytes]) -> object:
        """What must not have changed when a commit that read these succeeds."""
        return self.published, [self.records.get(name) for name in records], [self.states.get(name) for name in states]


@dataclass
class Read:
    snapshot: Snapshot
    seen: object


class Clients(RuleBasedStateMachine):
    """Two clients of one store. Examples share the store; each has keys of its own."""

    reads = Bundle("reads")

    def __init__(self, clients: tuple[Store, Store]) -> None:
        super().__init__()
        self.clients = clients
        self.model = Model()
        self.example = next(EXAMPLE)

    def key(self, name: int) -> bytes:
        return key(self.example << 8 | name)

    def keys(self, names: set[int]) -> list[bytes]:
        return [self.key(name) for name in sorted(names)]

    @initialize()
    def begin(self) -> None:
        """Without the states, the entries and the queue of the examples before."""
        store = self.clients[0]
        if left := store.queue(100):
            committed(store, Change({}, {}, 0, [NewEntry(b"")], dict.fromkeys(left)))
        self.model.last = self.model.acknowledged = store.last_sequence()
        store.acknowledge(self.model.last, 0)
        self.rebuild(0, {}, True, "empty")

    @rule(target=reads, client=CLIENT, records=st.sets(NAMES), states=st.sets(NAMES))
    def read(self, client: int, records: set[int], states: set[int]) -> Read:
        snapshot = self.clients[client].read(self.keys(records), self.keys(states))
        held_records, held_states = self.model.records, self.model.states
        assert snapshot.records == {n: held_records[n][1] if n in held_records else None for n in self.keys(records)}
        assert snapshot.states == {n: held_states[n][1] if n in held_states else None for n in self.keys(states)}
        return Read(snapshot, self.model.seen(self.keys(records), self.keys(states)))

    @rule(
        client=CLIENT,
        read=st.one_of(reads, consumes(reads)),
        entries=ENTRIES,
        queue=QUEUE,
        event_us=TIME,
        written=st.tuples(st.sets(NAMES), st.sets(NAMES)),
    )
    def commit(
        self,
        client: int,
        read: Read,
        entries: list[tuple[bytes, list[int]]],
        queue: dict[int, int | None],
        event_us: int,
        written: tuple[set[int], set[int]],
    ) -> None:
        snapshot, content = read.snapshot, entries[0][0]
        records = {name: b"r" + content for name in snapshot.records if name in self.keys(written[0])}
        states = {name: content for name in snapshot.states if name in self.keys(written[1])}
        appended = [NewEntry(content, tuple(self.key(name) for name in names)) for content, names in entries]
        changed = Change(records, states, event_us, appended, {self.key(n): priority for n, priority in queue.items()})
        sequence = self.clients[client].commit(snapshot, changed)
        if read.seen != self.model.seen(list(snapshot.records), list(snapshot.states)):
            assert sequence is None
            return
        assert sequence == self.model.last + len(entries)
        self.model.append(changed)
        for name, record in records.items():
            self.model.records[name] = self.model.stamp(), record
        for name, state in states.items():
            self.model.states[name] = self.model.stamp(), state, event_us

    @rule(
        client=CLIENT,
        states=st.dictionaries(NAMES, st.tuples(TIME, CONTENT)),
        up_to_date=st.booleans(),
        fingerprint=st.text(max_size=5),
    )
    def rebuild(self, client: int, states: dict[int, tuple[int, bytes]], up_to_date: bool, fingerprint: str) -> None:
        rows = [(self.key(name), event_us, state) for name, (event_us, state) in states.items()]
        with self.clients[client].rebuild() as rebuild:
            assert rebuild.put(rows) == len(rows)
            assert rebuild.get([name for name, _, _ in rows]) == [state for _, _, state in rows]
            published = rebuild.publish(fingerprint, self.model.last - (not up_to_date))
        assert published == up_to_date
        if published:
            assert self.clients[1 - client].fingerprint() == fingerprint
            self.model.published = self.model.stamp()
            self.model.states = {name: (self.model.stamp(), state, event_us) for name, event_us, state in rows}

    @rule(client=CLIENT, names=st.sets(NAMES), content=CONTENT)
    def record(self, client: int, names: set[int], content: bytes) -> None:
        new = set(self.keys(names)) - self.model.records.keys()
        with self.clients[client].rebuild() as rebuild:
            assert rebuild.record((name, content) for name in self.keys(names)) == len(new)
        for name in new:
            self.model.records[name] = self.model.stamp(), content

    @rule(client=CLIENT, before_us=TIME)
    def expire(self, client: int, before_us: int) -> None:
        removed = self.clients[client].expire(before_us)
        if isinstance(self.clients[client], LmdbStore):
            old = [name for name, (_, _, event_us) in self.model.states.items() if event_us < before_us]
            assert removed == len(old)
            for name in old:
                del self.model.states[name]
        else:
            assert removed == 0

    @rule(client=CLIENT, back=st.integers(-1, 9), limit=LIMIT)
    def page(self, client: int, back: int, limit: int) -> None:
        after = max(0, self.model.last - back)
        expected = [entry for entry in self.model.entries if entry.sequence > after]
        assert self.clients[client].entries(after, limit) == expected[:limit]

    @rule(client=CLIENT, name=NAMES, limit=LIMIT)
    def filed(self, client: int, name: int, limit: int) -> None:
        expected = [e for e in reversed(self.model.entries) if self.key(name) in self.model.under[e.sequence]]
        assert self.clients[client].filed(self.key(name), limit) == expected[:limit]

    @rule(client=CLIENT, limit=LIMIT)
    def queue(self, client: int, limit: int) -> None:
        expected = sorted(self.model.waiting, key=lambda name: (-self.model.waiting[name], name))
        assert self.clients[client].queue(limit) == expected[:limit]

    @rule(client=CLIENT, back=st.integers(-2, 6), keep=st.integers(0, 5))
    def acknowledge(self, client: int, back: int, keep: int) -> None:
        model, through = self.model, self.model.last - back
        model.acknowledged = max(model.acknowledged, min(through, model.last))
        kept = [entry for entry in model.entries if entry.sequence > model.acknowledged - keep]
        assert self.clients[client].acknowledge(through, keep) == len(model.entries) - len(kept)
        model.entries = kept

    @rule(client=CLIENT)
    def counts(self, client: int) -> None:
        store, model = self.clients[client], self.model
        assert (store.last_sequence(), store.acknowledged()) == (model.last, model.acknowledged)
        assert store.waiting() == len(model.waiting)
        assert held_filings(store) == sum(len(model.under[entry.sequence]) for entry in model.entries)

    @invariant()
    def both_clients_see_all(self) -> None:
        names = self.keys(set(range(4)))
        for store in self.clients:
            snapshot = store.read(names, names)
            assert {n: v for n, v in snapshot.records.items() if v is not None} == {
                name: record for name, (_, record) in self.model.records.items()
            }
            assert {n: v for n, v in snapshot.states.items() if v is not None} == {
                name: state for name, (_, state, _) in self.model.states.items()
            }


def test_a_store_is_a_dictionary_whatever_the_order(store: Store, other: Store) -> None:
    class Machine(Clients):
        def __init__(self) -> None:
            super().__init__((store, other))

    run_state_machine_as_test(Machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
