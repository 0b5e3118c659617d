"""What starts runs by itself: jobs, and the sensor that answers drift."""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from fraud_platform.settings import Settings

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
RETRAINED = dg.AssetSelection.assets("training_set").downstream() - dg.AssetSelection.assets(
    "data_drift_report", "rule_backtest"
)
"""Not the drift report itself: days that have drifted stay drifted after retraining, and a report in
the same run would ask for the next one. Nor the backtest of the rules: a rule that is wrong is no reason
for a retraining to fail, and the days that a retraining scores are too young to be judged."""


def definitions() -> dg.Definitions:
    """The jobs and the drift sensor."""
    ingestion_job = dg.define_asset_job(
        "ingestion_job",
        dg.AssetSelection.groups("raw", "validated", "features"),
        description="New days: read, validate, compute features.",
    )
    retraining_job = dg.define_asset_job(
        "retraining_job",
        RETRAINED,
        description="Everything downstream of the training set: model, evaluation, Bento, scores of the last days.",
    )
    return dg.Definitions(jobs=[ingestion_job, retraining_job], sensors=[_drift_sensor(retraining_job)])


def _drift_sensor(retraining_job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    @dg.asset_sensor(
        asset_key=dg.AssetKey("data_drift_report"),
        job=retraining_job,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        description="Asks for retraining when a drift report finds more drifted inputs than the critical share.",
    )
    def drift_sensor(
        context: dg.SensorEvaluationContext, asset_event: dg.EventLogEntry, settings: dg.ResourceParam[Settings]
    ) -> dg.RunRequest | dg.SkipReason:
        metadata = asset_event.asset_materialization.metadata if asset_event.asset_materialization else {}
        if not {"share_drifted", "current_days"} <= set(metadata):
            return dg.SkipReason("The report says nothing of drift: it has no share_drifted or no current_days.")
        share = float(str(metadata["share_drifted"].value))
        if share < settings.drift_share_critical:
            return dg.SkipReason(f"Share of drifted inputs {share:.2f} is below {settings.drift_share_critical:.2f}.")
        first, last = str(metadata["current_days"].value).split(" to ")
        context.log.info("Share of drifted inputs %.2f: retraining, and scoring %s to %s again", share, first, last)
        # One request a report, told by its time: one that was reported from outside has no run of its own.
        reported_at = datetime.fromtimestamp(asset_event.timestamp, UTC).isoformat()
        return dg.RunRequest(run_key=f"drift-{reported_at}", tags={RANGE_START: first, RANGE_END: last})

    return drift_sensor
