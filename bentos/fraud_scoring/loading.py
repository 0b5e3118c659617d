"""From the deployment file to the models that a worker decides with."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fraud_platform.decisions.deciding import check_catalog
from fraud_platform.decisions.deployment import Challenger, Deployed, Deployment, artefact_folder
from fraud_platform.decisions.reasons import Reasons
from fraud_platform.decisions.router import Candidate, Guard, Router
from fraud_platform.errors import FraudPlatformError
from fraud_platform.features.selection import Catalog
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.explanation import Explainer
from fraud_platform.settings import Settings


@dataclass(frozen=True)
class Packaged:
    """The model of the Bento itself."""

    model_version: str
    folder: Path


@dataclass
class Models:
    """Loads models, and keeps those that are in use: a swap loads only what is new.

    Args:
        packaged: what decides where the deployment names no champion, and takes over where nothing else does.
    """

    settings: Settings
    catalog: Catalog
    packaged: Packaged
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._loaded: dict[tuple[str, Path], Candidate] = {}

    def router(self, deployment: Deployment) -> tuple[Router, list[str]]:
        """The models that a deployment names, and what is wrong with those that cannot be loaded.

        A champion that cannot be loaded leaves the fallback to decide, or else the packaged model. What the
        packaged model stands in for is said: see `Router.degraded`.
        """
        problems: list[str] = []
        packaged = Deployed(self.packaged.model_version, str(self.packaged.folder))
        champion = self._try(deployment.champion or packaged, "champion", problems)
        challenger = deployment.challenger and self._try(deployment.challenger, "challenger", problems)
        fallback = deployment.fallback and self._try(deployment.fallback, "fallback", problems)
        if fallback is None and deployment.champion is not None:
            fallback = self._try(packaged, "packaged model", problems)
        if fallback is champion:
            fallback = None
        self._loaded = {key: one for key, one in self._loaded.items() if one in (champion, challenger, fallback)}
        mode, percent = "shadow", 0.0
        if deployment.challenger is not None:
            mode, percent = deployment.challenger.mode, deployment.challenger.percent
        return Router(champion, challenger, mode, percent, fallback), problems

    def load(self, model_version: str, folder: Path) -> Candidate:
        """A model, verified and run once.

        Raises:
            ArtefactError: if it is damaged, or was trained on another catalog.
        """
        key = (model_version, folder.resolve())
        if key not in self._loaded:
            artefact = Artefact.load(folder)
            guard = Guard(self.settings.model_guard_ms / 1000, self.settings.model_rest_seconds, self.clock)
            reasons = Reasons(self.catalog, Explainer.load(folder))
            end = datetime.fromisoformat(artefact.card.periods["validation"]["end"]).replace(tzinfo=UTC)
            candidate = Candidate(model_version, artefact, reasons, guard, end.timestamp())
            check_catalog(candidate, self.catalog)
            artefact.predict(np.full((1, len(self.catalog.features)), np.nan, np.float32))
            self._loaded[key] = candidate
        return self._loaded[key]

    def _try(self, deployed: Deployed | Challenger, role: str, problems: list[str]) -> Candidate | None:
        try:
            return self.load(deployed.model_version, artefact_folder(self.settings.deployment, deployed))
        except FraudPlatformError as error:
            problems.append(f"{role}: {error}")
            return None
