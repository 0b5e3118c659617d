"""Which of the rows that share a transaction_id is the transaction.

Rows come from the source's files, or live through the service. Of the rows of one origin the first good one by
(event time, file, row) counts, over all days, and the others are duplicates: bad rows. Where both origins have
the transaction, they are copies of one: the earlier is the transaction (the file's, where both have one time), and
the other is set aside in `transaction_copies`, which is no fault of it.

Only earlier rows decide about a row. So a day that is validated changes nothing but itself and later days.
"""

from datetime import date

import duckdb

from fraud_platform.transactions.mapping import Problem

DUPLICATE = "transaction_id: duplicate"
MARK = " is a duplicate; the first is of "
"""By which the reason of a duplicate is recognised in quarantine."""

COPIES: dict[str, str] = {
    "day": "DATE",
    "transaction_id": "VARCHAR",
    "live": "BOOLEAN",
    "event_us": "BIGINT",
    "first_us": "BIGINT",
    "source_file": "VARCHAR",
    "source_row": "BIGINT",
}
"""Columns of transaction_copies: good rows whose transaction is another row, which happened at `first_us`."""

_GOOD = """(
    SELECT day, transaction_id, coalesce(live, false) AS live, event_us FROM validated_transactions
    UNION ALL SELECT day, transaction_id, live, event_us FROM transaction_copies
)"""
"""The first good row of each id and origin, of the days that were validated."""


def find_duplicates(connection: duckdb.DuckDBPyConnection, first: date) -> None:
    """`flagged_rows` and `copied_rows` from `mapped_rows` and the days before `first` that were validated.

    `flagged_rows` are the rows that are bad alone or repeat an id of their origin; `copied_rows` have the columns
    of `transaction_copies`.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE first_rows AS
        WITH earlier AS (
            SELECT transaction_id, live, min(event_us) AS event_us FROM {_GOOD}
            WHERE day < DATE '{first}' AND transaction_id IN (SELECT transaction_id FROM mapped_rows)
            GROUP BY transaction_id, live
        ), repeated AS (
            SELECT transaction_id FROM mapped_rows GROUP BY transaction_id HAVING count(*) > 1
        ), candidates AS (
            SELECT _file, _row, transaction_id, live, event_us FROM mapped_rows
            WHERE NOT _bad AND (transaction_id IN (SELECT transaction_id FROM repeated)
                OR transaction_id IN (SELECT transaction_id FROM earlier))
        )
        SELECT transaction_id, live, event_us, '' AS _file, 0 AS _row FROM earlier
        UNION ALL
        SELECT transaction_id, live, (least_row).event_us, (least_row)._file, (least_row)._row FROM (
            SELECT transaction_id, live, min({{event_us: event_us, _file: _file, _row: _row}}) AS least_row
            FROM candidates ANTI JOIN earlier USING (transaction_id, live) GROUP BY transaction_id, live)"""
    )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE flagged_rows AS
        WITH duplicates AS (
            SELECT m._file, m._row, k.event_us AS kept_us
            FROM mapped_rows m JOIN first_rows k USING (transaction_id, live)
            WHERE (m.event_us, m._file, m._row) > (k.event_us, k._file, k._row)
        )
        SELECT m._file AS _bad_file, m._row AS _bad_row, m.live AS _bad_live, m.day AS _bad_day,
            m.transaction_id AS _bad_id, d.kept_us AS _kept_us
        FROM mapped_rows m LEFT JOIN duplicates d ON m._file = d._file AND m._row = d._row
        WHERE m._bad OR d.kept_us IS NOT NULL"""
    )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE copied_rows AS
        SELECT m.day, m.transaction_id, m.live, m.event_us, other.event_us AS first_us,
            m._file AS source_file, m._row AS source_row
        FROM mapped_rows m
        JOIN first_rows own ON m.transaction_id = own.transaction_id AND m._file = own._file AND m._row = own._row
        JOIN first_rows other ON m.transaction_id = other.transaction_id AND other.live <> m.live
        WHERE (other.event_us, other.live) < (m.event_us, m.live)"""
    )


def duplicate_problem() -> Problem:
    """For rows that are joined with `flagged_rows`."""
    return Problem(DUPLICATE, "_kept_us IS NOT NULL", _reason("_bad_id", "_kept_us"))


def stale_days(connection: duckdb.DuckDBPyConnection, after: date) -> list[date]:
    """The days after this one, in order, that would be validated otherwise now that days up to it have changed."""
    found = connection.execute(
        f"""WITH good AS {_GOOD}, before AS (SELECT DISTINCT transaction_id, live FROM good WHERE day <= DATE '{after}')
        SELECT DISTINCT day FROM validated_transactions WHERE day > DATE '{after}' AND transaction_id IN (
            SELECT transaction_id FROM validated_transactions WHERE day <= DATE '{after}')
        UNION
        SELECT DISTINCT g.day FROM good g SEMI JOIN before USING (transaction_id, live) WHERE g.day > DATE '{after}'
        UNION
        SELECT DISTINCT c.day FROM transaction_copies c LEFT JOIN validated_transactions v
            ON c.transaction_id = v.transaction_id AND c.first_us = v.event_us
            WHERE c.day > DATE '{after}' AND v.transaction_id IS NULL
        UNION
        SELECT DISTINCT q.day FROM quarantined_transactions q
            LEFT JOIN (SELECT * FROM good WHERE NOT live) g USING (transaction_id)
            WHERE q.day > DATE '{after}' AND len(list_filter(q.reasons, lambda reason: contains(reason, '{MARK}'))) > 0
            AND NOT coalesce(list_contains(q.reasons, {_reason("g.transaction_id", "g.event_us")}), false)
        ORDER BY day"""
    ).fetchall()
    return [day for (day,) in found]


def _reason(transaction_id: str, kept_us: str) -> str:
    return (
        f"'transaction_id: ' || {transaction_id} || '{MARK}' || strftime(make_timestamp({kept_us}), "
        "'%Y-%m-%d %H:%M:%S')"
    )
