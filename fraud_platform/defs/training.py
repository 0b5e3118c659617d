"""Training: the snapshot that a model is trained on, the model, and what it is worth."""

from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg

from fraud_platform.defs.features import KEYS, feature_columns
from fraud_platform.defs.presentation import OWNERS, markdown_table, picture, plain_schema, rounded
from fraud_platform.defs.tracking import evaluation_run
from fraud_platform.features.selection import Catalog
from fraud_platform.models import registry
from fraud_platform.models.algorithms import XGBoost
from fraud_platform.models.artefact import Artefact, save
from fraud_platform.models.assembly import assemble_training_set
from fraud_platform.models.curves import precision_recall_png, roc_png, score_distribution_png
from fraud_platform.models.dataset import Snapshot, read_snapshot
from fraud_platform.models.evaluation import Evaluation, evaluate, evaluate_split
from fraud_platform.models.training import input_matrix, train
from fraud_platform.settings import Settings
from fraud_platform.transactions.sources import Source
from fraud_platform.warehouse import connect

GROUP = "training"
HEADLINE = (
    "rows",
    "frauds",
    "roc_auc",
    "average_precision",
    "card_precision_at_k",
    "precision",
    "recall",
    "alert_rate",
)
"""What a person looks at first: above the pictures; the rest stands below them."""

LABELLED = {
    "is_fraud": ("bool", "the label, as it was known when the split allows it"),
    "fraud_type": ("string", "the kind of fraud, where it is known"),
    "split": ("string", "train, validation or test"),
}
MLFLOW_UI = "http://127.0.0.1:5000"
"""Where `make mlflow` answers."""


def definitions() -> dg.Definitions:
    """The training set, the model, and its evaluation."""
    return dg.Definitions(assets=[training_set, fraud_model, model_evaluation])


@dg.asset(
    deps=["transaction_features", "validated_labels"],
    group_name=GROUP,
    kinds={"polars", "parquet"},
    owners=OWNERS[GROUP],
    pool="duckdb",
)
def training_set(settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]) -> dg.MaterializeResult:
    """An immutable, content-hashed snapshot: features with the labels that were known at the time.

    Split by time into train, validation and test, with the label delay as a gap before the test
    period. No label is used before it was reported.
    """
    with connect(settings.database) as connection:
        snapshot = assemble_training_set(
            connection,
            settings.features,
            settings.training_sets,
            catalog.label_delay_days,
            settings.validation_days,
            settings.test_days,
        )
    return dg.MaterializeResult(
        metadata=_snapshot_metadata(snapshot, catalog), data_version=dg.DataVersion(snapshot.hash)
    )


@dg.asset(deps=[training_set], group_name=GROUP, kinds={"xgboost", "onnx", "mlflow"}, owners=OWNERS[GROUP])
def fraud_model(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    source: dg.ResourceParam[Source],
    catalog: dg.ResourceParam[Catalog],
) -> dg.MaterializeResult:
    """An XGBoost model as one artefact directory, registered in MLflow.

    Rounds and threshold are chosen on the validation period; the test period is only measured.
    """
    snapshot = read_snapshot(settings.training_sets, _latest_metadata(context, training_set.key, "content_hash"))
    tags = {
        "dagster_run_id": context.run.run_id,
        "snapshot_hash": snapshot.hash,
        "catalog_fingerprint": catalog.fingerprint,
        "source": source.name,
    }
    with registry.start_run(settings.tracking_uri, settings.model_name, f"xgboost {snapshot.hash[:8]}", tags) as run:
        trained = train(snapshot, XGBoost(), catalog.names, catalog.origin, settings.seed, source=source.name)
        evaluation = evaluate_split(snapshot, trained, "test", settings.cards_reviewed_per_day)
        artefact = save(trained, evaluation, settings.models, settings.model_name)
        run.log_snapshot(snapshot)
        run.log_parameters(trained.parameters)
        run.log_metrics(evaluation.metrics)
        version = run.log_artefact(artefact, settings.model_name, tags)
    return dg.MaterializeResult(
        metadata={
            "model_version": version.version,
            "mlflow_run_id": version.run_id,
            "artefact": dg.MetadataValue.path(artefact),
            "mlflow": _mlflow_page(settings, version),
            "inputs": len(catalog.names),
            "warnings": list(trained.warnings),
            "threshold": rounded(trained.threshold),
            **_figures(evaluation, HEADLINE),
        },
        data_version=dg.DataVersion(artefact.name),
    )


@dg.asset(deps=[fraud_model], group_name=GROUP, kinds={"mlflow"}, owners=OWNERS[GROUP])
def model_evaluation(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
    """The latest model on its test period: matured events that it was neither fitted nor tuned on."""
    version, artefact = latest_model(settings)
    card = artefact.card
    rows = read_snapshot(settings.training_sets, card.snapshot_hash).read("test")
    labels = rows["is_fraud"].to_numpy()
    scores = artefact.predict(input_matrix(rows, card.feature_columns))
    k = settings.cards_reviewed_per_day
    found = evaluate(labels, scores, rows["day"], rows["customer_id"], card.threshold, k, rows["fraud_type"])
    pictures = {
        "precision_recall": precision_recall_png(labels, scores, card.threshold),
        "roc": roc_png(labels, scores, card.threshold),
        "score_distribution": score_distribution_png(labels, scores, card.threshold),
    }
    with evaluation_run(context, settings, version.run_id) as run:
        run.log_metrics(found.metrics)
        run.log_figures(pictures)
    context.log.info("Model version %s on %s test rows: %s", version.version, found.rows, found.metrics)
    return dg.MaterializeResult(
        metadata={
            "model_version": version.version,
            "test_period": f"{card.periods['test']['first']} to {card.periods['test']['end']}, exclusive",
            **_figures(found, HEADLINE),
            **{name: picture(name, png) for name, png in pictures.items()},
            "confusion": markdown_table(
                ["", "alert", "no alert"],
                [
                    ("fraud", found.true_positives, found.false_negatives),
                    ("legitimate", found.false_positives, found.true_negatives),
                ],
            ),
            "recall_by_fraud_type": markdown_table(
                ["fraud type", "frauds", "found", "recall"],
                [(name, by.frauds, by.found, f"{by.recall:.3f}") for name, by in sorted(found.by_fraud_type.items())],
            ),
            **_figures(found, set(found.metrics) - set(HEADLINE)),
        }
    )


def latest_model(settings: Settings) -> tuple[registry.RegisteredVersion, Artefact]:
    """The latest registered version, and its artefact from the registry.

    Raises:
        RegistryError: if there is none yet.
    """
    version = registry.require_latest(settings.tracking_uri, settings.model_name)
    return version, Artefact.load(registry.download(settings.tracking_uri, version, settings.models))


def _latest_metadata(context: dg.AssetExecutionContext, key: dg.AssetKey, name: str) -> Any:
    event = context.instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        raise dg.Failure(f"{key.to_user_string()} was never materialized. Materialize it first.", allow_retries=False)
    return event.asset_materialization.metadata[name].value


def _snapshot_metadata(snapshot: Snapshot, catalog: Catalog) -> Mapping[str, Any]:
    periods = snapshot.periods
    return {
        "dagster/row_count": snapshot.rows,
        "dagster/column_schema": plain_schema(KEYS | feature_columns(catalog) | LABELLED, GROUP),
        "content_hash": snapshot.hash,
        "file": dg.MetadataValue.path(snapshot.path),
        "frauds": snapshot.frauds,
        "labels_as_of": periods.as_of.isoformat(),
        "splits": markdown_table(
            ["split", "first day", "end (exclusive)", "rows", "frauds"],
            [
                (split, periods.of(split).first, periods.of(split).end, facts.rows, facts.frauds)
                for split, facts in snapshot.splits.items()
            ],
        ),
    }


def _figures(evaluation: Evaluation, names: Collection[str]) -> dict[str, float]:
    """What the Dagster UI plots over time, in the order of `Evaluation`."""
    return {name: rounded(value) for name, value in evaluation.metrics.items() if name in names}


def _mlflow_page(settings: Settings, version: registry.RegisteredVersion) -> dg.UrlMetadataValue:
    server = settings.mlflow_tracking_uri or MLFLOW_UI
    base = server if server.startswith("http") else MLFLOW_UI
    return dg.MetadataValue.url(f"{base.rstrip('/')}/#/models/{version.name}/versions/{version.version}")
