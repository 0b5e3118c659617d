"""What only LMDB does: refuse files that it cannot trust, and say so where there is no room."""

import itertools
import multiprocessing
import resource
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import lmdb as liblmdb
import pytest
from lmdb.verify import verify

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform_tests.features.building import build
from fraud_platform_tests.features.stores.places import change, commit, committed, held_states, key, values

PAGE = 4096
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[LmdbStore]:
    with closing(LmdbStore(folder, map_bytes=1 << 30)) as opened:
        yield opened


def fill(store: LmdbStore, done: list[int]) -> None:
    """Commit for ever, each commit a record and a state of the next number."""
    for number in itertools.count():
        commit(store, {key(number): b"r"}, {key(number): b"s" * 3000}, b"e")
        done.append(number)


def filled(folder: Path) -> Path:
    """The file of a store that was closed."""
    with closing(LmdbStore(folder, map_bytes=1 << 30)) as store:
        build(store, "fingerprint", ((key(n), 0, b"x" * (n % 5000)) for n in range(500)))
        for number in range(20):
            commit(store, {key(number): b"r" * 100}, {key(number): b"s" * 3000}, b"e" * 500)
    return folder / "data.mdb"


def opened(folder: Path) -> None:
    """In a process of its own, for what might kill it."""
    with pytest.raises(StoreError, match=r"Move the folder away .* and materialize `online_state`"):
        LmdbStore(folder, map_bytes=1 << 30)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_file_that_was_cut_is_refused(folder: Path, share: float) -> None:
    file = filled(folder)
    with file.open("r+b") as handle:
        handle.truncate(int(file.stat().st_size * share) // PAGE * PAGE)
    process = SPAWN.Process(target=opened, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("size", [0, 1, PAGE, PAGE + 1000, 2 * PAGE, 3 * PAGE + 1])
def test_a_file_of_which_little_is_left_is_refused(folder: Path, size: int) -> None:
    file = filled(folder)
    with file.open("r+b") as handle:
        handle.truncate(size)
    opened(folder)
    assert file.stat().st_size == size


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"?"])
def test_a_file_full_of_nonsense_is_refused(folder: Path, byte: bytes) -> None:
    file = filled(folder)
    content = file.read_bytes()
    file.write_bytes(content[: 2 * PAGE] + byte * (len(content) - 2 * PAGE))
    opened(folder)
    file.write_bytes(byte * len(content))
    opened(folder)


def test_a_file_that_is_short_by_what_is_free_is_not_refused(folder: Path) -> None:
    """LMDB does not write pages that a transaction took at the end of the file and gave back."""
    with closing(LmdbStore(folder, map_bytes=1 << 30)) as store:
        commit(store, {key(1): b"r"}, {key(1): b"s"}, b"e")
    file = folder / "data.mdb"
    with liblmdb.open(str(folder), map_size=1 << 30, max_dbs=7) as env:
        records = env.open_db(b"records")
        for _ in range(10):  # what one transaction frees another must have before
            with env.begin(write=True) as write:
                for number in range(200):
                    write.put(key(number + 10), bytes(9000), db=records)
                for number in range(200):
                    write.delete(key(number + 10), db=records)
        length = (env.info()["last_pgno"] + 1) * PAGE
    assert file.stat().st_size < length
    with closing(LmdbStore(folder, map_bytes=1 << 30)) as store:
        assert file.stat().st_size == length
        assert values(store, [key(1)], [key(1)]) == ([b"r"], [b"s"])
        commit(store, {}, {key(1): b"t"})


def test_what_a_store_does_leaves_a_sound_file(folder: Path) -> None:
    with closing(LmdbStore(folder, map_bytes=1 << 30)) as store:
        for size in (0, 100, 2_500, 9_000, 40_000):
            build(store, "fingerprint", ((key(n), n, bytes(size)) for n in range(300)))
            for number in range(100):
                records, states = {key(number): bytes(size)}, {key(number + 250): bytes(size // 2)}
                queue = {key(number): size, key(number // 2): None}
                committed(store, change(records, states, 0, bytes(size), (key(number), key(number % 7)), queue))
            with store.rebuild() as rebuild:
                rebuild.put((key(n % 100), 0, bytes(size)) for n in range(150))
            store.expire(before_us=150)
            assert store.acknowledge(store.last_sequence(), keep=20) > 0
        length = (store._lmdb.info()["last_pgno"] + 1) * PAGE
    assert verify(folder) == []
    assert (folder / "data.mdb").stat().st_size == length


def test_a_store_that_is_full_says_so_and_keeps_what_it_has(folder: Path) -> None:
    done: list[int] = []
    with closing(LmdbStore(folder, map_bytes=1 << 20)) as store:
        with pytest.raises(StoreError, match="larger map_bytes"):
            fill(store, done)
        assert 100 < len(done) < 1000
        latest, lost = key(done[-1]), key(done[-1] + 1)
        assert values(store, [latest, lost], [latest, lost]) == ([b"r", None], [b"s" * 3000, None])
        assert len(store.entries(0, 1000)) == len(done)
    with closing(LmdbStore(folder, map_bytes=1 << 24)) as store:
        assert commit(store, {}, {lost: b"s" * 3000}) == len(done) + 1


def test_a_store_that_is_almost_full_makes_room_when_the_warehouse_has_its_entries(folder: Path) -> None:
    with closing(LmdbStore(folder, map_bytes=1 << 22)) as store:
        for number in range(5_000):
            committed(store, change({}, {}, entry=b"e" * 3_000, under=(key(number),)))
            if number % 500 == 499:
                assert store.acknowledge(number + 1, keep=100) == 500 - 100 * (number == 499)
        assert store.last_sequence() == 5_000


def test_nothing_is_left_of_what_was_drained_and_decided(store: LmdbStore) -> None:
    """What bounds the file, but for records: no filing without its entry, and no queue where nothing waits."""
    for number in range(30):
        committed(store, change({}, {}, under=(key(number), key(1)), queue={key(number): number}))
    committed(store, change({}, {}, queue={key(number): None for number in range(30)}))
    store.acknowledge(31, keep=0)
    tables = store._environment
    with store._lmdb.begin() as view:
        for table in (tables.records, tables.states, tables.outbox, tables.filed, tables.queue, tables.priorities):
            assert view.stat(table)["entries"] == 0


def test_a_store_of_an_earlier_layout_is_refused(folder: Path) -> None:
    folder.mkdir()
    with liblmdb.open(str(folder), max_dbs=4) as env, env.begin(write=True) as write:
        write.put(b"sequence", bytes(8), db=env.open_db(b"meta", txn=write))
    with pytest.raises(StoreError, match=r"written by an earlier version .*Move the folder away .* and materialize"):
        LmdbStore(folder)


def test_a_store_that_is_made_anew_has_another_identity(folder: Path, tmp_path: Path) -> None:
    with closing(LmdbStore(folder)) as store, closing(LmdbStore(tmp_path / "other")) as other:
        before = store.identity()
        assert other.identity() != before
    shutil.rmtree(folder)
    with closing(LmdbStore(folder)) as store:
        assert store.identity() != before


def test_a_store_that_was_killed_while_it_was_made_is_made(folder: Path) -> None:
    """Its tables were there, but not yet its identity."""
    folder.mkdir()
    with liblmdb.open(str(folder), max_dbs=7) as env:
        env.open_db(b"records")
        env.open_db(b"meta")
    with closing(LmdbStore(folder)) as store:
        assert len(store.identity()) == 32


def test_a_rebuild_without_room_leaves_the_old_states(folder: Path) -> None:
    with closing(LmdbStore(folder, map_bytes=1 << 23)) as store:
        build(store, "fingerprint", ((key(n), 0, b"old" * 700) for n in range(500)))
        with pytest.raises(StoreError, match="larger map_bytes"), store.rebuild() as rebuild:
            rebuild.put((key(n), 0, b"new" * 700) for n in range(10_000))
        assert values(store, [], [key(1)])[1] == [b"old" * 700]
    with closing(LmdbStore(folder, map_bytes=1 << 30)) as store:
        build(store, "fingerprint", ((key(n), 0, b"new" * 700) for n in range(2_000)))
        assert held_states(store) == 2_000


def fills_the_disk(folder: Path) -> None:
    """The system lets no file of this process grow beyond a megabyte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    store, done = LmdbStore(folder, map_bytes=1 << 30), []
    with pytest.raises(StoreError, match=r"cannot be written: .*disk with room"):
        fill(store, done)
    assert values(store, [], [key(done[-1]), key(done[-1] + 1)])[1] == [b"s" * 3000, None]


@pytest.mark.slow
def test_a_disk_that_is_full_takes_nothing_away(folder: Path) -> None:
    process = SPAWN.Process(target=fills_the_disk, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0
    with closing(LmdbStore(folder, map_bytes=1 << 30)) as store:
        done = len(store.entries(0, 1000))
        assert held_states(store) == done > 100
        assert commit(store, {}, {key(done): b"s"}) == done + 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError, match=rf"The online store in {folder} cannot be opened: .*folder on a local"):
            LmdbStore(folder)


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), liblmdb.ReadonlyError("Permission denied")]
)
def test_a_folder_of_somebody_else_is_explained(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(liblmdb, "open", refuse)
    with pytest.raises(StoreError, match="Give this user the right to write"):
        LmdbStore(folder)


def test_it_is_opened_once_in_a_process(store: LmdbStore, folder: Path) -> None:
    with pytest.raises(StoreError, match="open it once in each process"):
        LmdbStore(folder)
    assert commit(store, {}, {key(1): b"s"}) == 1


def test_after_it_was_closed_it_says_so(folder: Path) -> None:
    store = LmdbStore(folder)
    snapshot = store.read([], [])
    store.close()
    for attempt in (
        lambda: store.read([], []),
        lambda: store.commit(snapshot, change({}, {}, 0, b"")),
        lambda: store.entries(0, 1),
        lambda: store.last_sequence(),
        lambda: store.filed(key(1), 1),
        lambda: store.queue(1),
        lambda: store.waiting(),
        lambda: store.acknowledge(0, 0),
        lambda: store.acknowledged(),
        lambda: store.identity(),
        lambda: store.rebuild(),
        lambda: store.expire(0),
        lambda: store.fingerprint(),
    ):
        with pytest.raises(StoreError, match="closed"):
            attempt()


def test_a_durable_store_does_the_same(folder: Path) -> None:
    with closing(LmdbStore(folder, map_bytes=1 << 30, durable=True)) as store:
        commit(store, {key(1): b"r"}, {key(1): b"s"})
        build(store, "fingerprint", [(key(1), 0, b"t")])
        assert values(store, [key(1)], [key(1)]) == ([b"r"], [b"t"])
