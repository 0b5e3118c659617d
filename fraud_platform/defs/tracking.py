"""MLflow runs of Dagster runs, opened by dagster-mlflow."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from fraud_platform.models import registry
from fraud_platform.settings import Settings


@contextmanager
def evaluation_run(
    context: dg.AssetExecutionContext, settings: Settings, training_run_id: str
) -> Iterator[registry.Run]:
    """An MLflow run of this Dagster run, nested below the run that trained the model.

    dagster-mlflow opens both and tags the inner one with the Dagster run. It ends them only in a job
    that carries its hook, so they are ended here, the inner one with its true status.
    """
    from dagster_mlflow import mlflow_tracking

    configured = mlflow_tracking.configured(
        {
            "experiment_name": settings.model_name,
            "mlflow_tracking_uri": settings.tracking_uri,
            "parent_run_id": training_run_id,
            "env": {},
            "extra_tags": {"mlflow.runName": "evaluation"},
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
            if mlflow.active_run() is not None:
                mlflow.end_run("FINISHED")
