"""The drift report's small file, as the console reads it."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bentos.fraud_scoring.health_view import DRIFT_FILE, read_drift
from fraud_platform.monitoring import drift
from fraud_platform.monitoring.summary_file import FILE_NAME, write_summary

DAYS = (date(2026, 1, 1), date(2026, 1, 7))


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> drift.DriftSummary:
    """Of two inputs one has drifted; the page is not drawn."""
    monkeypatch.setattr(drift, "_render", lambda *_: "<html><body></body></html>")
    random = np.random.default_rng(1)
    old = pl.DataFrame({"amount": random.normal(size=2000), "is_night": random.integers(0, 2, 2000), "score": 0.1})
    new = old.with_columns(pl.col("amount") + 3)
    return drift.drift_report(old, new, ["amount", "is_night"], "score", tmp_path / "page.html", 100, 1)


def test_the_console_reads_what_the_report_found(tmp_path: Path, summary: drift.DriftSummary) -> None:
    before = datetime.now(UTC)
    assert write_summary(tmp_path, summary, DAYS, "7", (0.15, 0.2)) == tmp_path / FILE_NAME
    assert FILE_NAME == DRIFT_FILE
    found, problem = read_drift(tmp_path / FILE_NAME)
    assert problem is None and found is not None
    assert found.drifted == (("amount", summary.psi["amount"]),)
    assert (found.share_drifted, found.inputs, found.level, found.decided) == (0.5, 2, "critical", True)
    assert (found.score_psi, found.score_drifted, found.psi_limit) == (0.0, False, summary.threshold)
    assert (found.first_day, found.last_day, found.model_version) == ("2026-01-01", "2026-01-07", "7")
    assert before <= found.written_at <= datetime.now(UTC)


def test_a_report_replaces_the_last_one_whole(tmp_path: Path, summary: drift.DriftSummary) -> None:
    for version in ("7", "8"):
        write_summary(tmp_path, summary, DAYS, version, (0.15, 0.2))
    found, _ = read_drift(tmp_path / FILE_NAME)
    assert found is not None and found.model_version == "8"
    assert [path.name for path in tmp_path.iterdir() if "drift.json" in path.name] == ["drift.json"]
