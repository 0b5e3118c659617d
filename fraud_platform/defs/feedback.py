"""Feedback: what the service decided and was told comes back into the warehouse, and so into the pipeline."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from fraud_platform.decisions.drain import Drained, drain
from fraud_platform.decisions.recovery import moment_of
from fraud_platform.decisions.unvalidated import Waiting, waiting_labels, waiting_transactions
from fraud_platform.defs.presentation import (
    OWNERS,
    attribute_columns,
    contract_schema,
    markdown_table,
    plain_schema,
)
from fraud_platform.features.selection import Catalog
from fraud_platform.features.stores import Store
from fraud_platform.features.stores.opening import open_store
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import LABEL, TRANSACTION
from fraud_platform.transactions.live import LIVE
from fraud_platform.transactions.sources import Source
from fraud_platform.warehouse import connect, rows_in_table

GROUP = "feedback"
DECISIONS, TRANSACTIONS, LABELS = "decision_log", "live_transactions", "feedback_labels"
CHECK = "nothing_rejected"
REASONS_SHOWN = 10

DECISION_COLUMNS = {
    "day": ("date", "the UTC day of the event"),
    "decision_id": ("string", "32 hex digits, the same for the same transaction_id"),
    "transaction_id": ("string", "the transaction that was decided on"),
    "event_us": ("int64", "when it happened, UTC, microseconds since 1970"),
    "event_time": ("timestamp", "the same, UTC"),
    "customer_id": ("string", "the account or card holder"),
    "amount_cents": ("int64", "amount in minor units"),
    "fraud_probability": ("float64", "calibrated, 0 to 1; null where no model could be asked"),
    "is_fraud": ("bool", "whether it was not approved"),
    "risk_level": ("string", "low, medium or high"),
    "action": ("string", "approve, review or block"),
    "expected_loss": ("int64", "what approving it costs on average, minor units"),
    "reasons": ("json", "what weighed most: feature, text, value, contribution; only where it was not approved"),
    "matched_rules": ("string[]", "live rules and lists that matched, the one that decided first"),
    "shadow_rules": ("string[]", "rules in shadow that matched"),
    "rules_digest": ("string", "of the rules and lists that were in force"),
    "model_version": ("string", "the version that decided"),
    "catalog_fingerprint": ("string", "of the features that it was given"),
    "served_by": ("string", "champion, challenger, fallback or rules"),
    "degraded": ("bool", "whether the model that should have decided did not"),
    "shadow_version": ("string", "the challenger that ran in shadow"),
    "shadow_probability": ("float64", "what it gave"),
    "shadow_action": ("string", "what it would have done"),
    "decided_at": ("timestamp", "when it was decided, UTC"),
    "late": ("bool", "whether a later event of its customer, card, device or merchant was known already"),
    "known_fraud": ("bool", "whether its label came before it did, and said fraud"),
    "features": ("float32[]", "the model's inputs, in the catalog's order"),
    "sequence": ("int64", "its place in the store's outbox"),
}
LIVE_KEYS = {"day": ("date", "its UTC day"), "event_us": ("int64", "event_time, microseconds since 1970")}
LABEL_KEYS = {"day": ("date", "the UTC day on which it was reported")}
LABEL_ORIGIN = {
    "reported_by": ("string", "the API key, or the person, that reported it"),
    "sequence": ("int64", "its place in the store's outbox"),
}


def definitions(source: Source) -> dg.Definitions:
    """The drain of the online store's outbox, and the tables that it fills."""
    return dg.Definitions(assets=[_drain_outbox(source)])


def _drain_outbox(source: Source) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="drain_outbox",
        specs=[
            dg.AssetSpec(
                DECISIONS,
                description="Every decision that the service answered, once, with the features that it saw.",
                metadata={"dagster/column_schema": plain_schema(DECISION_COLUMNS, GROUP)},
                group_name=GROUP,
                kinds={"duckdb"},
                owners=OWNERS[GROUP],
            ),
            dg.AssetSpec(
                TRANSACTIONS,
                description="Every transaction that the service decided on: a table, and raw files for validation. "
                "Reload the definitions after the first ones came: the days of the pipeline go on to today then.",
                metadata={
                    "dagster/column_schema": contract_schema(
                        TRANSACTION, GROUP, LIVE_KEYS, attribute_columns(source.attributes)
                    )
                },
                group_name=GROUP,
                kinds={"duckdb", "parquet"},
                owners=OWNERS[GROUP],
            ),
            dg.AssetSpec(
                LABELS,
                description="Every label that the service was told, corrections included. One whose transaction "
                "has not come waits here.",
                metadata={"dagster/column_schema": contract_schema(LABEL, GROUP, LABEL_KEYS, LABEL_ORIGIN)},
                group_name=GROUP,
                kinds={"duckdb", "parquet"},
                owners=OWNERS[GROUP],
            ),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=DECISIONS,
                description="Every entry of the outbox could be read, and no transaction was decided twice.",
            )
        ],
        pool="duckdb",
    )
    def drain_outbox(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        source: dg.ResourceParam[Source],
        catalog: dg.ResourceParam[Catalog],
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """The three tables are filled together, so that the place in the outbox is right for all of them."""
        store = _store(settings, catalog)
        try:
            with connect(settings.database) as connection:
                folders = settings.raw_transactions, settings.raw_labels
                done = drain(connection, store, source, *folders, settings.outbox_keep)
                rows = {name: rows_in_table(connection, name) for name in (DECISIONS, TRANSACTIONS, LABELS)}
                transactions, (labels, without) = waiting_transactions(connection), waiting_labels(connection)
                check = _check(connection, done)
        finally:
            if store is not None:
                store.close()
        if done.missing:
            context.log.warning("The outbox had let go of %d entries that this warehouse never had", done.missing)
        yield dg.MaterializeResult(asset_key=DECISIONS, metadata=_decisions(done, rows[DECISIONS], settings))
        yield dg.MaterializeResult(
            asset_key=TRANSACTIONS,
            metadata=_fed(rows[TRANSACTIONS], done.decisions, transactions, settings.raw_transactions),
        )
        yield dg.MaterializeResult(
            asset_key=LABELS,
            metadata=_fed(rows[LABELS], done.labels, labels, settings.raw_labels) | {"without_a_transaction": without},
        )
        yield check

    return drain_outbox


def _store(settings: Settings, catalog: Catalog) -> Store | None:
    """None where the embedded store was not made yet: opening it would make it."""
    if settings.online_store_url is None and not settings.online_store.is_dir():
        return None
    return open_store(settings, catalog.look_back_us)


def _decisions(done: Drained, rows: int, settings: Settings) -> dict[str, Any]:
    return {
        "dagster/row_count": rows,
        "new_rows": done.decisions,
        "had_already": done.repeated,
        "rejects": done.rejects,
        "last_sequence": done.through,
        "outbox_depth_left": done.left,
        "removed_from_the_outbox": done.removed,
        "lost_to_the_outbox": done.missing,
        "newest_event": "none" if done.newest_us is None else moment_of(done.newest_us).isoformat(),
        "store": settings.online_store_address,
    }


def _fed(rows: int, new: int, left: Waiting, raw: Path) -> dict[str, Any]:
    """What the pipeline gets of a table, and what it has not taken yet."""
    return {
        "dagster/row_count": rows,
        "new_rows": new,
        "not_validated": left.rows,
        "days_to_materialize": "none" if left.first is None else f"{left.first} to {left.last}",
        "folder": dg.MetadataValue.path(raw / LIVE),
    }


def _check(connection: duckdb.DuckDBPyConnection, done: Drained) -> dg.AssetCheckResult:
    by_reason = connection.execute(
        "SELECT reason, count(*), max(sequence) FROM outbox_rejects GROUP BY reason "
        f"ORDER BY 2 DESC, 1 LIMIT {REASONS_SHOWN}"
    ).fetchall()
    return dg.AssetCheckResult(
        asset_key=DECISIONS,
        check_name=CHECK,
        passed=done.rejects == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{done.rejects} entries of the outbox are no rows, and are kept whole in outbox_rejects with "
        "their reasons. Every drain tries them again: update this code if a newer version wrote them, and delete "
        "those that are settled."
        if done.rejects
        else "Every entry of the outbox is in the tables.",
        metadata={
            "rejects": done.rejects,
            "reasons": markdown_table(["reason", "entries", "last sequence"], by_reason),
        },
    )
