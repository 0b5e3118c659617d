"""Which model decides on which transaction: champion, challenger for some customers, or the fallback.

A model that fails, or takes longer than its guard allows several times in a row, is left alone for a while;
then the fallback decides, and without one the rules alone. Whatever stands in says so.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fraud_platform.decisions.journal import Reason, ServedBy, Shadow
from fraud_platform.decisions.policy import Policy
from fraud_platform.features.selection import CatalogOrigin
from fraud_platform.models.costs import CostMatrix, Thresholds

log = logging.getLogger("bentoml.fraud_scoring")

SLOW_IN_A_ROW = 3
"""One slow answer is a busy machine; so many in a row are a model that is too slow."""

Matrix = NDArray[np.float32]


class Card(Protocol):
    """What is read of a model card."""

    @property
    def catalog(self) -> CatalogOrigin: ...

    @property
    def thresholds(self) -> Thresholds: ...

    @property
    def costs(self) -> CostMatrix: ...


class Model(Protocol):
    """What is asked of a model; `models.artefact.Artefact` is one."""

    @property
    def card(self) -> Card: ...

    def predict(self, matrix: Matrix) -> NDArray[np.float64]: ...


class Explains(Protocol):
    """What is asked of reasons; `decisions.reasons.Reasons` is one."""

    def of(
        self, event: Any, vector: NDArray[np.float32], limit: int = 5, probability: float | None = None
    ) -> tuple[Reason, ...]: ...


@dataclass
class Guard:
    """Leaves a model alone that failed or was too slow.

    Attributes:
        seconds: how long it may take for a transaction.
        rest_seconds: how long it is left alone.
    """

    seconds: float = float("inf")
    rest_seconds: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _slow: int = 0
    _until: float = float("-inf")

    def rests(self) -> bool:
        return self.clock() < self._until

    def failed(self) -> None:
        self._until = self.clock() + self.rest_seconds

    def took(self, seconds: float) -> None:
        """Note how long an answer took, a transaction."""
        self._slow = self._slow + 1 if seconds > self.seconds else 0
        if self._slow >= SLOW_IN_A_ROW:
            self._slow = 0
            self.failed()


@dataclass
class Candidate:
    """A loaded model, with what belongs to it.

    Attributes:
        learnt_until: the end of the period that it learnt from, seconds since 1970.
    """

    version: str
    artefact: Model
    reasons: Explains | None = None
    guard: Guard = field(default_factory=Guard)
    learnt_until: float = float("nan")

    def __post_init__(self) -> None:
        self.policy = Policy(self.artefact.card.thresholds)
        self.costs = self.artefact.card.costs

    def ask(self, matrix: Matrix) -> list[float] | None:
        """The fraud probability of each row; None where the model rests or fails."""
        if self.guard.rests():
            return None
        started = self.guard.clock()
        try:
            found = self.artefact.predict(matrix)
            if not np.isfinite(found).all():
                raise ValueError("it gave a probability that is no number")
        except Exception as error:
            log.error(
                "Model version %s failed and rests for %g s", self.version, self.guard.rest_seconds, exc_info=error
            )
            self.guard.failed()
            return None
        self.guard.took((self.guard.clock() - started) / len(matrix))
        return found.tolist()


class Routed(NamedTuple):
    """One transaction's model: None, with probability None, where there is none to be asked."""

    served_by: ServedBy
    candidate: Candidate | None
    probability: float | None
    shadow: Shadow | None = None
    degraded: bool = False


@dataclass
class Router:
    """The models of one worker.

    Attributes:
        mode, percent: what the challenger is for; see `deployment.Challenger`.
    """

    champion: Candidate | None
    challenger: Candidate | None = None
    mode: Literal["shadow", "ab"] = "shadow"
    percent: float = 0.0
    fallback: Candidate | None = None

    @property
    def candidates(self) -> list[Candidate]:
        """All that are loaded, the champion first."""
        return [one for one in (self.champion, self.challenger, self.fallback) if one is not None]

    def version(self, model_version: str) -> Candidate | None:
        """The loaded model of that version."""
        return next((one for one in self.candidates if one.version == model_version), None)

    def route(self, matrix: Matrix, customers: Sequence[str]) -> list[Routed]:
        """Which model decides on each row (n, d), and what it says."""
        chosen = np.zeros(len(matrix), bool)
        if self.challenger is not None and self.mode == "ab":
            chosen = np.array([in_experiment(customer, self.percent) for customer in customers], bool)
        routed: list[Routed] = [Routed("rules", None, None, degraded=True)] * len(matrix)
        asked: dict[ServedBy, tuple[Candidate | None, NDArray[np.intp]]] = {
            "challenger": (self.challenger, np.flatnonzero(chosen)),
            "champion": (self.champion, np.flatnonzero(~chosen)),
        }
        for role, (candidate, rows) in asked.items():
            for row, one in zip(rows.tolist(), self._ask(role, candidate, matrix[rows]), strict=True):
                routed[row] = one
        if self.challenger is not None and self.mode == "shadow" and len(matrix):
            routed = self._with_shadow(self.challenger, matrix, routed)
        return routed

    def _ask(self, role: ServedBy, candidate: Candidate | None, matrix: Matrix) -> list[Routed]:
        """The model of a role, or whichever takes its place."""
        if not len(matrix):
            return []
        in_turn: dict[ServedBy, Candidate | None] = {role: candidate, "champion": self.champion}
        in_turn["fallback"] = self.fallback
        for served_by, one in in_turn.items():
            if one is not None and (found := one.ask(matrix)) is not None:
                return [Routed(served_by, one, p, degraded=served_by != role) for p in found]
        return [Routed("rules", None, None, degraded=True)] * len(matrix)

    def _with_shadow(self, challenger: Candidate, matrix: Matrix, routed: list[Routed]) -> list[Routed]:
        found = challenger.ask(matrix)
        if found is None:
            return routed
        return [
            one._replace(shadow=Shadow(challenger.version, p, challenger.policy.judge(p)[1]))
            for one, p in zip(routed, found, strict=True)
        ]


def in_experiment(customer_id: str, percent: float) -> bool:
    """Whether a customer is among the share that the challenger decides for: always the same ones.

    >>> in_experiment("C1", 0.0), in_experiment("C1", 100.0)
    (False, True)
    """
    place = int.from_bytes(hashlib.blake2b(customer_id.encode(), digest_size=8, person=b"experiment").digest(), "big")
    return place < percent / 100 * 2**64
