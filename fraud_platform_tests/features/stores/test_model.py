"""Any mixture of two clients' reads, commits and rebuilds gives what a dictionary gives."""

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

from fraud_platform.features.stores import Entry, Snapshot, Store
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform_tests.features.stores.places import key

NAMES = st.integers(0, 3)
CLIENT = st.integers(0, 1)
CONTENT = st.binary(max_size=8)
TIME = st.integers(-3, 3)
EXAMPLE = count(1)


@dataclass
class Model:
    """What the store should hold: values with the number of the change that made them."""

    records: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    states: dict[bytes, tuple[int, bytes, int]] = field(default_factory=dict)
    published: int = 0
    changes: int = 0

    def stamp(self) -> int:
        self.changes += 1
        return self.changes

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
        """Without the states of the examples before; and where the outbox ends now."""
        last = self.clients[0].entries(0, 1_000_000)
        self.through = last[-1].sequence if last else 0
        self.entries: list[Entry] = []
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
        content=CONTENT,
        event_us=TIME,
        written=st.tuples(st.sets(NAMES), st.sets(NAMES)),
    )
    def commit(
        self, client: int, read: Read, content: bytes, event_us: int, written: tuple[set[int], set[int]]
    ) -> None:
        snapshot = read.snapshot
        records = {name: b"r" + content for name in snapshot.records if name in self.keys(written[0])}
        states = {name: content for name in snapshot.states if name in self.keys(written[1])}
        sequence = self.clients[client].commit(snapshot, records, states, event_us, content)
        if read.seen != self.model.seen(list(snapshot.records), list(snapshot.states)):
            assert sequence is None
            return
        self.through += 1
        assert sequence == self.through
        self.entries.append(Entry(self.through, content))
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
            published = rebuild.publish(fingerprint, self.through - (not up_to_date))
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

    @rule(client=CLIENT, after=st.integers(0, 5), limit=st.integers(1, 5))
    def page(self, client: int, after: int, limit: int) -> None:
        before = self.through - len(self.entries)
        assert self.clients[client].entries(before + after, limit) == self.entries[after : after + limit]

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
