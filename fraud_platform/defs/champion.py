"""From the chosen candidate to the model that serves: the challenger, and the gate."""

from datetime import UTC, date, datetime

import dagster as dg
import msgspec
import polars as pl

from fraud_platform.defs.comparison import Scored, comparable_champion, paired_with
from fraud_platform.defs.model_pages import all_figures, figures, mlflow_version_page, pictures, shown
from fraud_platform.defs.presentation import OWNERS, markdown_table, rounded
from fraud_platform.defs.tracking import evaluation_run
from fraud_platform.defs.training import GROUP, required_metadata
from fraud_platform.features.selection import Catalog
from fraud_platform.models import registry
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.costs import costs_of
from fraud_platform.models.dataset import read_snapshot
from fraud_platform.models.evaluation import Evaluation, evaluate_rows
from fraud_platform.models.gate import TABLE_HEADER, GateLimits, Judged, Verdict, judge
from fraud_platform.models.latency import single_row_latency
from fraud_platform.models.summary import summarise
from fraud_platform.settings import Settings

BY_GATE = "the gate"


def definitions() -> dg.Definitions:
    """The challenger and the champion."""
    return dg.Definitions(assets=[challenger_model, champion_model])


@dg.asset(deps=["model_comparison"], group_name=GROUP, kinds={"onnx", "mlflow"}, owners=OWNERS[GROUP])
def challenger_model(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]
) -> dg.MaterializeResult:
    """The chosen candidate, registered in MLflow as the challenger, with all that is known of it.

    Its figures are those of the test period: matured events that it was neither fitted nor tuned on.
    """
    chosen = required_metadata(context, dg.AssetKey("model_comparison"))
    candidate = registry.Candidate(chosen["mlflow_run_id"], chosen["mlflow_model_id"], chosen["digest"])
    artefact = Artefact.load(registry.download(settings.tracking_uri, candidate, settings.models))
    card = artefact.card
    rows = read_snapshot(settings.training_sets, card.snapshot_hash).read("test")
    scored = Scored(artefact, rows)
    found = msgspec.convert(card.evaluation, Evaluation)
    tags = {
        "algorithm": card.algorithm,
        "snapshot_hash": card.snapshot_hash,
        "catalog_fingerprint": card.catalog.fingerprint,
        "source": card.source,
    }
    version = registry.register_candidate(settings.tracking_uri, candidate, settings.model_name, tags)
    registry.nominate(settings.tracking_uri, settings.model_name, version.version)
    images = pictures(rows, scored.probabilities, found, costs_of(settings))
    summary = summarise(found)
    with evaluation_run(context, settings, version) as run:
        run.log_metrics(found.metrics)
        run.log_figures(images)
        run.log_text("summary.md", summary)
        run.log_snapshot(read_snapshot(settings.training_sets, card.snapshot_hash), "evaluation")
    return dg.MaterializeResult(
        metadata={
            "summary": dg.MetadataValue.md(summary),
            "model_version": version.version,
            "algorithm": card.algorithm,
            **figures(found),
            **shown(images),
            **all_figures(found),
            "review_threshold": rounded(card.thresholds.review),
            "block_threshold": None if card.thresholds.block is None else rounded(card.thresholds.block),
            "mlflow": mlflow_version_page(settings, version),
            "artefact": dg.MetadataValue.path(artefact.path),
            "catalog_fingerprint": card.catalog.fingerprint,
        },
        data_version=dg.DataVersion(artefact.digest),
    )


@dg.asset(deps=[challenger_model], group_name=GROUP, kinds={"mlflow"}, owners=OWNERS[GROUP])
def champion_model(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]
) -> dg.MaterializeResult:
    """The model that serves. The challenger takes its place only where it is shown to be better.

    Both are judged on the same matured payments; the verdict, each criterion with its numbers, is below, and so is
    the history of promotions and rollbacks. A refused challenger changes nothing.
    """
    uri, name = settings.tracking_uri, settings.model_name
    challenger = registry.find(uri, name, registry.CHALLENGER)
    artefact = Artefact.load(registry.download(uri, challenger, settings.models))
    before = registry.champion(uri, name)
    if before is not None and before.version == challenger.version:
        return _champion_result(settings, None, f"Version {before.version} serves already.")
    verdict = _judge(settings, catalog, challenger, artefact)
    told = {"why": verdict.reason, "by": BY_GATE, "at": datetime.now(UTC)}
    if verdict.promote:
        registry.promote(uri, name, challenger.version, **told)
    else:
        registry.refuse(uri, name, challenger.version, **told)
    context.log.info("%s", verdict.reason)
    if not verdict.promote and before is None:
        raise dg.Failure(
            f"No model serves yet, and challenger {challenger.version} was refused: {verdict.reason}",
            metadata={"criteria": markdown_table(TABLE_HEADER, verdict.table())},
            allow_retries=False,
        )
    return _champion_result(settings, verdict, verdict.reason)


def champion_artefact(settings: Settings) -> tuple[registry.RegisteredVersion, Artefact]:
    """The version that serves, and its artefact from the registry.

    Raises:
        RegistryError: if none was promoted yet.
    """
    version = registry.require_champion(settings.tracking_uri, settings.model_name)
    return version, Artefact.load(registry.download(settings.tracking_uri, version, settings.models))


def _judge(settings: Settings, catalog: Catalog, version: registry.RegisteredVersion, artefact: Artefact) -> Verdict:
    """Challenger and champion on the test period of the challenger's training set.

    A challenger of another catalog is not compared: the gate refuses it, and its training set need not have the
    champion's inputs.

    Raises:
        dg.Failure: where the champion has learnt from all of these days, and so proves nothing on them.
    """
    snapshot = read_snapshot(settings.training_sets, artefact.card.snapshot_hash)
    rows = snapshot.read("test")
    same_catalog = artefact.card.catalog.fingerprint == catalog.fingerprint
    champion = comparable_champion(settings, catalog, rows) if same_catalog else None
    if champion is not None:
        learnt_until = date.fromisoformat(champion.scored.artefact.card.periods["validation"]["end"])
        if snapshot.periods.test.first < learnt_until:
            rows = rows.filter(pl.col("day") >= learnt_until)
            if not rows.height:
                raise dg.Failure(
                    f"Champion {champion.version.version} has learnt from the days up to {learnt_until}, and with them "
                    f"from the whole test period of challenger {version.version}. Materialize `training_set` and the "
                    "candidates again with the days that have come since.",
                    allow_retries=False,
                )
            champion = comparable_champion(settings, catalog, rows)
    challenger = Scored(artefact, rows)
    return judge(
        _judged(settings, version, challenger, rows),
        None if champion is None else _judged(settings, champion.version, champion.scored, rows),
        None if champion is None else paired_with(settings, rows, champion.scored, challenger),
        catalog.fingerprint,
        GateLimits(
            min_roc_auc=settings.gate_min_roc_auc,
            significance=settings.gate_significance,
            max_calibration_error=settings.gate_max_calibration_error,
            max_single_row_us=settings.gate_max_single_row_us,
            alert_budget_tolerance=settings.gate_alert_budget_tolerance,
        ),
    )


def _judged(settings: Settings, version: registry.RegisteredVersion, scored: Scored, rows: pl.DataFrame) -> Judged:
    card = scored.artefact.card
    latency = single_row_latency(scored.artefact, scored.inputs)
    evaluation = evaluate_rows(
        rows,
        scored.probabilities,
        card.thresholds,
        costs_of(settings),
        settings.reviews_per_day,
        resamples=0,
        seed=settings.seed,
    )
    return Judged(str(version.version), card.catalog.fingerprint, evaluation, latency.p50_us, latency.p99_us)


def _champion_result(settings: Settings, verdict: Verdict | None, reason: str) -> dg.MaterializeResult:
    version, artefact = champion_artefact(settings)
    found = msgspec.convert(artefact.card.evaluation, Evaluation)
    criteria = {} if verdict is None else {"criteria": markdown_table(TABLE_HEADER, verdict.table())}
    history = [
        (f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.event, entry.from_version or "–", entry.to_version, entry.by, entry.why)
        for entry in reversed(registry.history(settings.tracking_uri, settings.model_name))
    ]
    return dg.MaterializeResult(
        metadata={
            "verdict": reason,
            "promoted": verdict is not None and verdict.promote,
            **criteria,
            "model_version": version.version,
            "algorithm": artefact.card.algorithm,
            **figures(found),
            "history": markdown_table(["when (UTC)", "event", "from", "to", "by", "why"], history),
            "mlflow": mlflow_version_page(settings, version),
            "catalog_fingerprint": artefact.card.catalog.fingerprint,
        },
        data_version=dg.DataVersion(artefact.digest),
    )
