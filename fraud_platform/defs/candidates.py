"""Candidates: a model of the training set by each algorithm, and the vote of the best of them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dagster as dg

from fraud_platform.defs.model_pages import figures, importance_table, mlflow_run_page
from fraud_platform.defs.presentation import OWNERS, markdown_table, rounded
from fraud_platform.defs.training import GROUP, latest_metadata, latest_snapshot, training_set
from fraud_platform.errors import TrainingError
from fraud_platform.features.selection import Catalog
from fraud_platform.models import registry
from fraud_platform.models.algorithms import Algorithm, candidates
from fraud_platform.models.algorithms import soft_voting as voting
from fraud_platform.models.artefact import Artefact, save
from fraud_platform.models.costs import costs_of
from fraud_platform.models.dataset import Snapshot
from fraud_platform.models.evaluation import Evaluation, evaluate_split
from fraud_platform.models.importance import permutation_importance
from fraud_platform.models.training import Recipe, TrainedModel, sample, train
from fraud_platform.models.tuning import Budget, TrialResult, Tuned, tune
from fraud_platform.settings import Settings
from fraud_platform.transactions.sources import Source

PREFIX = "candidate_models"
MEMBERS = 3
"""Candidates that vote: the best by average precision on the validation period."""


def definitions(settings: Settings) -> dg.Definitions:
    """One asset for each algorithm in the settings.

    Raises:
        TrainingError: if the settings name an algorithm that does not exist, or none.
    """
    return dg.Definitions(assets=candidate_assets(settings))


def candidate_keys(settings: Settings) -> list[dg.AssetKey]:
    """The assets of the candidates, in the order of the settings."""
    return [dg.AssetKey([PREFIX, name]) for name in settings.algorithms]


def candidate_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One asset for each algorithm in the settings."""
    known = candidates()
    single = [name for name in settings.algorithms if name != voting.NAME]
    unknown = [name for name in single if name not in known]
    if unknown or not single:
        raise TrainingError(
            f"FRAUD_ALGORITHMS names {unknown or 'no algorithm to train'}. There are: {', '.join(known)}, and "
            f"{voting.NAME}, the mean of the best of them."
        )
    assets = [_candidate(known[name]) for name in single]
    return [*assets, _soft_voting(single)] if voting.NAME in settings.algorithms else assets


def _candidate(algorithm: Algorithm) -> dg.AssetsDefinition:
    @dg.asset(
        name=algorithm.name,
        key_prefix=PREFIX,
        deps=[training_set],
        group_name=GROUP,
        kinds={"onnx", "mlflow"},
        owners=OWNERS[GROUP],
        description=(type(algorithm).__doc__ or "")
        + "\n\nFitted on the train period; the validation period chooses rounds, calibration and thresholds, and the "
        "test period is only measured. An artefact directory, stored with an MLflow run; trials of its search are "
        "nested runs.",
    )
    def candidate(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        source: dg.ResourceParam[Source],
        catalog: dg.ResourceParam[Catalog],
    ) -> dg.MaterializeResult:
        snapshot = latest_snapshot(context, settings)
        with _training_run(context, settings, catalog, snapshot, algorithm.name) as run:
            tuned = _tuned(context, settings, catalog, snapshot, algorithm, run)
            trained = train(
                snapshot,
                tuned.algorithm,
                catalog.names,
                catalog.origin,
                settings.seed,
                source=source.name,
                recipe=recipe_of(settings),
            )
            return _finish(context, settings, catalog, trained, run, _search_metadata(tuned))

    return candidate


def _soft_voting(members: Sequence[str]) -> dg.AssetsDefinition:
    @dg.asset(
        name=voting.NAME,
        key_prefix=PREFIX,
        deps=[dg.AssetKey([PREFIX, member]) for member in members],
        group_name=GROUP,
        kinds={"onnx", "mlflow"},
        owners=OWNERS[GROUP],
    )
    def soft_vote(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        source: dg.ResourceParam[Source],
        catalog: dg.ResourceParam[Catalog],
    ) -> dg.MaterializeResult:
        """The mean of the best candidates' scores, as one ONNX graph.

        The three candidates of the highest average precision on the validation period vote.
        """
        snapshot = latest_snapshot(context, settings)
        found = [made for made in made_candidates(context, settings, members) if made.snapshot_hash == snapshot.hash]
        chosen = sorted(found, key=lambda made: -made.validation_average_precision)[:MEMBERS]
        if len(chosen) < 2:
            raise dg.Failure(
                f"A vote needs two candidates of training set {snapshot.hash[:16]}, and there are "
                f"{[made.name for made in chosen]}. Materialize the others first.",
                allow_retries=False,
            )
        voters = {made.name: voting.Member(made.fetch(settings)) for made in sorted(chosen, key=lambda made: made.name)}
        with _training_run(context, settings, catalog, snapshot, voting.NAME) as run:
            trained = train(
                snapshot,
                voting.SoftVoting(voters),
                catalog.names,
                catalog.origin,
                settings.seed,
                source=source.name,
                recipe=recipe_of(settings),
            )
            return _finish(context, settings, catalog, trained, run, {"voters": list(voters)})

    return soft_vote


@dataclass(frozen=True)
class MadeCandidate:
    """A candidate's latest materialization, from its metadata."""

    name: str
    candidate: registry.Candidate
    snapshot_hash: str
    validation_average_precision: float
    validation_money_saved: int

    def fetch(self, settings: Settings) -> Artefact:
        """Its artefact, from the models' folder or, where it is not there any more, from MLflow."""
        return Artefact.load(registry.download(settings.tracking_uri, self.candidate, settings.models))


def made_candidates(
    context: dg.AssetExecutionContext, settings: Settings, names: Sequence[str] | None = None
) -> list[MadeCandidate]:
    """Those of the candidates that were ever materialized."""
    found = []
    for name in names or settings.algorithms:
        metadata = latest_metadata(context, dg.AssetKey([PREFIX, name]))
        if metadata is None:
            continue
        candidate = registry.Candidate(metadata["mlflow_run_id"], metadata["mlflow_model_id"], metadata["digest"])
        found.append(
            MadeCandidate(
                name,
                candidate,
                str(metadata["snapshot_hash"]),
                float(metadata["validation_average_precision"]),
                int(metadata["validation_money_saved"]),
            )
        )
    return found


def recipe_of(settings: Settings) -> Recipe:
    """How the settings want a model made."""
    return Recipe(settings.imbalance, settings.calibration, costs_of(settings), settings.reviews_per_day)


def _training_run(
    context: dg.AssetExecutionContext, settings: Settings, catalog: Catalog, snapshot: Snapshot, algorithm: str
) -> Any:
    tags = {
        "dagster_run_id": context.run.run_id,
        "snapshot_hash": snapshot.hash,
        "catalog_fingerprint": catalog.fingerprint,
        "algorithm": algorithm,
    }
    return registry.start_run(settings.tracking_uri, settings.model_name, f"{algorithm} {snapshot.hash[:8]}", tags)


def _tuned(
    context: dg.AssetExecutionContext,
    settings: Settings,
    catalog: Catalog,
    snapshot: Snapshot,
    algorithm: Algorithm,
    run: registry.Run,
) -> Tuned[Algorithm]:
    """The algorithm with the best parameters that were found; each trial is a run below the model's."""
    trials = settings.tuning_trials if algorithm.name in settings.tuned_algorithms else 0

    def on_trial(trial: TrialResult) -> None:
        state = "given up" if trial.given_up else f"{trial.value:.4f}"
        context.log.info("Trial %s of %s: %s with %s", trial.number + 1, trials, state, trial.parameters)

    tuned = tune(
        algorithm,
        snapshot,
        catalog.names,
        Budget(trials, settings.tuning_folds, settings.tuning_fold_days, settings.tuning_rows),
        settings.imbalance,
        settings.tuning,
        settings.seed,
        on_trial,
    )
    for trial in tuned.trials:
        _log_trial(run, trial)
    return tuned


class _GivenUp(Exception):
    """Ends the MLflow run of a trial that was given up."""


def _log_trial(run: registry.Run, trial: TrialResult) -> None:
    with suppress(_GivenUp), run.child(f"trial {trial.number}", pruned_by=(_GivenUp,)) as child:
        folds = {f"average_precision_fold_{number}": value for number, value in enumerate(trial.values)}
        child.log(trial.parameters, folds | {"average_precision": trial.value})
        if trial.given_up:
            raise _GivenUp


def _search_metadata(tuned: Tuned[Algorithm]) -> dict[str, Any]:
    if tuned.value is None:
        return {}
    rows = [
        (trial.number, "given up" if trial.given_up else f"{trial.value:.4f}", trial.parameters)
        for trial in sorted(tuned.trials, key=lambda trial: -trial.value)
    ]
    return {
        "tuned_average_precision": rounded(tuned.value),
        "tuning_folds": tuned.folds,
        "trials": markdown_table(["trial", "average precision", "parameters"], rows),
    }


def _finish(
    context: dg.AssetExecutionContext,
    settings: Settings,
    catalog: Catalog,
    trained: TrainedModel,
    run: registry.Run,
    made_by: Mapping[str, Any],
) -> dg.MaterializeResult:
    """Measure, save and store a trained model, and say what came out."""
    test, validation = _measured(settings, trained, "test"), _measured(settings, trained, "validation")
    artefact = save(trained, test, settings.models, settings.model_name)
    judged = sample(trained.snapshot, "validation", list(trained.feature_columns))
    lost = permutation_importance(trained.predict, judged.inputs, judged.labels, settings.seed)
    run.log_snapshot(trained.snapshot)
    run.log(
        trained.parameters,
        test.metrics | {f"validation_{name}": value for name, value in validation.metrics.items()},
    )
    candidate = run.log_candidate(artefact, settings.model_name)
    context.log.info("%s on %s test rows: %s", trained.algorithm, test.rows, test.metrics)
    return dg.MaterializeResult(
        metadata={
            **figures(test),
            "validation_average_precision": rounded(validation.average_precision or 0.0),
            "validation_money_saved": validation.money.saved,
            "review_threshold": rounded(trained.thresholds.review),
            "block_threshold": None if trained.thresholds.block is None else rounded(trained.thresholds.block),
            "warnings": list(trained.warnings),
            "inputs": len(catalog.names),
            "importance": importance_table(trained.feature_columns, trained.model.importance(), lost),
            "parameters": trained.parameters,
            **made_by,
            "snapshot_hash": trained.snapshot.hash,
            "artefact": dg.MetadataValue.path(artefact),
            "digest": candidate.digest,
            "mlflow": mlflow_run_page(settings, run.experiment_id, candidate.run_id),
            "mlflow_run_id": candidate.run_id,
            "mlflow_model_id": candidate.model_id,
        },
        data_version=dg.DataVersion(artefact.name),
    )


def _measured(settings: Settings, trained: TrainedModel, split: Any) -> Evaluation:
    """With intervals on the test period alone: validation only chooses."""
    resamples = settings.bootstrap_resamples if split == "test" else 0
    return evaluate_split(
        trained.snapshot,
        trained,
        split,
        costs_of(settings),
        settings.reviews_per_day,
        resamples=resamples,
        seed=settings.seed,
    )
