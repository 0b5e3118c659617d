"""Whether what an artefact serves is the model that was fitted, and its reasons are the reasons of what it serves.

Rows of the snapshot are asked, half of them with inputs struck out at random, and one without any input.
"""

from typing import TYPE_CHECKING

import numpy as np

from fraud_platform.errors import ArtefactError
from fraud_platform.models.algorithms import Matrix, Scores
from fraud_platform.models.artefact import EXPLANATION_FILE, ONNX_FILE, Artefact
from fraud_platform.models.explanation import Explainer

if TYPE_CHECKING:
    from fraud_platform.models.training import TrainedModel

TOLERANCE = 1e-6
EXPLANATION_TOLERANCE = 1e-5
"""The graph adds up in float32, hundreds of trees."""


def verify_onnx(trained: "TrainedModel", artefact: Artefact, rows: int = 10_000) -> float:
    """Score rows with the native model and with the graph.

    Returns:
        The greatest difference of the two scores.

    Raises:
        ArtefactError: if it is above 1e-6 anywhere.
    """
    matrix = _rows(trained, rows)
    return _greatest_difference(
        trained.model.predict(matrix),
        artefact.score(matrix),
        TOLERANCE,
        f"{artefact.path / ONNX_FILE} is not the native model",
        "Check that onnxmltools supports this version of the library and these parameters.",
    )


def verify_explanation(trained: "TrainedModel", artefact: Artefact, rows: int = 500) -> float:
    """Add up the parts of rows' scores, before they are calibrated: isotonic calibration jumps.

    Returns:
        The greatest difference to the scores that the graph gives.

    Raises:
        ArtefactError: if it is above 1e-5 anywhere.
    """
    matrix = _rows(trained, rows)
    explainer = Explainer.load(artefact.path)
    parts = map(explainer.score_parts, matrix)
    return _greatest_difference(
        np.array([base + values.sum() for base, values in parts]),
        artefact.score(matrix),
        EXPLANATION_TOLERANCE,
        f"{artefact.path / EXPLANATION_FILE} does not explain {ONNX_FILE}",
        "Check that `onnx_members` reads what the converter of this library's version writes.",
    )


def _greatest_difference(expected: Scores, found: Scores, tolerance: float, wrong: str, fix: str) -> float:
    difference = np.abs(expected - found)
    apart = int((~(difference <= tolerance)).sum())  # a NaN counts as apart
    if apart:
        worst = int(np.argmax(difference))
        raise ArtefactError(
            f"{wrong}: {apart} of {len(found)} scores differ by more than {tolerance:g}, the worst "
            f"{expected[worst]:.9g} against {found[worst]:.9g}. {fix}"
        )
    return float(difference.max())


def _rows(trained: "TrainedModel", rows: int) -> Matrix:
    from fraud_platform.models.training import input_matrix

    frame = trained.snapshot.read(columns=list(trained.feature_columns))
    random = np.random.default_rng(trained.seed)
    chosen = np.sort(random.choice(frame.height, size=min(rows, frame.height), replace=False))
    matrix = input_matrix(frame[chosen], trained.feature_columns)
    struck_out = random.random(matrix.shape) < 0.2
    struck_out[::2] = False
    matrix[struck_out] = np.nan
    matrix[-1] = np.nan
    return matrix
