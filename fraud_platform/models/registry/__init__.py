"""MLflow: runs, candidates, versions of the registered model, and which of them serves.

The only package that imports mlflow, and only inside functions. A version holds an artefact directory
as it is, through MLflow's loader-module flavour, so that nothing is pickled.
"""

from fraud_platform.models.registry.candidates import Candidate, download, register_candidate
from fraud_platform.models.registry.history import HistoryEntry
from fraud_platform.models.registry.promotion import Promotion, history, promote, refuse, rollback, rollback_target
from fraud_platform.models.registry.runs import Run, experiment_of, open_run, start_run
from fraud_platform.models.registry.versions import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    RegisteredVersion,
    by_alias,
    champion,
    find,
    latest_version,
    nominate,
    require_champion,
    require_latest,
    run_metrics,
    versions,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "Candidate",
    "HistoryEntry",
    "Promotion",
    "RegisteredVersion",
    "Run",
    "by_alias",
    "champion",
    "download",
    "experiment_of",
    "find",
    "history",
    "latest_version",
    "nominate",
    "open_run",
    "promote",
    "refuse",
    "register_candidate",
    "require_champion",
    "require_latest",
    "rollback",
    "rollback_target",
    "run_metrics",
    "start_run",
    "versions",
]
