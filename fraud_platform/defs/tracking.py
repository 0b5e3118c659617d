"""The MLflow run of a Dagster run that evaluates a model, opened by dagster-mlflow."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from fraud_platform.models import registry
from fraud_platform.settings import Settings


@contextmanager
def evaluation_run(
    context: dg.AssetExecutionContext, settings: Settings, version: registry.RegisteredVersion
) -> Iterator[registry.Run]:
    """A run in an experiment of its own, tagged with the Dagster run and with the run that trained the model.

    Of its own, because dagster-mlflow goes on with any run of the experiment that carries the tag of the Dagster
    run, which all candidates of that run do; and it renames a parent. It ends its runs only in a job that carries
    its hook, so this one is ended here, with its true status.
    """
    from dagster_mlflow import mlflow_tracking

    experiment = f"{settings.model_name} evaluations"
    registry.experiment_of(settings.tracking_uri, experiment)
    configured = mlflow_tracking.configured(
        {
            "experiment_name": experiment,
            "mlflow_tracking_uri": settings.tracking_uri,
            "env": {},
            "extra_tags": {
                "mlflow.runName": f"version {version.version}",
                "model_version": str(version.version),
                "training_run_id": version.run_id,
            },
        }
    )
    with dg.build_resources(
        {"mlflow": configured}, instance=context.instance, dagster_run=context.run, log_manager=context.log
    ) as resources:
        mlflow = resources.mlflow
        status = "FAILED"
        try:
            yield registry.open_run(settings.tracking_uri, mlflow.active_run().info.run_id)
            status = "FINISHED"
        finally:
            mlflow.end_run(status)
