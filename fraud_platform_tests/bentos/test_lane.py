"""One lane to the scorer: what waits is decided on together, everybody gets their own answer."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from bentos.fraud_scoring.lane import TOGETHER, Lane
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.errors import InvalidTransaction, StoreError


class Counting:
    """Answers each event with itself, and notes what came together."""

    def __init__(self) -> None:
        self.groups: list[list[Any]] = []
        self.threads: set[int] = set()
        self.breaks: Exception | None = None
        self.waits: threading.Event | None = None

    def score_all(self, events: Sequence[Any]) -> list[Any]:
        self.groups.append(list(events))
        self.threads.add(threading.get_ident())
        if self.waits is not None:
            assert self.waits.wait(10)
        if self.breaks:
            raise self.breaks
        if "defect" in events:
            raise ZeroDivisionError
        return [InvalidTransaction("no") if event == "bad" else event for event in events]


@pytest.fixture(params=[False, True], ids=["inline", "threaded"])
def lane(request: pytest.FixtureRequest) -> Lane:
    return Lane(cast(Scorer, Counting()), request.param)


def scorer_of(lane: Lane) -> Counting:
    return cast(Counting, lane.scorer)


def test_what_comes_at_once_is_decided_on_together_and_answered_apart(lane: Lane) -> None:
    async def send() -> list[Any]:
        return await asyncio.gather(*(lane.decide([number]) for number in range(10)))

    assert asyncio.run(send()) == [[number] for number in range(10)]
    assert scorer_of(lane).groups == [list(range(10))]


def test_no_group_is_larger_than_agreed(lane: Lane) -> None:
    async def send() -> list[Any]:
        return await asyncio.gather(*(lane.decide(list(range(60))) for _ in range(10)))

    assert asyncio.run(send()) == [list(range(60))] * 10
    assert [len(group) for group in scorer_of(lane).groups] == [TOGETHER // 60 * 60] * 2 + [120]


def test_an_error_of_one_is_only_its_own(lane: Lane) -> None:
    async def send() -> list[Any]:
        return await asyncio.gather(lane.decide([1, "bad"]), lane.decide([2]))

    first, second = asyncio.run(send())
    assert first[0] == 1 and isinstance(first[1], InvalidTransaction)
    assert second == [2]


def test_an_error_of_all_reaches_every_caller_and_the_next_one_is_served(lane: Lane) -> None:
    error = scorer_of(lane).breaks = StoreError("the disk is full")

    async def send() -> list[Any]:
        failed = await asyncio.gather(lane.decide([1]), lane.decide([2]), return_exceptions=True)
        scorer_of(lane).breaks = None
        return [*failed, await lane.decide([3])]

    assert asyncio.run(send()) == [error, error, [3]]


def test_a_defect_that_one_meets_costs_the_others_nothing(lane: Lane) -> None:
    async def send() -> list[Any]:
        return await asyncio.gather(lane.decide([1, "defect"]), lane.decide([2]))

    first, second = asyncio.run(send())
    assert first[0] == 1 and isinstance(first[1], ZeroDivisionError)
    assert second == [2]


def test_what_a_client_gave_up_on_is_decided_on_all_the_same(lane: Lane) -> None:
    async def send() -> list[Any]:
        gone = asyncio.ensure_future(lane.decide([1]))
        other = asyncio.ensure_future(lane.decide([2]))
        await asyncio.sleep(0)
        gone.cancel()
        return await other

    assert asyncio.run(send()) == [2]
    assert scorer_of(lane).groups == [[1, 2]]


def test_everything_runs_in_one_thread(lane: Lane) -> None:
    async def send() -> None:
        await lane.decide([1])
        await lane.run(lambda: scorer_of(lane).threads.add(threading.get_ident()))
        await lane.decide([2])

    asyncio.run(send())
    assert len(scorer_of(lane).threads) == 1


def test_a_thread_of_its_own_leaves_the_loop_free() -> None:
    """The loop itself lets the scorer go on: were it blocked, nobody would."""
    scorer = Counting()
    scorer.waits = threading.Event()
    lane = Lane(cast(Scorer, scorer), threaded=True)

    async def send() -> tuple[Any, Any]:
        first = asyncio.ensure_future(lane.decide([1]))
        while not scorer.groups:
            await asyncio.sleep(0)
        second = asyncio.ensure_future(lane.decide([2]))
        await asyncio.sleep(0)
        assert scorer.waits is not None
        scorer.waits.set()
        return await first, await second

    assert asyncio.run(send()) == ([1], [2])
    assert scorer.groups == [[1], [2]]
