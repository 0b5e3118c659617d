"""The drift report in a small JSON file, for those who read neither Dagster nor DuckDB: the service's console."""

from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from fraud_platform.monitoring.drift import DriftSummary
from fraud_platform.warehouse import write_files

FILE_NAME = "drift.json"


class DriftFile(msgspec.Struct, frozen=True):
    """What the file says; the console reads the same keys.

    Attributes:
        drifted: PSI of each drifted input, the heaviest first.
        inputs: how many were compared.
        psi_limit: PSI above which an input has drifted.
        warning, critical: limits of `share_drifted`.
        first_day, last_day: of the rows that were compared with the training period, both inclusive.
    """

    share_drifted: float
    drifted: tuple[tuple[str, float], ...]
    inputs: int
    score_psi: float | None
    score_drifted: bool
    decided: bool
    psi_limit: float
    warning: float
    critical: float
    first_day: date
    last_day: date
    model_version: str
    written_at: datetime


def write_summary(
    folder: Path, summary: DriftSummary, days: tuple[date, date], model_version: str, limits: tuple[float, float]
) -> Path:
    """Write `drift.json` into the folder, all of it or nothing.

    Args:
        days: the first and the last day compared.
        limits: the shares of drifted inputs that warn, and that ask for retraining.

    Raises:
        WarehouseError: if it cannot be written.
    """
    content = DriftFile(
        share_drifted=summary.share_drifted,
        drifted=tuple((name, summary.drifted[name]) for name in summary.drifted_sorted),
        inputs=len(summary.columns),
        score_psi=summary.score_psi,
        score_drifted=summary.score_drifted,
        decided=summary.decided,
        psi_limit=summary.threshold,
        warning=limits[0],
        critical=limits[1],
        first_day=days[0],
        last_day=days[1],
        model_version=model_version,
        written_at=datetime.now(UTC),
    )
    file = folder / FILE_NAME
    encoded = msgspec.json.encode(content)
    write_files([(file, lambda path: _write(path, encoded))])
    return file


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
