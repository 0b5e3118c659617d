"""Rules on history: what each would have found, and what it would add to the model."""

import dagster as dg

from fraud_platform.defs.presentation import OWNERS, markdown_table, plain_schema
from fraud_platform.features.selection import Catalog
from fraud_platform.models.costs import costs_of
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect, transaction

GROUP = "scoring"

COLUMNS = {
    "name": ("string", "the rule"),
    "mode": ("string", "live or shadow"),
    "action": ("string", "approve, review or block"),
    "weight": ("int64", "1 to 100; the heaviest live rule decides"),
    "rows": ("int64", "payments judged while the rule was in force"),
    "days": ("int64", "days judged while the rule was in force"),
    "frauds": ("int64", "known frauds among them"),
    "alerts": ("int64", "payments that the rule matched"),
    "alerts_per_day": ("float64", "alerts by days"),
    "found": ("int64", "known frauds among the alerts"),
    "precision": ("float64", "share of the alerts that were fraud"),
    "recall": ("float64", "share of the frauds that the rule found"),
    "saved": ("int64", "what the rule alone saves against approving everything, minor units"),
    "added": ("int64", "what the rule saves on top of the model, minor units"),
    "model_alerts_too": ("float64", "share of the alerts that the model does not approve either"),
    "frauds_only_here": ("int64", "frauds that the rule found and the model approved"),
    "made_at": ("timestamp", "when it was computed, UTC"),
    "rules_digest": ("string", "of the file of rules"),
}


def definitions() -> dg.Definitions:
    """The backtest of the rules."""
    return dg.Definitions(assets=[rule_backtest])


@dg.asset(
    deps=["transaction_features", "batch_scores", "validated_labels"],
    group_name=GROUP,
    kinds={"duckdb", "polars"},
    owners=OWNERS[GROUP],
    metadata={"dagster/column_schema": plain_schema(COLUMNS, GROUP)},
    pool="duckdb",
)
def rule_backtest(settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]) -> dg.MaterializeResult:
    """Every rule, live or in shadow, on the last payments whose label delay has passed: alerts a day, precision,
    recall, money, and overlap with the model; and the live rules together with the model.

    A table in DuckDB, and a file that the service's console shows. Other rules or more days:
    `fraud-platform rules backtest FILE --days N`.
    """
    from fraud_platform.decisions import rule_listing
    from fraud_platform.decisions.backtest import backtest, results_table, write_report
    from fraud_platform.decisions.backtest_report import report_file
    from fraud_platform.decisions.ruleset import RuleSet

    ruleset = RuleSet.of_settings(settings, catalog)
    with connect(settings.database) as connection:
        report = backtest(connection, settings.features, ruleset, catalog, costs_of(settings))
        with transaction(connection):
            connection.register("results", results_table(report))
            connection.execute("CREATE OR REPLACE TABLE rule_backtest AS SELECT * FROM results")
            connection.unregister("results")
    write_report(report_file(settings), report)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(report.rules),
            "rules": markdown_table(rule_listing.RULE_HEADER, rule_listing.rule_rows(report)),
            "together": markdown_table(rule_listing.WAY_HEADER, rule_listing.way_rows(report)),
            "inactive": markdown_table(["rule", "reason"], report.inactive),
            "judged": rule_listing.headline(report),
            "days": f"{report.first} to {report.last}",
            "rows": report.rows,
            "frauds": report.frauds,
            "rules_file": dg.MetadataValue.path(settings.rules),
            "report": dg.MetadataValue.path(report_file(settings)),
        }
    )
