"""Drains of a real store that are killed with SIGKILL, at the worst moment and at any other."""

import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from fraud_platform.decisions.drain import Drained, drain
from fraud_platform.features.stores import Change, NewEntry
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.warehouse import connect
from fraud_platform_tests.decisions.conftest import small_source
from fraud_platform_tests.decisions.outboxes import decided, labelled

pytestmark = pytest.mark.slow

DECISIONS, LABELS = 3000, 300
SPAWN = multiprocessing.get_context("spawn")


class DiesBeforeItAcknowledges(LmdbStore):
    def acknowledge(self, through: int, keep: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


def opened(folder: Path, kind: type[LmdbStore] = LmdbStore) -> LmdbStore:
    return kind(folder / "store", map_bytes=1 << 28)


def drain_once(folder: Path, kind: type[LmdbStore] = LmdbStore) -> Drained:
    with closing(opened(folder, kind)) as store, connect(folder / "fraud.duckdb") as connection:
        return drain(connection, store, small_source(folder), folder / "raw", folder / "labels", keep=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a store whose outbox has not been drained yet."""
    contents = [decided(number) for number in range(DECISIONS)] + [labelled(number) for number in range(LABELS)]
    with closing(opened(tmp_path)) as store:
        for start in range(0, len(contents), 500):
            entries = [NewEntry(content) for content in contents[start : start + 500]]
            store.commit(store.read([], []), Change({}, {}, 0, entries))
    return tmp_path


def counts(folder: Path) -> list[int]:
    """Rows, and different transactions or labels, of each table."""
    found: list[int] = []
    with connect(folder / "fraud.duckdb") as connection:
        for table in ("decision_log", "live_transactions", "feedback_labels"):
            found += connection.execute(f"SELECT count(*), count(DISTINCT transaction_id) FROM {table}").fetchall()[0]
    return found


ALL = [DECISIONS, DECISIONS, DECISIONS, DECISIONS, LABELS, LABELS]


def test_between_the_commit_and_the_acknowledgement(folder: Path) -> None:
    process = SPAWN.Process(target=drain_once, args=(folder, DiesBeforeItAcknowledges))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert counts(folder) == ALL
    done = drain_once(folder)
    assert (done.decisions, done.labels, done.repeated) == (0, 0, DECISIONS + LABELS)
    assert counts(folder) == ALL
    with closing(opened(folder)) as store:
        assert (store.acknowledged(), len(store.entries(0, 100))) == (DECISIONS + LABELS, 10)


def test_in_the_middle_again_and_again(folder: Path) -> None:
    """Each is killed some batches after the last one's, wherever it is then."""
    with closing(opened(folder)) as store:
        for _ in range(4):
            begun = store.acknowledged()
            process = SPAWN.Process(target=_in_small_batches, args=(folder,))
            process.start()
            while process.is_alive() and store.acknowledged() < begun + 300:
                process.join(0.001)
            process.kill()
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
            assert begun + 300 <= store.acknowledged() < DECISIONS + LABELS
        last = SPAWN.Process(target=_in_small_batches, args=(folder,))
        last.start()
        last.join(120)
        assert last.exitcode == 0
    assert counts(folder) == ALL


def _in_small_batches(folder: Path) -> None:
    from fraud_platform.decisions import drain as module

    module.BATCH = 100
    drain_once(folder)
