"""A changed file is read anew once, and one that cannot be used changes nothing but what is said."""

import asyncio
import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from bentos.fraud_scoring.watch import Watched, watch


class Reader:
    """Reads a file, and refuses one that says so."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.read: list[str] = []

    async def __call__(self) -> str | None:
        content = self.file.read_text() if self.file.exists() else "nothing"
        if content == "bad":
            return "it is bad"
        self.read.append(content)
        return None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "rules").write_text("one")
    return tmp_path / "rules"


def look(watched: Watched) -> bool:
    return asyncio.run(watched.look())


def test_what_changed_while_the_worker_started_is_seen_at_the_first_look(file: Path) -> None:
    reader = Reader(file)
    watched = Watched("rules", [file], reader)
    file.write_text("written between the start's reading and the first look")
    look(watched)
    assert reader.read == ["written between the start's reading and the first look"]


def test_nothing_is_read_while_nothing_changes(file: Path) -> None:
    reader = Reader(file)
    watched = Watched("rules", [file], reader)
    assert [look(watched), look(watched), look(watched), reader.read] == [True, False, False, ["one"]]


def test_a_file_that_was_replaced_is_read_once(file: Path) -> None:
    reader = Reader(file)
    watched = Watched("rules", [file], reader)
    look(watched)
    (file.parent / "new").write_text("two")
    os.replace(file.parent / "new", file)
    assert [look(watched), look(watched), reader.read] == [True, False, ["one", "two"]]


def test_a_file_that_came_or_went_is_a_change(file: Path) -> None:
    reader = Reader(file)
    watched = Watched("rules", [file], reader)
    look(watched)
    file.unlink()
    assert look(watched)
    file.write_text("back")
    assert look(watched)
    assert reader.read == ["one", "nothing", "back"]


def test_any_of_several_files_counts(file: Path) -> None:
    reader = Reader(file)
    watched = Watched("rules", [file, file.parent / "lists"], reader)
    look(watched)
    (file.parent / "lists").write_text("x")
    assert look(watched)


def test_one_that_cannot_be_used_is_said_until_it_is_mended(file: Path) -> None:
    reader = Reader(file)
    watched = Watched("mended", [file], reader)
    file.write_text("bad")
    look(watched)
    assert (watched.problem, reader.read, broken("mended")) == ("it is bad", [], 1)
    file.write_text("good")
    look(watched)
    assert (watched.problem, reader.read, broken("mended")) == (None, ["good"], 0)


def test_a_defect_while_reading_does_not_end_the_watch(file: Path) -> None:
    failing = Watched("failing", [file], _fails)
    reader = Reader(file)
    other = Watched("other", [file], reader)
    file.write_text("three")

    async def run() -> None:
        task = asyncio.create_task(watch([failing, other], 0.001))
        async with asyncio.timeout(10):
            while not reader.read:
                await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(run())
    assert failing.problem == "ZeroDivisionError: division by zero"
    assert reader.read == ["three"]


async def _fails() -> str | None:
    return str(1 / 0)


def broken(what: str) -> float | None:
    return REGISTRY.get_sample_value("fraud_configuration_broken", {"what": what})
