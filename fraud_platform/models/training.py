"""Fit one algorithm on a snapshot and choose its threshold. Looks at no test row."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from fraud_platform.errors import TrainingError
from fraud_platform.features.selection import CatalogOrigin
from fraud_platform.models.algorithms import Algorithm, FittedModel, Labels, Matrix, Sample, Scores
from fraud_platform.models.dataset import Snapshot, Split
from fraud_platform.models.reference import ReferenceProfile, profile

MINIMUM_ROWS = 100


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model with all that its artefact says about where it comes from.

    `warnings` are sentences for a person: all-null inputs are kept, so that the columns stay those
    of the catalog, and named here.
    """

    model: FittedModel
    algorithm: str
    parameters: dict[str, int | float | str]
    seed: int
    feature_columns: tuple[str, ...]
    threshold: float
    catalog: CatalogOrigin
    source: str
    snapshot: Snapshot
    reference: ReferenceProfile
    warnings: tuple[str, ...]

    def predict(self, matrix: Matrix) -> Scores:
        """The fraud probability of each row, shape (n,)."""
        return self.model.predict(matrix)


def train(
    snapshot: Snapshot,
    algorithm: Algorithm,
    feature_columns: list[str],
    catalog: CatalogOrigin,
    seed: int,
    *,
    source: str = "",
) -> TrainedModel:
    """Fit on the train rows; the validation rows stop the fit and choose the threshold.

    Raises:
        TrainingError: where a split has too few rows or one class, or an input is missing or infinite.
    """
    absent = [name for name in feature_columns if name not in snapshot.columns]
    if absent or not feature_columns:
        raise TrainingError(
            f"The training set {snapshot.path} lacks the inputs {absent or '(none were asked for)'}. "
            "Materialize `transaction_features` and `training_set` again with this catalog."
        )
    training, validation = _sample(snapshot, "train", feature_columns), _sample(snapshot, "validation", feature_columns)
    model = algorithm.fit(training, validation, seed)
    scores = model.predict(validation.inputs)
    return TrainedModel(
        model=model,
        algorithm=algorithm.name,
        parameters=algorithm.parameters | model.facts,
        seed=seed,
        feature_columns=tuple(feature_columns),
        threshold=best_f1_threshold(validation.labels, scores),
        catalog=catalog,
        source=source,
        snapshot=snapshot,
        reference=profile(training.inputs, tuple(feature_columns), scores),
        warnings=_warnings(training.inputs, feature_columns),
    )


def input_matrix(frame: pl.DataFrame, feature_columns: list[str] | tuple[str, ...]) -> Matrix:
    """The model inputs of a frame as C-ordered float32 (n, d), null = NaN."""
    columns = frame.select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in feature_columns)
    return np.ascontiguousarray(columns.to_numpy(), dtype=np.float32)


def best_f1_threshold(labels: Labels, scores: Scores) -> float:
    """The threshold (alert where score >= threshold) of the greatest F1; of equals, the highest.

    It lies midway between two scores, so that a rounding in the last digit flips no row.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(labels[order])
    last_of_tie = np.append(sorted_scores[1:] != sorted_scores[:-1], True)
    alerts = np.arange(1, len(scores) + 1)
    f1 = np.where(last_of_tie, 2 * hits / (alerts + hits[-1]), -1.0)
    best = int(np.argmax(f1))
    below = sorted_scores[best + 1] if best + 1 < len(scores) else 0.0
    return float((sorted_scores[best] + below) / 2)


def _sample(snapshot: Snapshot, split: Split, feature_columns: list[str]) -> Sample:
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
    empty = [name for column, name in enumerate(feature_columns) if np.isnan(inputs[:, column]).all()]
    if not empty:
        return ()
    return (f"{len(empty)} of {len(feature_columns)} inputs are null in every train row: {', '.join(empty)}.",)
