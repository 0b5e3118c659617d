"""Parity: the proof that the service computes the features that the model was trained on."""

import dagster as dg

from fraud_platform.defs.presentation import OWNERS, markdown_table
from fraud_platform.features.selection import Catalog
from fraud_platform.monitoring.parity import ParityReport, check_parity, default_engines
from fraud_platform.settings import Settings

GROUP = "monitoring"
CHECK = "features_are_equal"


def definitions() -> dg.Definitions:
    """The parity report."""
    return dg.Definitions(assets=[feature_parity_report])


@dg.asset(
    deps=["transaction_features"],
    group_name=GROUP,
    kinds={"duckdb", "lmdb"},
    owners=OWNERS[GROUP],
    pool="duckdb",
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="feature_parity_report",
            blocking=True,
            description="Every feature, from the serving path and from the SQL oracle, equals the batch table.",
        )
    ],
)
def feature_parity_report(
    settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]
) -> dg.MaterializeResult:
    """The last days replayed event by event through the serving path, and computed in SQL, against the batch table.

    Equal to the last bit, or the check blocks the packaging of a service. More days:
    `fraud-platform parity --days N`.
    """
    report = check_parity(settings, catalog, settings.parity_days, default_engines(settings))
    return dg.MaterializeResult(
        metadata={
            "events": report.events,
            "features": report.features,
            "mismatches": report.mismatches,
            "days": f"{report.first} to {report.last}",
            "engines": markdown_table(
                ["engine", "events", "late, left out", "mismatches"],
                [(c.engine, c.events, c.late, c.mismatches) for c in report.comparisons],
            ),
            "examples": markdown_table(
                ["engine", "transaction", "feature", "batch", "engine's value"],
                [
                    (c.engine, d.transaction_id, d.feature, d.batch, d.engine)
                    for c in report.comparisons
                    for d in c.examples
                ],
            ),
            "catalog_fingerprint": catalog.fingerprint,
        },
        check_results=[
            dg.AssetCheckResult(check_name=CHECK, passed=report.mismatches == 0, description=_verdict(report))
        ],
    )


def _verdict(report: ParityReport) -> str:
    if report.mismatches == 0:
        return f"{report.features} features of {report.events} events are equal in every engine."
    worst = [f"{c.engine}: {name} {count} times" for c in report.comparisons for name, count in c.by_feature.items()]
    listed = "; ".join(worst[:5])
    return f"{report.mismatches} differ from the batch table: {listed}. Nothing is packaged until they are equal."
