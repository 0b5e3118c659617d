"""Every store, each test in a place of its own."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from fraud_platform.features.stores import Store
from fraud_platform_tests.features.stores.places import NAMESPACE, Place
from fraud_platform_tests.features.stores.redis_server import RedisServer


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """For one test, which may do anything to it. What it has answered is on its disk."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), "--appendonly", "yes", "--appendfsync", "always")
        server.start()
        yield server
        server.kill()


@pytest.fixture(params=["lmdb", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "lmdb":
        return Place(tmp_path / "store")
    return Place(request.getfixturevalue("redis_server").url, f"{NAMESPACE} {uuid4()}")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with closing(place.open()) as opened:
        yield opened


@pytest.fixture
def other(place: Place, store: Store) -> Iterator[Store]:
    """Another client of the same store; in one process LMDB has but one."""
    if isinstance(place.address, Path):
        yield store
        return
    with closing(place.open()) as opened:
        yield opened
