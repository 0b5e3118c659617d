"""How MLflow itself loads a stored artefact: `mlflow.pyfunc.load_model`. The platform never does."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fraud_platform.models.artefact import Artefact

if TYPE_CHECKING:
    import pandas as pd


class PyfuncModel:
    """A frame of the input columns in, probabilities out."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact

    def predict(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        """The fraud probability of each row; columns in any order, others ignored."""
        inputs = frame[list(self.artefact.card.feature_columns)].to_numpy(dtype=np.float32, na_value=np.nan)
        return self.artefact.predict(np.ascontiguousarray(inputs))


def _load_pyfunc(path: str) -> PyfuncModel:
    """Called by MLflow with the artefact directory. Needs this package to be importable."""
    return PyfuncModel(Artefact.load(Path(path)))
