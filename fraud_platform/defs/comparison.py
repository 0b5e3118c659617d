"""Candidates and champion, side by side on the same payments."""

import dagster as dg
import msgspec
import polars as pl

from fraud_platform.defs.candidates import MadeCandidate, candidate_keys, made_candidates
from fraud_platform.defs.presentation import OWNERS, markdown_table, picture
from fraud_platform.defs.training import GROUP, latest_snapshot
from fraud_platform.features.selection import Catalog
from fraud_platform.models import registry
from fraud_platform.models.algorithms import Scores
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.bootstrap import Decided, Interval, PairedTest, paired_test
from fraud_platform.models.choice import choose_candidate
from fraud_platform.models.costs import costs_of, gains
from fraud_platform.models.curves import comparison_png
from fraud_platform.models.dataset import Snapshot
from fraud_platform.models.evaluation import Evaluation
from fraud_platform.models.training import input_matrix
from fraud_platform.settings import Settings


def definitions(settings: Settings) -> dg.Definitions:
    """The comparison."""
    return dg.Definitions(assets=[_model_comparison(settings)])


def _model_comparison(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(deps=candidate_keys(settings), group_name=GROUP, kinds={"onnx"}, owners=OWNERS[GROUP])
    def model_comparison(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], catalog: dg.ResourceParam[Catalog]
    ) -> dg.MaterializeResult:
        """Every candidate and the champion on the same payments.

        The candidate that saves most money on the validation period is chosen; of those that are not shown to save
        less, the one of the highest average precision. Its figures on the test period are then what may be expected
        of it. Differences from the champion are paired: the same customers, drawn again and again.
        """
        snapshot = latest_snapshot(context, settings)
        made = made_candidates(context, settings)
        fresh = [one for one in made if one.snapshot_hash == snapshot.hash]
        if not fresh:
            raise dg.Failure(
                f"No candidate was trained on training set {snapshot.hash[:16]}. Materialize `candidate_models` first.",
                allow_retries=False,
            )
        rows = snapshot.read("test")
        champion = comparable_champion(settings, catalog, rows)
        scored = {one.name: Scored(one.fetch(settings), rows) for one in fresh}
        best, tied = _choose(settings, snapshot.read("validation"), fresh, scored)
        ranked = sorted(fresh, key=lambda one: -one.validation_money_saved)
        found = {one.name: msgspec.convert(scored[one.name].artefact.card.evaluation, Evaluation) for one in ranked}
        curves = {name: one.probabilities for name, one in scored.items()}
        if champion is not None:
            curves["champion"] = champion.scored.probabilities
        return dg.MaterializeResult(
            metadata={
                "chosen": best.name,
                "tied_on_validation": list(tied),
                "candidates": markdown_table(
                    _CANDIDATE_HEADER, [_candidate_line(one, found[one.name], one is best) for one in ranked]
                ),
                "intervals": markdown_table(
                    ["candidate", *INTERVALS], [_interval_line(name, one) for name, one in found.items()]
                ),
                "against_champion": _against_champion(settings, rows, champion, {n: scored[n] for n in found}),
                "champion": None if champion is None else champion.version.version,
                "left_out": [one.name for one in made if one.snapshot_hash != snapshot.hash],
                "test_period": _period(snapshot),
                "precision_recall": picture(
                    "precision and recall", comparison_png(rows["is_fraud"].to_numpy(), curves)
                ),
                "snapshot_hash": snapshot.hash,
                "mlflow_run_id": best.candidate.run_id,
                "mlflow_model_id": best.candidate.model_id,
                "digest": best.candidate.digest,
            }
        )

    return model_comparison


def _choose(
    settings: Settings, rows: pl.DataFrame, fresh: list[MadeCandidate], scored: "dict[str, Scored]"
) -> tuple[MadeCandidate, tuple[str, ...]]:
    """The candidate that goes before the gate, and those that money does not tell apart."""
    decided = {one.name: Scored(scored[one.name].artefact, rows).decided(rows, settings) for one in fresh}
    chosen, tied = choose_candidate(
        rows["is_fraud"].to_numpy(),
        rows["day"],
        rows["customer_id"],
        decided,
        settings.reviews_per_day,
        significance=settings.gate_significance,
        resamples=settings.bootstrap_resamples,
        seed=settings.seed,
    )
    return next(one for one in fresh if one.name == chosen), tied


class Scored:
    """A model's probabilities of some rows, computed once."""

    def __init__(self, artefact: Artefact, rows: pl.DataFrame) -> None:
        self.artefact = artefact
        self.inputs = input_matrix(rows, artefact.card.feature_columns)
        self.probabilities: Scores = artefact.predict(self.inputs)

    def decided(self, rows: pl.DataFrame, settings: Settings) -> Decided:
        """With the money that its decisions save of each row."""
        labels, amounts = rows["is_fraud"].to_numpy(), rows["amount_cents"].to_numpy()
        saved = gains(labels, amounts, self.probabilities, self.artefact.card.thresholds, costs_of(settings))
        return Decided(self.probabilities, saved)


class Champion:
    def __init__(self, version: registry.RegisteredVersion, scored: Scored) -> None:
        self.version, self.scored = version, scored


def comparable_champion(settings: Settings, catalog: Catalog, rows: pl.DataFrame) -> Champion | None:
    """The champion with its scores of these rows; None before the first, or where its catalog is another one."""
    version = registry.champion(settings.tracking_uri, settings.model_name)
    if version is None:
        return None
    artefact = Artefact.load(registry.download(settings.tracking_uri, version, settings.models))
    if artefact.card.catalog.fingerprint != catalog.fingerprint:
        return None
    return Champion(version, Scored(artefact, rows))


def paired_with(settings: Settings, rows: pl.DataFrame, champion: Scored, challenger: Scored) -> PairedTest:
    return paired_test(
        rows["is_fraud"].to_numpy(),
        rows["day"],
        rows["customer_id"],
        champion.decided(rows, settings),
        challenger.decided(rows, settings),
        settings.reviews_per_day,
        resamples=settings.bootstrap_resamples,
        seed=settings.seed,
    )


_CANDIDATE_HEADER = (
    "candidate",
    "saved on validation",
    "saved on test",
    "ROC AUC",
    "average precision",
    "card precision at k",
    "reviews a day",
)
INTERVALS = ("roc_auc", "average_precision", "card_precision_at_k", "money_saved_share")


def _candidate_line(made: MadeCandidate, found: Evaluation, chosen: bool) -> tuple[str, ...]:
    return (
        f"**{made.name}**" if chosen else made.name,
        f"{made.validation_money_saved / 100:,.0f}",
        f"{found.money.saved / 100:,.0f}",
        *(_decimals(found.metrics.get(name)) for name in ("roc_auc", "average_precision", "card_precision_at_k")),
        "–" if found.alerts.reviews_per_day is None else f"{found.alerts.reviews_per_day:.0f}",
    )


def _interval_line(name: str, found: Evaluation) -> tuple[str, ...]:
    """95 % intervals of the test period."""
    intervals = [found.intervals.get(figure) for figure in INTERVALS]
    return (name, *("–" if one is None else f"{one.low:.3f} to {one.high:.3f}" for one in intervals))


def _against_champion(
    settings: Settings, rows: pl.DataFrame, champion: Champion | None, candidates: dict[str, Scored]
) -> dg.MetadataValue:
    """Paired differences on the test period, with 95 % intervals; money in major units."""
    if champion is None:
        return dg.MetadataValue.text("There is no champion to compare with.")
    lines = []
    for name, scored in candidates.items():
        paired = paired_with(settings, rows, champion.scored, scored)
        ranking = paired.average_precision
        of_ranking = "–" if ranking is None else _difference(ranking.difference, 1.0, 4)
        lines.append((name, of_ranking, _difference(paired.saved.difference, 0.01, 0)))
    return markdown_table(["candidate", "average precision", "saved"], lines)


def _decimals(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _difference(interval: Interval, unit: float, decimals: int) -> str:
    value, low, high = (f"{figure * unit:+,.{decimals}f}" for figure in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


def _period(snapshot: Snapshot) -> str:
    test = snapshot.periods.test
    return f"{test.first} to {test.end}, exclusive"
