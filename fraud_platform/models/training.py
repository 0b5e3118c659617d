"""Fit one algorithm on a snapshot, calibrate it and choose its thresholds. Looks at no test row."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.features.selection import CatalogOrigin
from fraud_platform.models.algorithms import Algorithm, FittedModel, Matrix, Parameter, Sample, Scores
from fraud_platform.models.calibration import CalibrationKind, Calibrator, fit_calibrator
from fraud_platform.models.costs import CostMatrix, Thresholds, choose_thresholds
from fraud_platform.models.dataset import Snapshot, Split
from fraud_platform.models.imbalance import Imbalance, rebalance
from fraud_platform.models.reference import ReferenceProfile, profile

MINIMUM_ROWS = 100


@dataclass(frozen=True)
class Recipe:
    """How a model is made of an algorithm and a snapshot.

    Attributes:
        imbalance: what is done to the train rows about fraud being rare.
        calibration: how scores become probabilities, fitted on the validation rows.
        costs, reviews_a_day: what the thresholds are chosen by.
    """

    imbalance: Imbalance = "none"
    calibration: CalibrationKind = "sigmoid"
    costs: CostMatrix = field(default_factory=CostMatrix)
    reviews_a_day: int = 100


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model with all that its artefact says about where it comes from.

    `warnings` are sentences for a person: inputs that are null or the same in every train row are kept, so
    that the columns stay those of the catalog, and named here.
    """

    model: FittedModel
    calibrator: Calibrator
    algorithm: str
    parameters: dict[str, Parameter]
    seed: int
    recipe: Recipe
    feature_columns: tuple[str, ...]
    thresholds: Thresholds
    catalog: CatalogOrigin
    source: str
    snapshot: Snapshot
    reference: ReferenceProfile
    warnings: tuple[str, ...]

    def predict(self, matrix: Matrix) -> Scores:
        """The fraud probability of each row, shape (n,)."""
        return self.calibrator(self.model.predict(matrix))


def train(
    snapshot: Snapshot,
    algorithm: Algorithm,
    feature_columns: list[str],
    catalog: CatalogOrigin,
    seed: int,
    *,
    source: str = "",
    recipe: Recipe | None = None,
) -> TrainedModel:
    """Fit on the train rows; the validation rows stop the fit, calibrate it and choose the thresholds.

    Raises:
        TrainingError: where a split has too few rows or one class, or an input is missing or infinite.
    """
    recipe = recipe or Recipe()
    training = sample(snapshot, "train", feature_columns)
    validation = sample(snapshot, "validation", feature_columns)
    model = algorithm.fit(rebalance(training, recipe.imbalance, seed), validation, seed)
    scores = model.predict(validation.inputs)
    calibrator = fit_calibrator(recipe.calibration, validation.labels, scores)
    probabilities = calibrator(scores)
    rows = snapshot.read("validation", ["amount_cents", "day"])
    thresholds = choose_thresholds(
        validation.labels,
        probabilities,
        rows["amount_cents"].to_numpy(),
        rows["day"],
        recipe.costs,
        recipe.reviews_a_day,
    )
    return TrainedModel(
        model=model,
        calibrator=calibrator,
        algorithm=algorithm.name,
        parameters=algorithm.parameters | model.facts | {"imbalance": recipe.imbalance},
        seed=seed,
        recipe=recipe,
        feature_columns=tuple(feature_columns),
        thresholds=thresholds,
        catalog=catalog,
        source=source,
        snapshot=snapshot,
        reference=profile(training.inputs, tuple(feature_columns), probabilities),
        warnings=_warnings(training.inputs, feature_columns),
    )


def input_matrix(frame: pl.DataFrame, feature_columns: list[str] | tuple[str, ...]) -> Matrix:
    """The model inputs of a frame as C-ordered float32 (n, d), null = NaN."""
    columns = frame.select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in feature_columns)
    return np.ascontiguousarray(columns.to_numpy(), dtype=np.float32)


def sample(snapshot: Snapshot, split: Split, feature_columns: list[str]) -> Sample:
    """The inputs and labels of a split.

    Raises:
        TrainingError: where it has too few rows or one class, or an input is missing or infinite.
    """
    absent = [name for name in feature_columns if name not in snapshot.columns]
    if absent or not feature_columns:
        raise TrainingError(
            f"The training set {snapshot.path} lacks the inputs {absent or '(none were asked for)'}. "
            "Materialize `transaction_features` and `training_set` again with this catalog."
        )
    facts, days = snapshot.splits[split], snapshot.periods.of(split)
    where = f"The {split} period, {days.first} up to {days.end}, has {facts.frauds} frauds in {facts.rows} rows"
    if facts.rows < MINIMUM_ROWS:
        raise TrainingError(
            f"{where}; {MINIMUM_ROWS} rows are the least to train with. Materialize `transaction_features` for "
            "those days."
        )
    if facts.frauds == 0:
        raise TrainingError(
            f"{where}: nothing can be learnt without a fraud. Check `labels` in the source's file, and that labels "
            f"were reported before {snapshot.periods.training_moment}; or take a longer period "
            "(FRAUD_VALIDATION_DAYS, more days)."
        )
    if facts.frauds == facts.rows:
        raise TrainingError(
            f"{where}: there is no legitimate row to compare with. Check `labels.is_fraud.fraud_values` in the "
            "source's file."
        )
    frame = snapshot.read(split, [*feature_columns, "is_fraud"])
    inputs = input_matrix(frame, feature_columns)
    infinite = {name: int(np.isinf(inputs[:, column]).sum()) for column, name in enumerate(feature_columns)}
    if any(infinite.values()):
        counts = {name: count for name, count in infinite.items() if count}
        raise TrainingError(f"{where}, and infinite inputs: {counts}. Give null where a value is unknown.")
    return Sample(inputs, frame.get_column("is_fraud").to_numpy().astype(np.bool_))


def _warnings(inputs: Matrix, feature_columns: list[str]) -> tuple[str, ...]:
    """Of inputs from which nothing can be learnt. One that is null in some rows says something by being null."""
    empty = np.isnan(inputs).all(axis=0)
    constant = (inputs == inputs[0]).all(axis=0)
    found = {"are null in every train row": empty, "have one and the same value in every train row": constant}
    named = {what: [feature_columns[column] for column in np.flatnonzero(which)] for what, which in found.items()}
    return tuple(
        f"{len(names)} of {len(feature_columns)} inputs {what}: {', '.join(names)}."
        for what, names in named.items()
        if names
    )
