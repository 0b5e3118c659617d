"""The artefact: one directory that holds a model and all that was fitted with it; no pickle.

    model.onnx       the graph that serves
    model.*          the native model, where its library has a format that is no pickle
    model.json       a `ModelCard`, with the calibrator that turns the graph's scores into probabilities
    explanation.npz  what `explanation` gives reasons from
    SHA256SUMS       the digest of each of these, as `sha256sum --check` reads it

Loading and predicting import onnxruntime, numpy and msgspec, and nothing that trains.
"""

import hashlib
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import ArtefactError
from fraud_platform.features.selection import CatalogOrigin
from fraud_platform.models.calibration import Calibrator
from fraud_platform.models.costs import CostMatrix, Thresholds
from fraud_platform.models.reference import ReferenceProfile

if TYPE_CHECKING:
    from fraud_platform.models.evaluation import Evaluation
    from fraud_platform.models.training import TrainedModel

FORMAT_VERSION = 3
ONNX_FILE, CARD_FILE, EXPLANATION_FILE, DIGESTS_FILE = "model.onnx", "model.json", "explanation.npz", "SHA256SUMS"
CHUNK_ROWS = 65_536
LIBRARIES = ("xgboost", "lightgbm", "scikit-learn", "onnx", "onnxmltools", "skl2onnx", "onnxruntime", "numpy", "polars")
AGAIN = (
    "Delete the directory and materialize `candidate_models` again, or copy it again, whole, from where it was made."
)


class ModelCard(msgspec.Struct, frozen=True):
    """model.json. Times are event_us, days are ISO dates with exclusive ends.

    `importance` is the share of each of `feature_columns`; `costs` and `reviews_a_day` are what the thresholds
    were chosen by.
    """

    format_version: int
    model_name: str
    algorithm: str
    parameters: dict[str, int | float | str]
    seed: int
    native_file: str | None
    feature_columns: tuple[str, ...]
    importance: tuple[float, ...]
    calibrator: Calibrator
    thresholds: Thresholds
    costs: CostMatrix
    reviews_a_day: int
    catalog: CatalogOrigin
    source: str
    snapshot_hash: str
    periods: dict[str, Any]
    splits: dict[str, Any]
    evaluation: dict[str, Any]
    reference: ReferenceProfile
    libraries: dict[str, str]
    warnings: tuple[str, ...]


class Artefact:
    """A loaded model. `predict` may be called from several threads at once."""

    def __init__(self, path: Path, card: ModelCard, digest: str, session: Any) -> None:
        self.path = path
        self.card = card
        self.digest = digest
        self._run = session.run
        self._input = session.get_inputs()[0].name
        self._outputs = ["probabilities"]
        self._width = len(card.feature_columns)

    @classmethod
    def load(cls, path: Path, threads: int = 1) -> "Artefact":
        """Verify the digests and prepare the session.

        Args:
            threads: of ONNX Runtime. With several it adds the trees up in another order, and a score then
                differs from the service's in its last bits; 1 is also fastest for single rows.

        Raises:
            ArtefactError: naming the file that is missing, changed, or of another format.
        """
        digest = verify_digests(path)
        card = read_card(path)
        session = _session(path / ONNX_FILE, threads)
        width = session.get_inputs()[0].shape[-1]
        if width != len(card.feature_columns):
            raise ArtefactError(
                f"{path / ONNX_FILE} takes {width} inputs and {CARD_FILE} lists {len(card.feature_columns)}. {AGAIN}"
            )
        return cls(path, card, digest, session)

    @property
    def graph(self) -> bytes:
        """The ONNX graph."""
        return (self.path / ONNX_FILE).read_bytes()

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """The fraud probability of each row.

        Args:
            matrix: float32 (n, d), the columns of `card.feature_columns` in order; NaN = missing.

        Raises:
            ArtefactError: if the matrix has another type or width.
        """
        return self.card.calibrator(self.score(matrix))

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the graph itself gives, before it is calibrated; as `predict`."""
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.shape[1] != self._width:
            raise ArtefactError(
                f"{self.path} takes float32 (n, {self._width}) and was given {matrix.dtype} {matrix.shape}. Give the "
                "columns of `card.feature_columns`, in that order."
            )
        if len(matrix) <= CHUNK_ROWS:
            return self._run(self._outputs, {self._input: matrix})[0][:, 1].astype(np.float64)
        scores = np.empty(len(matrix), dtype=np.float64)
        for start in range(0, len(matrix), CHUNK_ROWS):
            rows = matrix[start : start + CHUNK_ROWS]
            scores[start : start + CHUNK_ROWS] = self._run(self._outputs, {self._input: rows})[0][:, 1]
        return scores


def save(trained: "TrainedModel", evaluation: "Evaluation", folder: Path, model_name: str = "fraud_model") -> Path:
    """Write the artefact as `<folder>/<first 16 hex of its digest>`, whole or not at all.

    The directory is built aside, loaded, held against the native model, and renamed. The same
    model gives the same name; one that exists is left alone.

    Raises:
        ArtefactError: if ONNX and the native model disagree, or the graph cannot be explained.
    """
    from fraud_platform.models.additive import write_members
    from fraud_platform.models.onnx_members import explained
    from fraud_platform.models.verification import verify_explanation, verify_onnx

    folder.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    try:
        files = [ONNX_FILE, CARD_FILE, EXPLANATION_FILE]
        graph = trained.model.to_onnx()
        (building / ONNX_FILE).write_bytes(graph)
        members = explained(graph, trained.snapshot, trained.feature_columns)
        write_members(members, building / EXPLANATION_FILE)
        if trained.model.file_name is not None:
            trained.model.save(building / trained.model.file_name)
            files.append(trained.model.file_name)
        card = msgspec.json.encode(_card(trained, evaluation, model_name))
        (building / CARD_FILE).write_bytes(msgspec.json.format(card) + b"\n")
        lines = [f"{_sha256(building / name)}  {name}\n" for name in sorted(files)]
        (building / DIGESTS_FILE).write_text("".join(lines))
        artefact = Artefact.load(building)
        verify_onnx(trained, artefact)
        verify_explanation(trained, artefact)
        building.chmod(0o755)
        target = folder / artefact.digest[:16]
        if target.exists():
            verify_digests(target)
        else:
            building.rename(target)
        return target
    finally:
        shutil.rmtree(building, ignore_errors=True)


def read_card(path: Path) -> ModelCard:
    """model.json of an artefact, without its digests being verified.

    Raises:
        ArtefactError: if it is missing, damaged, or of another format version.
    """
    file = path / CARD_FILE
    try:
        content = file.read_bytes()
        found = msgspec.json.decode(content).get("format_version")
        if found != FORMAT_VERSION:
            raise ArtefactError(f"{file} has format version {found!r} and this code reads {FORMAT_VERSION}. {AGAIN}")
        return msgspec.json.decode(content, type=ModelCard)
    except (OSError, AttributeError, msgspec.DecodeError) as error:
        raise ArtefactError(f"{file} cannot be read: {error}. {AGAIN}") from error


def verify_digests(path: Path, *, place: str | None = None, fix: str = AGAIN) -> str:
    """Hold each file against SHA256SUMS.

    Args:
        place: where the directory is to be looked for, where `path` is a passing copy of it.
        fix: what to do about damage.

    Returns:
        The SHA-256 of SHA256SUMS itself, which names the artefact.

    Raises:
        ArtefactError: naming the first file that is missing, changed or not listed.
    """
    file, where = path / DIGESTS_FILE, place or str(path)
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{where}/{DIGESTS_FILE} cannot be read: {error}. {fix}") from error
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (ONNX_FILE, CARD_FILE, *digests):
        if name not in digests or "/" in name or not (path / name).is_file():
            raise ArtefactError(f"{where}/{name} is missing or not listed in {DIGESTS_FILE}. {fix}")
        if _sha256(path / name) != digests[name]:
            raise ArtefactError(
                f"{where}/{name} was changed after it was written: its digest is not the one in {DIGESTS_FILE}. {fix}"
            )
    return _sha256(file)


def _session(file: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors have no common base but Exception
        raise ArtefactError(
            f"{file} cannot be loaded by onnxruntime {onnxruntime.__version__}: {error}. {AGAIN}"
        ) from error


def _card(trained: "TrainedModel", evaluation: "Evaluation", model_name: str) -> ModelCard:
    snapshot = trained.snapshot
    return ModelCard(
        format_version=FORMAT_VERSION,
        model_name=model_name,
        algorithm=trained.algorithm,
        parameters=trained.parameters,
        seed=trained.seed,
        native_file=trained.model.file_name,
        feature_columns=trained.feature_columns,
        importance=tuple(trained.model.importance().tolist()),
        calibrator=trained.calibrator,
        thresholds=trained.thresholds,
        costs=trained.recipe.costs,
        reviews_a_day=trained.recipe.reviews_a_day,
        catalog=trained.catalog,
        source=trained.source,
        snapshot_hash=snapshot.hash,
        periods=msgspec.to_builtins(snapshot.periods),
        splits=msgspec.to_builtins(snapshot.splits),
        evaluation=msgspec.to_builtins(evaluation),
        reference=trained.reference,
        libraries={name: version(name) for name in LIBRARIES},
        warnings=trained.warnings,
    )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
