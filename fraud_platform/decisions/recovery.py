"""Rebuilding the online store: the states as the warehouse knows them, then what the outbox knows beyond it.

What was drained and is not validated yet is in the warehouse too: the outbox may have let it go. The service
goes on deciding meanwhile; the new states replace the old ones at once, when nothing was committed that they do
not hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import duckdb
import msgspec
import polars as pl

from fraud_platform.decisions.journal import Decided, Labelled, decision_key, decode, encode, label_key
from fraud_platform.decisions.unvalidated import REFUSED, UNVALIDATED, known_tables
from fraud_platform.features.events import VALIDATED, Tables, read_events
from fraud_platform.features.expressions import KNOWN_FRAUD
from fraud_platform.features.online import OnlineFeatures, states_of
from fraud_platform.features.selection import Catalog
from fraud_platform.features.stores import Entry, Rebuild, Store
from fraud_platform.transactions.request import to_microseconds
from fraud_platform.warehouse import last_day, rows_in_table

ENTRIES_AT_ONCE = 1000
_NEVER = 2**62
_UNKNOWN = (-1, False, False)


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        keys: states written from the warehouse.
        events: events of the warehouse that they hold.
        unvalidated: those of them that were drained and are not validated yet.
        caught_up: events of the outbox that the warehouse did not have.
        relabelled: labels of the outbox that changed a state.
        unreadable: entries of the outbox that this version cannot read, and the states lack.
        latest_us: the latest event of the warehouse, microseconds.
    """

    keys: int
    events: int
    unvalidated: int
    caught_up: int
    relabelled: int
    latest_us: int
    unreadable: int = 0


def rebuild_states(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, store: Store, before: datetime | None = None
) -> Rebuilt:
    """Build the states of every key anew and publish them; decisions and labels stay.

    Args:
        before: take only events and labels from before this moment, and nothing from the outbox;
            default: all that there is.

    Raises:
        WarehouseError: if there are no validated transactions.
        StoreError: if the store cannot be written.
    """
    tables = VALIDATED if before else known_tables(connection)
    last = last_day(connection, "validated_transactions") if before is None else (before - timedelta(days=1)).date()
    last = max(last, last_day(connection, tables.transactions)) if before is None else last
    events = read_events(connection, catalog, last + timedelta(days=1), last, before, tables)
    latest = int(events["event_us"].max() or 0)  # pyright: ignore[reportArgumentType] - an int64 column
    unvalidated = 0 if before else rows_in_table(connection, UNVALIDATED)
    with store.rebuild() as new:
        done = Rebuilt(new.put(states_of(events, catalog)), events.height, unvalidated, 0, 0, latest)
        new.record(_known_frauds(connection, catalog, tables, events, before))
        catch_up = _CatchUp(connection, catalog, tables, store, new)
        through = 0
        while True:
            entries = store.entries(through, ENTRIES_AT_ONCE)
            if before is None:
                done = catch_up.take(entries, done)
            # What the outbox has let go was acknowledged, and is in the warehouse.
            through = entries[-1].sequence if entries else max(through, store.acknowledged())
            if not entries and new.publish(catalog.fingerprint, through):
                return done


class _CatchUp:
    """Adds to the new states what the outbox has and the warehouse lacks."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, catalog: Catalog, tables: Tables, store: Store, new: Rebuild
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._catalog = catalog
        self._features = OnlineFeatures(catalog)
        self._store = store
        self._new = new
        self._present: set[str] = set()
        """The transactions of the outbox that the new states hold."""
        self._counted: dict[str, tuple[int, bool, bool]] = {}
        """By transaction: when it was reported, whether as a fraud, and whether the new states count it."""

    def take(self, entries: list[Entry], done: Rebuilt) -> Rebuilt:
        found = [one for one in map(_read, entries) if one is not None]
        done = replace(done, unreadable=done.unreadable + len(entries) - len(found))
        ids = [_id_of(entry) for entry in found]
        held = self._among(ids, self._tables.transactions)
        refused = self._among(ids, REFUSED)
        self._present |= held
        self._read_labels(ids)
        for entry in found:
            if isinstance(entry, Labelled):
                done = replace(done, relabelled=done.relabelled + self._relabel(entry))
            elif _id_of(entry) not in held | refused:
                self._add(entry)
                done = replace(done, caught_up=done.caught_up + 1)
        return done

    def _add(self, entry: Decided) -> None:
        transaction_id, event = entry.decision.transaction_id, entry.event
        keys = self._features.keys(event)
        states = dict(zip(keys.values(), self._new.get(list(keys.values())), strict=True))
        features = self._features.compute(event, keys, states)
        self._new.put((key, features.latest_us, state) for key, state in features.states.items())
        reported, was_fraud, _ = self._counted.get(transaction_id, _UNKNOWN)
        self._counted[transaction_id] = (reported, was_fraud, bool(event[KNOWN_FRAUD]))
        self._present.add(transaction_id)

    def _relabel(self, label: Labelled) -> bool:
        reported, was_fraud, counted = self._counted.get(label.transaction_id, _UNKNOWN)
        if (label.reported_us, label.is_fraud) <= (reported, was_fraud):
            return False
        at = decision_key(label.transaction_id)
        record = self._store.read([at], []).records[at]
        decided = decode(record) if record else None
        counts = counted
        # A label that came before its event is in what the event was taken in with.
        if isinstance(decided, Decided) and label.transaction_id in self._present:
            event = decided.event
            if label.reported_us <= event["event_us"] + self._catalog.label_delay_us:
                counts = label.is_fraud
            if counts != counted:
                keys = self._features.labelled_keys(event)
                states = dict(zip(keys.values(), self._new.get(list(keys.values())), strict=True))
                after = self._features.relabel(event, keys, states, counts - counted)
                self._new.put((key, label.reported_us, state) for key, state in after.items())
        self._counted[label.transaction_id] = (label.reported_us, label.is_fraud, counts)
        return counts != counted

    def _among(self, ids: list[str], table: str) -> set[str]:
        """Those that the table has."""
        query = f"SELECT transaction_id FROM {table} WHERE transaction_id IN (SELECT unnest($ids))"
        return {row[0] for row in self._connection.execute(query, {"ids": ids}).fetchall()} if ids else set()

    def _read_labels(self, ids: list[str]) -> None:
        """What the warehouse knows about these transactions, once each."""
        asked = [transaction_id for transaction_id in ids if transaction_id not in self._counted]
        labels = _labels(self._connection, self._catalog, self._tables, asked)
        for transaction_id, is_fraud, reported_us, counts in labels:
            self._counted[transaction_id] = (reported_us, is_fraud, counts)


def _read(entry: Entry) -> Decided | Labelled | None:
    """None for what a drain puts into outbox_rejects: it must not keep the states from being rebuilt."""
    try:
        return decode(entry.content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _id_of(entry: Decided | Labelled) -> str:
    return entry.transaction_id if isinstance(entry, Labelled) else entry.decision.transaction_id


def _labels(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    tables: Tables,
    ids: list[str],
    before: datetime | None = None,
) -> list[tuple[str, bool, int, bool]]:
    """The newest label of each transaction that has one in time: id, verdict, when, whether the states count it."""
    query = f"""
        SELECT l.transaction_id, max(struct_pack(us := epoch_us(l.reported_at), fraud := l.is_fraud)) AS newest
        FROM {tables.labels} l JOIN {tables.transactions} t USING (transaction_id)
        WHERE l.transaction_id IN (SELECT unnest($ids)) AND epoch_us(l.reported_at) <= t.event_us + $delay
            AND epoch_us(l.reported_at) < $before
        GROUP BY l.transaction_id
    """
    parameters = {"ids": ids, "delay": catalog.label_delay_us, "before": to_microseconds(before) if before else _NEVER}
    rows = connection.execute(query, parameters).fetchall() if ids else []
    return [(transaction_id, newest["fraud"], newest["us"], newest["fraud"]) for transaction_id, newest in rows]


def _known_frauds(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    tables: Tables,
    events: pl.DataFrame,
    before: datetime | None,
) -> Iterator[tuple[bytes, bytes]]:
    """The label records of the frauds that the states count and that may still be taken back in time."""
    moment = to_microseconds(before) if before else int(events["event_us"].max() or 0)  # pyright: ignore[reportArgumentType]
    recent = events.filter((pl.col(KNOWN_FRAUD) == 1) & (pl.col("event_us") + catalog.label_delay_us >= moment))
    ids = recent["transaction_id"].to_list()
    for transaction_id, is_fraud, reported_us, counts in _labels(connection, catalog, tables, ids, before):
        record = Labelled(transaction_id, is_fraud, reported_us, counts)
        yield label_key(transaction_id), encode(record)


def moment_of(event_us: int) -> datetime:
    """The moment, in UTC, of a number of microseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event_us)
