"""What some tests need and a machine may lack: such tests are left out, and the summary says so in one line.

With CI in the environment their absence is an error instead, so that nothing goes untested unseen.
"""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HANDBOOK = ROOT.parent / "shared" / "data" / "handbook" / "transactions.parquet"
CHROMIUM = Path("/usr/bin/chromium")
JAVA = Path(shutil.which("java") or "/usr/bin/java")
REDIS = Path(shutil.which("redis-server") or shutil.which("valkey-server") or "/usr/bin/redis-server")

COMPONENTS = {
    "handbook": (HANDBOOK, "put the handbook's transactions (simulated-data-raw) there as one Parquet file"),
    "browser": (CHROMIUM, "install Chromium (Debian: apt-get install chromium)"),
    "spark": (JAVA, "install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)"),
    "redis": (REDIS, "install Redis or Valkey (Debian: apt-get install redis-server)"),
}
"""By marker: the file that its tests need, and how to get it."""

LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests whose component is absent.

    Raises:
        pytest.UsageError: if CI is set, and a component of a collected test is absent.
    """
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
    absent = {marker for marker, (path, _) in COMPONENTS.items() if not path.exists()}
    lacking = {item: marker for item in items for marker in absent if item.get_closest_marker(marker)}
    counts = {marker: list(lacking.values()).count(marker) for marker in sorted(set(lacking.values()))}
    if counts and os.environ.get("CI", "").lower() in ("true", "1"):
        raise pytest.UsageError(f"{_sentence(counts)} With CI set, nothing may be left out.")
    config.stash[LEFT_OUT] = counts
    if lacking:
        config.hook.pytest_deselected(items=list(lacking))
        items[:] = [item for item in items if item not in lacking]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for all that was left out."""
    if counts := config.stash.get(LEFT_OUT, {}):
        terminalreporter.write_line(_sentence(counts), yellow=True)


def _sentence(counts: dict[str, int]) -> str:
    parts = [
        f"{count} marked {marker} (no {COMPONENTS[marker][0]}: {COMPONENTS[marker][1]})"
        for marker, count in counts.items()
    ]
    return f"Left out: {'; '.join(parts)}."
