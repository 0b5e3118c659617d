"""Tests that lack a component are left out in the open, and are an error in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fraud_platform_tests.components import ROOT

# Each test runs pytest in a process of its own.
pytestmark = pytest.mark.slow

CONFTEST = """
from pathlib import Path
from fraud_platform_tests import components
from fraud_platform_tests.components import pytest_collection_modifyitems, pytest_terminal_summary

components.COMPONENTS["handbook"] = (Path("{handbook}"), "put it there")
components.COMPONENTS["browser"] = (Path("{browser}"), "install it")
"""

TESTS = """
import pytest

@pytest.mark.handbook
def test_with_data(): ...

@pytest.mark.browser
def test_page(): ...

@pytest.mark.browser
def test_other_page(): ...

def test_alone(): ...
"""


def run(
    folder: Path, handbook: str = "absent", browser: str = "absent", ci: str = "", select: str = "test_tiny.py"
) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.format(handbook=folder / handbook, browser=folder / browser))
    (folder / "test_tiny.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  handbook: data\n  browser: pages\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", select],
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_left_out_is_said_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Left out")]
    assert line == (
        f"Left out: 2 marked browser (no {tmp_path}/absent: install it); "
        f"1 marked handbook (no {tmp_path}/absent: put it there)."
    )
    assert "1 passed, 3 deselected" in done.stdout
    assert done.returncode == 0


def test_what_is_there_runs(tmp_path: Path) -> None:
    done = run(tmp_path, handbook="conftest.py", browser="conftest.py", ci="true")
    assert "4 passed" in done.stdout
    assert "Left out" not in done.stdout


def test_in_ci_an_absent_component_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, handbook="conftest.py", ci="true")
    assert done.returncode == 4
    assert "2 marked browser" in done.stderr and "With CI set, nothing may be left out" in done.stderr


def test_in_ci_tests_that_need_nothing_run_without_it(tmp_path: Path) -> None:
    done = run(tmp_path, ci="true", select="test_tiny.py::test_alone")
    assert "1 passed" in done.stdout
