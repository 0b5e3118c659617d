"""Draining the online store's outbox into the warehouse, exactly once whatever happens.

A batch of entries and the place where it ends are written in one DuckDB transaction, and acknowledged to the
store afterwards. Where the two disagree about how far the warehouse has come (a drain that was killed between
them, a store that forgot its last commits in a power cut, another store, another warehouse), entries are read
again, and the ids of transactions and labels say which of them are known.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from fraud_platform.decisions.outbox_rows import (
    DECISION_COLUMNS,
    DecidedRows,
    OutboxRows,
    Row,
    UnfitEntry,
    frame_of,
)
from fraud_platform.features.stores import Store
from fraud_platform.transactions.live import FEEDBACK_COLUMNS, LIVE, live_columns
from fraud_platform.transactions.source_schema import Source
from fraud_platform.warehouse import create_table, rows_in_table, take_back_days, transaction, write_grown_days

BATCH = 10_000
"""Entries that are written together, some tens of megabytes of them."""

REJECT_COLUMNS = {
    "store": "VARCHAR",
    "sequence": "BIGINT",
    "content": "BLOB",
    "reason": "VARCHAR",
    "tried_at": "TIMESTAMP",
}
"""Columns of outbox_rejects: entries that are no rows, whole, and when it was last tried to make rows of them."""

_LABEL_KEY = ("transaction_id", "reported_at", "is_fraud")


@dataclass(frozen=True)
class Drained:
    """What a drain did.

    Attributes:
        decisions, labels: rows that are new in decision_log and feedback_labels.
        repeated: entries that the warehouse had already.
        rejects: entries in outbox_rejects, those of earlier drains included.
        through: the last sequence that was drained, 0 where there was none.
        left: entries that came meanwhile and are for the next drain.
        removed: entries that the store let go.
        missing: entries that the store had let go before this warehouse had them.
        newest_us: the latest event among the new decisions, microseconds; None where there was none.
    """

    decisions: int = 0
    labels: int = 0
    repeated: int = 0
    rejects: int = 0
    through: int = 0
    left: int = 0
    removed: int = 0
    missing: int = 0
    newest_us: int | None = None


class _Entry(NamedTuple):
    store: str
    sequence: int
    content: bytes


def drain(
    connection: duckdb.DuckDBPyConnection,
    store: Store | None,
    source: Source,
    raw_transactions: Path,
    raw_labels: Path,
    keep: int,
) -> Drained:
    """Bring what was decided and reported into decision_log, live_transactions and feedback_labels.

    The last two get day files beside the source's raw files, from which they come back where the warehouse
    lost them. The first decision on a transaction stays; another one on it, and what cannot be read, goes to
    outbox_rejects, which is tried again at every drain. What is committed during the drain is left.

    Args:
        store: None where none was made yet; then the tables are made, and that is all.
        raw_transactions, raw_labels: the folders of the source's raw files.
        keep: how many acknowledged entries the store keeps.

    Raises:
        StoreError: if the store cannot be read or written.
        WarehouseError: if the day files cannot be written.
    """
    with transaction(connection):
        _create_tables(connection, source)
        take_back_days(connection, "live_transactions", raw_transactions / LIVE, ["transaction_id"])
        take_back_days(connection, "feedback_labels", raw_labels / LIVE, _LABEL_KEY)
    done = _drained(connection, store, OutboxRows(source), keep) if store else Drained()
    write_grown_days(connection, "live_transactions", raw_transactions / LIVE, ["event_us", "transaction_id"])
    write_grown_days(connection, "feedback_labels", raw_labels / LIVE, _LABEL_KEY)
    return replace(done, rejects=rows_in_table(connection, "outbox_rejects"))


def _create_tables(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    create_table(connection, "decision_log", DECISION_COLUMNS)
    create_table(connection, "live_transactions", live_columns(source))
    create_table(connection, "feedback_labels", FEEDBACK_COLUMNS)
    create_table(connection, "outbox_rejects", REJECT_COLUMNS)
    # The key makes two drains at once conflict, where a lock on the file does not keep them apart.
    connection.execute(
        "CREATE TABLE IF NOT EXISTS outbox_position (store VARCHAR PRIMARY KEY, sequence BIGINT, drained_at TIMESTAMP)"
    )


def _drained(connection: duckdb.DuckDBPyConnection, store: Store, rows: OutboxRows, keep: int) -> Drained:
    identity, last = store.identity(), store.last_sequence()
    position, acknowledged = _position(connection, identity), store.acknowledged()
    # What the store says is acknowledged was written before, and stays so where the store forgets what came later;
    # the position says that it was written to this warehouse.
    known = min(position, acknowledged)
    after = 0 if last < position else known
    done = Drained(through=after)
    with transaction(connection):
        done = _write(connection, rows, _taken_rejects(connection), done)
    while after < last:
        entries = store.entries(after, BATCH)
        first = entries[0].sequence if entries else last + 1
        done = replace(done, missing=done.missing + max(0, first - 1 - max(after, known)))
        if not entries:
            break
        after = entries[-1].sequence
        with transaction(connection):
            _set_position(connection, identity, after)
            done = _write(connection, rows, [_Entry(identity, *entry) for entry in entries], done)
        # Nothing that the warehouse lacks may be acknowledged: the store lets it go.
        removed = store.acknowledge(after, keep)
        done = replace(done, through=after, removed=done.removed + removed)
    return replace(done, left=max(0, store.last_sequence() - after))


def _position(connection: duckdb.DuckDBPyConnection, identity: str) -> int:
    """The last sequence of a store that this warehouse wrote."""
    found = connection.execute("SELECT sequence FROM outbox_position WHERE store = ?", [identity]).fetchone()
    return int(found[0]) if found else 0


def _set_position(connection: duckdb.DuckDBPyConnection, identity: str, sequence: int) -> None:
    connection.execute(
        "INSERT INTO outbox_position VALUES (?, ?, ?) "
        "ON CONFLICT (store) DO UPDATE SET sequence = excluded.sequence, drained_at = excluded.drained_at",
        [identity, sequence, datetime.now(UTC).replace(tzinfo=None)],
    )


def _taken_rejects(connection: duckdb.DuckDBPyConnection) -> list[_Entry]:
    """Some of the rejects, those first that were not tried for longest, taken out of their table."""
    oldest = f"SELECT rowid FROM outbox_rejects ORDER BY tried_at, sequence LIMIT {BATCH}"
    taken = f"DELETE FROM outbox_rejects WHERE rowid IN ({oldest}) RETURNING store, sequence, content"
    return [_Entry(*row) for row in connection.execute(taken).fetchall()]


def _write(connection: duckdb.DuckDBPyConnection, rows: OutboxRows, entries: list[_Entry], done: Drained) -> Drained:
    """Insert the rows of these entries that the tables lack."""
    decided: list[tuple[_Entry, DecidedRows]] = []
    labels: dict[tuple[object, ...], Row] = {}
    rejected: list[tuple[_Entry, str]] = []
    repeated = 0
    for entry in entries:
        try:
            found = rows.of(entry.sequence, entry.content)
        except UnfitEntry as error:
            rejected.append((entry, str(error)))
            continue
        if isinstance(found, DecidedRows):
            decided.append((entry, found))
        else:
            key = tuple(found.label[name] for name in _LABEL_KEY)
            repeated += key in labels
            labels.setdefault(key, found.label)
    new, again = _new_decisions(connection, decided, rejected)
    _insert(connection, "decision_log", DECISION_COLUMNS, [row.decision for row in new])
    _insert(connection, "live_transactions", rows.columns, [row.transaction for row in new], ("transaction_id",))
    reported = _insert(connection, "feedback_labels", FEEDBACK_COLUMNS, list(labels.values()), _LABEL_KEY)
    _insert_rejects(connection, rejected)
    moments = [row.decision["event_us"] for row in new]
    return replace(
        done,
        decisions=done.decisions + len(new),
        labels=done.labels + reported,
        repeated=done.repeated + repeated + again + len(labels) - reported,
        newest_us=max([*moments, done.newest_us] if done.newest_us is not None else moments, default=None),
    )


def _new_decisions(
    connection: duckdb.DuckDBPyConnection,
    decided: list[tuple[_Entry, DecidedRows]],
    rejected: list[tuple[_Entry, str]],
) -> tuple[list[DecidedRows], int]:
    """Those that decision_log lacks, and the number of those that it has; others on its transactions are rejected."""
    ids = [row.decision["transaction_id"] for _, row in decided]
    query = (
        "SELECT transaction_id, epoch_us(decided_at) FROM decision_log WHERE transaction_id IN (SELECT unnest($ids))"
    )
    known = dict(connection.execute(query, {"ids": ids}).fetchall()) if ids else {}
    new: list[DecidedRows] = []
    again = 0
    for entry, row in decided:
        transaction_id, decided_us = row.decision["transaction_id"], row.decision["decided_at"]
        if transaction_id not in known:
            known[transaction_id] = decided_us
            new.append(row)
        elif known[transaction_id] == decided_us:
            again += 1
        else:
            rejected.append((entry, f"decision_log has another decision on {transaction_id}, which came first"))
    return new, again


def _insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: dict[str, str],
    rows: list[Row],
    key: tuple[str, ...] = (),
) -> int:
    """Insert rows; where there is a key, those that the table lacks. Returns how many."""
    if not rows:
        return 0
    connection.register("drained_rows", frame_of(rows, columns).to_arrow())
    known = f"ANTI JOIN {table} USING ({', '.join(key)})" if key else ""
    ((inserted,),) = connection.execute(
        f"INSERT INTO {table} BY NAME SELECT d.* FROM drained_rows d {known}"
    ).fetchall()
    connection.unregister("drained_rows")
    return int(inserted)


def _insert_rejects(connection: duckdb.DuckDBPyConnection, rejected: list[tuple[_Entry, str]]) -> None:
    tried_at = int(datetime.now(UTC).timestamp() * 1_000_000)
    rows = [{**entry._asdict(), "reason": reason, "tried_at": tried_at} for entry, reason in rejected]
    _insert(connection, "outbox_rejects", REJECT_COLUMNS, rows, ("store", "sequence", "content"))
