"""Soft voting: the mean of several models' scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fraud_platform.models.algorithms import FittedModel, Matrix, Parameter, Sample, Scores, Trial, shares_of
from fraud_platform.models.onnx_graphs import mean_graph

if TYPE_CHECKING:
    from fraud_platform.models.artefact import Artefact

NAME = "soft_voting"


class Member:
    """A candidate's artefact as a model that votes: its graph, before it was calibrated."""

    file_name = None

    def __init__(self, artefact: "Artefact") -> None:
        self.artefact = artefact

    @property
    def facts(self) -> dict[str, Parameter]:
        return {}

    def predict(self, inputs: Matrix) -> Scores:
        return self.artefact.score(inputs)

    def importance(self) -> Scores:
        return np.array(self.artefact.card.importance)

    def to_onnx(self) -> bytes:
        return self.artefact.graph

    def save(self, path: Path) -> None:
        raise NotImplementedError("The member of a vote has no file of its own there.")


class SoftVoting:
    """The vote of models that are fitted already, by name."""

    name = NAME

    def __init__(self, members: Mapping[str, FittedModel]) -> None:
        self._members = members

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {"voters": ", ".join(self._members)}

    def suggest(self, trial: Trial) -> "SoftVoting":
        return self

    def fit(self, train: Sample, validation: Sample, seed: int) -> "SoftVotingModel":
        return SoftVotingModel(tuple(self._members.values()))


class SoftVotingModel:
    """Fitted models of one training set, each with the same say. Its members' graphs become one."""

    file_name = None

    def __init__(self, members: Sequence[FittedModel]) -> None:
        self.members = tuple(members)

    @property
    def facts(self) -> dict[str, Parameter]:
        return {"members": len(self.members)}

    def predict(self, inputs: Matrix) -> Scores:
        return np.mean([member.predict(inputs) for member in self.members], axis=0)

    def importance(self) -> Scores:
        return shares_of(np.mean([member.importance() for member in self.members], axis=0))

    def to_onnx(self) -> bytes:
        return mean_graph([member.to_onnx() for member in self.members])

    def save(self, path: Path) -> None:
        raise NotImplementedError("A soft vote has no native file.")
