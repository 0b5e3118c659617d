"""A whole installation of the platform in a folder of its own, driven as a user drives it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fraud_platform.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DEMO_SECONDS = 600

SMALL_SOURCE = (
    (ROOT / "sources" / "simulator.yaml")
    .read_text()
    .replace("last_day: 2026-03-01", "last_day: 2026-02-09")
    .replace("customers: 2000", "customers: 500")
    .replace("merchants: 1000", "merchants: 300")
    .replace("transactions_per_day: 2500", "transactions_per_day: 800")
    .replace("fraud_rate: 0.01", "fraud_rate: 0.02")
)
"""40 days of 800 payments: enough to train on, little enough for a test."""


@dataclass(frozen=True)
class Installation:
    """A folder with a source, a warehouse and a Dagster home."""

    folder: Path
    source: Path

    @classmethod
    def create(cls, folder: Path, source: str, name: str = "small") -> "Installation":
        """Lay the source's YAML text and the project's own dagster.yaml into an empty folder."""
        path = folder / "sources" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(source)
        (folder / "dagster_home").mkdir()
        (folder / "dagster_home" / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
        installation = cls(folder, path)
        Path(installation.environment["DAGSTER_STORAGE"]).mkdir(parents=True)
        return installation

    @property
    def settings(self) -> Settings:
        """The settings that every command of this installation runs with."""
        return Settings(_env_file=None, source=self.source, warehouse=self.folder / "warehouse")  # type: ignore[call-arg]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command of this installation."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "DAGSTER_"))}
        return clean | {
            "FRAUD_SOURCE": str(self.source),
            "FRAUD_WAREHOUSE": str(self.folder / "warehouse"),
            "DAGSTER_HOME": str(self.folder / "dagster_home"),
            "DAGSTER_STORAGE": str(self.folder / "warehouse" / self.source.stem / "dagster"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "BENTOML_DO_NOT_TRACK": "True",
        }

    def run(self, *arguments: str, seconds: float = DEMO_SECONDS) -> subprocess.CompletedProcess[str]:
        """`fraud-platform <arguments>` to its end, whatever its exit code."""
        return subprocess.run(
            [sys.executable, "-m", "fraud_platform.cli", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def demo(self) -> dict[str, Any]:
        """Run the demo and give the JSON object of its last line."""
        done = self.run("demo")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        return json.loads(done.stdout.splitlines()[-1])
