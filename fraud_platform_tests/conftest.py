"""What every test shares."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fraud_platform_tests.components import pytest_collection_modifyitems, pytest_terminal_summary
from fraud_platform_tests.features.stores.redis_server import RedisServer
from fraud_platform_tests.installation import SMALL_SOURCE, Installation

__all__ = ["pytest_collection_modifyitems", "pytest_terminal_summary"]

# Compilation and a busy machine make single examples slow; the number of examples bounds the time.
settings.register_profile("platform", deadline=None)
settings.load_profile("platform")


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation on which the demo has run, for the tests that look at what it left or build on it.

    Tests may add runs and decisions to it; none may take anything away.
    """
    installation = Installation.create(tmp_path_factory.mktemp("installation"), SMALL_SOURCE)
    (installation.folder / "demo.json").write_text(json.dumps(installation.demo()))
    return installation


@pytest.fixture(scope="session")
def demo_result(installation: Installation) -> dict[str, Any]:
    """The JSON object that the demo of `installation` ended with."""
    return json.loads(Path(installation.folder / "demo.json").read_text())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """For all tests that leave it running; each takes a namespace of its own."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # a socket's path has to be short
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()
