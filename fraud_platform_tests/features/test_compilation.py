"""A change in any kernel's module is computed with, whatever was compiled before."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fraud_platform

PACKAGE = Path(fraud_platform.__file__).parent
DOUBLED = """
import numpy as np
from fraud_platform.features.derive import Derivation
from fraud_platform.features.expressions import Call, Column
out = np.empty((1, 1), np.float32)
derivation = Derivation([Call("add", (Column("a"), Column("a")))], ["a"], [])
derivation.to_floats(np.array([[21.0]]), np.empty((0, 1), np.int64), out)
print(out[0, 0])
"""


@pytest.mark.slow
def test_a_kernel_changed_in_another_file_is_compiled_again(tmp_path: Path) -> None:
    """`apply` of functions.py is compiled into a kernel of derive.py, whose own file stays as it is."""
    copy = tmp_path / "fraud_platform"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "defs"))
    functions = copy / "features" / "functions.py"

    def run() -> float:
        done = subprocess.run([sys.executable, "-c", DOUBLED], cwd=tmp_path, capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert run() == 42
    functions.write_text(functions.read_text().replace("return a + b", "return a + b + 1"))
    assert run() == 43
