"""What was drained from the outbox and is not in the validated tables yet."""

from dataclasses import dataclass
from datetime import date

import duckdb

from fraud_platform.features.events import Tables
from fraud_platform.transactions.live import LIVE
from fraud_platform.transactions.mapping import quoted
from fraud_platform.warehouse import columns_of, has_table

VALIDATED, UNVALIDATED = "validated_transactions", "unvalidated_transactions"
REFUSED = f"(SELECT transaction_id FROM quarantined_transactions WHERE starts_with(source_file, '{LIVE}/'))"
"""SQL of the live events that validation refused. What it refuses of a file is another row, whatever its id."""


@dataclass(frozen=True)
class Waiting:
    """Rows that wait for the pipeline, and the days of their events; the days are None where there is no row."""

    rows: int
    first: date | None
    last: date | None


def waiting_transactions(connection: duckdb.DuckDBPyConnection) -> Waiting:
    """The live transactions that are neither validated nor refused. Call it after a drain, which makes the tables."""
    return _waiting(connection, _unvalidated(connection))


def waiting_labels(connection: duckdb.DuckDBPyConnection) -> tuple[Waiting, int]:
    """The labels that are not in validated_labels although their event is known, and how many have no event yet.

    Call it after a drain, which makes the tables.
    """
    events = "SELECT transaction_id, day AS event_day, event_time FROM "
    known = f"{events} {_unvalidated(connection)}"
    if has_table(connection, VALIDATED):
        # A transaction is of the day on which it is validated, whatever its live copy says.
        known = f"{events} {VALIDATED} UNION ALL {known}"
    # What was reported before its event is validated as known from the event on.
    labels = (
        "SELECT f.transaction_id, event_day AS day, greatest(f.reported_at, event_time) AS reported_at "
        f"FROM feedback_labels f LEFT JOIN ({known}) USING (transaction_id)"
    )
    ((without,),) = connection.execute(f"SELECT count(*) FROM ({labels}) WHERE day IS NULL").fetchall()
    new = f"({labels} WHERE event_day IS NOT NULL)"
    if has_table(connection, "validated_labels"):
        refused = f"SELECT transaction_id FROM quarantined_labels WHERE starts_with(source_file, '{LIVE}/')"
        done = "validated_labels USING (transaction_id, reported_at)"
        new = f"(FROM {new} ANTI JOIN {done} ANTI JOIN ({refused}) USING (transaction_id))"
    return _waiting(connection, new), int(without)


def _waiting(connection: duckdb.DuckDBPyConnection, rows: str) -> Waiting:
    ((count, first, last),) = connection.execute(f"SELECT count(*), min(day), max(day) FROM {rows}").fetchall()
    return Waiting(int(count), first, last)


def known_tables(connection: duckdb.DuckDBPyConnection) -> Tables:
    """Temporary views of all events and labels that the warehouse has: the validated ones, and those that will be.

    The table `unvalidated_transactions` has the latter events alone. Events that were refused are in none.
    """
    columns = columns_of(connection, f"SELECT * FROM {VALIDATED}")
    drained = has_table(connection, "live_transactions")
    given = columns_of(connection, "SELECT * FROM live_transactions") if drained else {}
    values = ", ".join(
        f"TRY_CAST({quoted(name) if name in given else 'NULL'} AS {type_}) AS {quoted(name)}"
        for name, type_ in columns.items()
    )
    rows = _unvalidated(connection) if drained else "(SELECT 1 WHERE false)"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {UNVALIDATED} AS SELECT {values} FROM {rows}")
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW known_transactions AS "
        f"SELECT * FROM {VALIDATED} UNION ALL SELECT * FROM {UNVALIDATED}"
    )
    labels = "SELECT transaction_id, is_fraud, reported_at FROM "
    feedback = f" UNION ALL {labels} feedback_labels" if drained else ""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW known_labels AS {labels} validated_labels{feedback}")
    return Tables("known_transactions", "known_labels")


def _unvalidated(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL of the rows of live_transactions that are neither validated nor refused."""
    if not has_table(connection, VALIDATED):
        return "live_transactions"
    known = f"SELECT transaction_id FROM {VALIDATED} UNION ALL FROM {REFUSED}"
    return f"(FROM live_transactions ANTI JOIN ({known}) USING (transaction_id))"
