"""How the kernels of this package are compiled: once a machine, and again whenever any of them changes.

Numba's own cache looks only at the file that a function stands in. A kernel has others compiled into it,
so after a change in another file it would go on computing the old features: here the cache's folder is
named by the content of all of them.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import config, njit

_CONSTANTS = ("expressions.py",)
"""Modules without kernels whose constants are compiled in."""

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile on first use; runs without the interpreter's lock."""
    return _compile(function)


def compiled_in_place(function: Kernel) -> Kernel:
    """The same for a kernel that asks for no memory: it works in the arrays that it is given, and views of them.

    Its caller holds those arrays, so the references to them need not be counted; and where another kernel
    calls it, it is compiled into that one, so that a state's arrays need not be handed over. Counting and
    handing over took three quarters of the time of one event's folds. A kernel that does ask for memory
    fails to compile here.
    """
    return _compile(function, _nrt=False, forceinline=True)


def _compile(function: Kernel, **options: bool) -> Kernel:
    settings = cast(Any, config)
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(_cache_folder())
    try:
        return cast(Any, njit)(cache=True, nogil=True, **options)(function)
    finally:
        settings.CACHE_DIR = before


@cache
def _cache_folder() -> Path:
    """Beside the code where it may be written, else among the temporary files."""
    package = Path(__file__).parent
    content = hashlib.sha256()
    for module in sorted(package.glob("*.py")):
        source = module.read_bytes()
        if b"@compiled" in source or module.name in _CONSTANTS:
            content.update(source)
    beside = package / "__pycache__"
    base = beside if os.access(beside if beside.exists() else package, os.W_OK) else Path(tempfile.gettempdir())
    return base / f"kernels-{content.hexdigest()[:16]}"
