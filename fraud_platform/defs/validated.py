"""Validation: good rows in DuckDB, bad rows in quarantine, and the checks that stop what is downstream."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from fraud_platform.defs.days import SINGLE_RUN, add_rows_per_day, day_range, row_counts
from fraud_platform.defs.presentation import (
    DAILY_FRESHNESS,
    OWNERS,
    attribute_columns,
    contract_schema,
    markdown_table,
    page,
    plain_schema,
    rounded,
)
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import LABEL, TRANSACTION
from fraud_platform.transactions.expectations import SuiteResult, check_labels, check_transactions
from fraud_platform.transactions.labels import validate_labels
from fraud_platform.transactions.sources import Source
from fraud_platform.transactions.validation import Validated, validate_transactions
from fraud_platform.warehouse import connect, rows_in_table

GROUP = "validated"
TRANSACTIONS, QUARANTINED, LABELS = "validated_transactions", "quarantined_transactions", "validated_labels"

TRANSACTION_CHECKS = {
    "required_columns": "The contract's columns exist with their types; the required ones are never null.",
    "unique_ids": "No transaction_id occurs twice, in these days and in the whole table.",
    "amounts": "Amounts are positive whole minor units below the contract's maximum.",
    "event_times": "Times are in range and agree with the day that the row is filed under.",
    "formats": "Identifiers, countries, currencies, addresses, categories and channels have the contract's form.",
    "amount_outliers": "Less than 5 % of the amounts are far above what is usual.",
    "volume": "Each day has about as many rows as the days before it.",
}
LABEL_CHECKS = {
    "label_columns": "The contract's columns exist with their types, are never null, and name a known source.",
    "labels_after_events": "No label was reported before its event.",
    "fraud_rate": "Of the matured events of the last 30 days, 0.1 to 5 % were fraud.",
}

KEYS = {
    "day": ("date", "its UTC day"),
    "event_us": ("int64", "event_time, microseconds since 1970"),
    "live": ("bool", "whether it came through the service and not in a file of the source"),
}
LABEL_KEYS = {"day": ("date", "the UTC day of the labelled event")}
QUARANTINE_COLUMNS = {
    "day": ("date", "the UTC day of the event; null where the row has none"),
    "source_file": ("string", "the file that the row came from"),
    "source_row": ("int64", "the row's number in its file, from 1"),
    "transaction_id": ("string", "where it can be read"),
    "reasons": ("string[]", "every rule that the row breaks"),
    "original": ("string", "the whole row as it was read"),
}


def definitions(source: Source, days: dg.DailyPartitionsDefinition) -> dg.Definitions:
    """The validated tables of a source."""
    return dg.Definitions(assets=[_validated_transactions(source, days), _validated_labels(days)])


def _validated_transactions(source: Source, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="validate_transactions",
        specs=[
            dg.AssetSpec(
                TRANSACTIONS,
                deps=["raw_transactions"],
                description="Transactions that keep the contract: typed, in UTC, in minor units, each id once.",
                metadata={
                    "dagster/column_schema": contract_schema(
                        TRANSACTION, GROUP, KEYS, attribute_columns(source.attributes)
                    )
                },
                group_name=GROUP,
                kinds={"duckdb", "greatexpectations"},
                owners=OWNERS[GROUP],
                freshness_policy=DAILY_FRESHNESS,
            ),
            dg.AssetSpec(
                QUARANTINED,
                deps=["raw_transactions"],
                description="Rows that break the contract, whole, each with every reason. Nothing is lost silently.",
                metadata={"dagster/column_schema": plain_schema(QUARANTINE_COLUMNS, GROUP)},
                group_name=GROUP,
                kinds={"duckdb"},
                owners=OWNERS[GROUP],
            ),
        ],
        check_specs=[
            *(
                dg.AssetCheckSpec(name, asset=TRANSACTIONS, blocking=True, description=text)
                for name, text in TRANSACTION_CHECKS.items()
            ),
            dg.AssetCheckSpec(
                "quarantined_share",
                asset=QUARANTINED,
                blocking=True,
                description="The share of bad rows is below the limit.",
            ),
        ],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        pool="duckdb",
    )
    def validate_transactions_step(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], source: dg.ResourceParam[Source]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        first, last = day_range(context)
        with connect(settings.database) as connection:
            found = validate_transactions(connection, source, settings.raw_transactions, first, last)
            docs = settings.reports / "data_docs" / TRANSACTIONS
            suite = check_transactions(connection, first, last, source.present, docs_folder=docs)
            accepted = row_counts(rows_in_table(connection, TRANSACTIONS), found.accepted)
            quarantined = row_counts(rows_in_table(connection, QUARANTINED), found.quarantined)
        add_rows_per_day(context, TRANSACTIONS, found.accepted)
        add_rows_per_day(context, QUARANTINED, found.quarantined)
        copies = {"copies_live_and_in_a_file": sum(found.copies.values())}
        yield dg.MaterializeResult(asset_key=TRANSACTIONS, metadata=accepted | copies | _docs(suite))
        yield dg.MaterializeResult(asset_key=QUARANTINED, metadata=quarantined | _quarantine_metadata(found))
        yield from _check_results(TRANSACTIONS, suite)
        yield _quarantined_share(found, settings.quarantine_share_limit)

    return validate_transactions_step


def _validated_labels(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="validate_labels",
        specs=[
            dg.AssetSpec(
                LABELS,
                deps=["raw_labels", TRANSACTIONS],
                description="What is known about fraud, with the moment when it became known; corrections included.",
                metadata={"dagster/column_schema": contract_schema(LABEL, GROUP, LABEL_KEYS, {})},
                group_name=GROUP,
                kinds={"duckdb", "greatexpectations"},
                owners=OWNERS[GROUP],
                freshness_policy=DAILY_FRESHNESS,
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(name, asset=LABELS, blocking=True, description=text)
            for name, text in LABEL_CHECKS.items()
        ],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        pool="duckdb",
    )
    def validate_labels_step(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], source: dg.ResourceParam[Source]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        first, last = day_range(context)
        delay_days = source.labels.delay_days if source.labels else 0
        with connect(settings.database) as connection:
            found = validate_labels(connection, source, settings.raw_labels, first, last)
            suite = check_labels(
                connection, first, last, delay_days, docs_folder=settings.reports / "data_docs" / LABELS
            )
            accepted = row_counts(rows_in_table(connection, LABELS), found.accepted)
        add_rows_per_day(context, LABELS, found.accepted)
        quarantined = {"quarantined_labels": sum(found.quarantined.values())}
        yield dg.MaterializeResult(asset_key=LABELS, metadata=accepted | quarantined | _docs(suite))
        yield from _check_results(LABELS, suite)

    return validate_labels_step


def _docs(suite: SuiteResult) -> dict[str, Any]:
    return {} if suite.docs is None else {"data_docs": page(suite.docs)}


def _quarantine_metadata(found: Validated) -> dict[str, Any]:
    return {
        "undated": found.undated,
        "quarantined_share": rounded(found.quarantined_share),
        "reasons": markdown_table(["reason", "rows"], sorted(found.reasons.items(), key=_by_count)),
    }


def _by_count(reason: tuple[str, int]) -> int:
    return -reason[1]


def _check_results(asset: str, suite: SuiteResult) -> Iterator[dg.AssetCheckResult]:
    for check in suite.checks:
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=check.name,
            passed=check.passed,
            severity=dg.AssetCheckSeverity.WARN if check.severity == "warn" else dg.AssetCheckSeverity.ERROR,
            description=check.message,
            metadata={
                name: rounded(value) if isinstance(value, float) else value for name, value in check.observed.items()
            },
        )


def _quarantined_share(found: Validated, limit: float) -> dg.AssetCheckResult:
    shares = {"quarantined_share": found.quarantined_share, "unreadable_share": found.unreadable_share}
    return dg.AssetCheckResult(
        asset_key=QUARANTINED,
        check_name="quarantined_share",
        passed=max(shares.values()) <= limit,
        description=f"{found.quarantined_share:.2%} of the rows of these days were quarantined, and "
        f"{found.unreadable_share:.2%} of the rows of their files have no readable time or are no rows; "
        f"the limit is {limit:.0%} (FRAUD_QUARANTINE_SHARE_LIMIT). The asset's metadata counts the reasons.",
        metadata={name: rounded(share) for name, share in shares.items()} | {"limit": limit},
    )
