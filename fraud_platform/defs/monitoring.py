"""Monitoring: how far the days that are scored now have moved from what the model was trained on."""

from datetime import timedelta

import dagster as dg
import polars as pl

from fraud_platform.defs.champion import champion_artefact
from fraud_platform.defs.presentation import OWNERS, markdown_table, page, rounded
from fraud_platform.features.selection import Catalog
from fraud_platform.features.table import read_features
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.dataset import read_snapshot
from fraud_platform.models.training import input_matrix
from fraud_platform.monitoring.drift import drift_report
from fraud_platform.monitoring.reference import reference_rows
from fraud_platform.monitoring.summary_file import write_summary
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect, last_day

GROUP = "monitoring"
SCORE = "fraud_probability"


def definitions() -> dg.Definitions:
    """The drift report."""
    return dg.Definitions(assets=[data_drift_report])


@dg.asset(
    deps=["batch_scores", "training_set"],
    group_name=GROUP,
    kinds={"evidently"},
    owners=OWNERS[GROUP],
    pool="duckdb",
    check_specs=[
        dg.AssetCheckSpec(
            "drift_share",
            asset="data_drift_report",
            description="The share of model inputs that have drifted, against the limits in the settings.",
        )
    ],
)
def data_drift_report(settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]) -> dg.MaterializeResult:
    """The last scored days against the model's training period: inputs and score, by PSI.

    Evidently renders the page for a person, on samples whose size is stated; the service's console shows the
    summary in `drift.json` beside it.
    """
    version, artefact = champion_artefact(settings)
    with connect(settings.database) as connection:
        last = last_day(connection, "batch_scores")
    first = last - timedelta(days=settings.drift_days - 1)
    snapshot = read_snapshot(settings.training_sets, artefact.card.snapshot_hash)
    summary = drift_report(
        _scored(reference_rows(snapshot, catalog), artefact),
        _scored(read_features(settings.features, first, last), artefact),
        columns=list(artefact.card.feature_columns),
        score_column=SCORE,
        html=settings.reports / "drift" / f"{last}.html",
        sample_rows=settings.drift_sample_rows,
        seed=settings.seed,
    )
    limits = settings.drift_share_warning, settings.drift_share_critical
    write_summary(settings.reports, summary, (first, last), str(version.version), limits)
    share = rounded(summary.share_drifted)
    return dg.MaterializeResult(
        metadata={
            "share_drifted": share,
            "drifted": markdown_table(
                ["input", "PSI"], [(name, f"{summary.drifted[name]:.3f}") for name in summary.drifted_sorted]
            ),
            "psi_limit": rounded(summary.threshold),
            "score_psi": rounded(summary.score_psi) if summary.score_psi is not None else None,
            "current_days": f"{first} to {last}",
            "model_version": version.version,
            "reference_rows": summary.reference_rows,
            "current_rows": summary.current_rows,
            "report": page(settings.reports / "drift" / f"{last}.html"),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="drift_share",
                passed=share < settings.drift_share_warning,
                severity=dg.AssetCheckSeverity.ERROR
                if share >= settings.drift_share_critical
                else dg.AssetCheckSeverity.WARN,
                description=f"{len(summary.drifted)} of {len(artefact.card.feature_columns)} inputs have drifted "
                f"({share:.0%}). Warning from {settings.drift_share_warning:.0%}, retraining from "
                f"{settings.drift_share_critical:.0%} (FRAUD_DRIFT_SHARE_WARNING, FRAUD_DRIFT_SHARE_CRITICAL).",
                metadata={
                    "share_drifted": share,
                    "warning": settings.drift_share_warning,
                    "critical": settings.drift_share_critical,
                },
            )
        ],
    )


def _scored(rows: pl.DataFrame, artefact: Artefact) -> pl.DataFrame:
    inputs = list(artefact.card.feature_columns)
    scores = artefact.predict(input_matrix(rows, inputs))
    return rows.select(inputs).with_columns(pl.Series(SCORE, scores))
