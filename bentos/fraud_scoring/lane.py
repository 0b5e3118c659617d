"""One lane for everything that touches a worker's scorer.

What comes while the lane is busy is decided on together, in one read and one commit: at a low rate a
transaction goes through alone, and at a high rate one wait for the disk serves many.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fraud_platform.decisions.deciding import Event
from fraud_platform.decisions.scorer import Outcome, Scorer
from fraud_platform.errors import FraudPlatformError

TOGETHER = 256
"""Transactions decided on at once. A batch goes through in such groups, and a single transaction waits for one of
them at most, some 50 ms. With 64 a batch loses a third of its speed, since each commit writes its pages anew."""

Answers = list[Outcome | Exception]
T = TypeVar("T")


class Lane:
    """Gives a scorer to one caller at a time.

    Args:
        threaded: run in a thread of its own, so that a worker that waits for a disk or a network goes on
            reading requests. Without waiting, handing over costs more than it gives.
    """

    def __init__(self, scorer: Scorer, threaded: bool) -> None:
        self.scorer = scorer
        self._thread = ThreadPoolExecutor(1, "decisions") if threaded else None
        self._waiting: deque[tuple[Sequence[Event], asyncio.Future[Answers]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def decide(self, events: Sequence[Event]) -> Answers:
        """An outcome or an error for each of at most TOGETHER events. They are decided on even if the caller goes away.

        Raises:
            StoreError: as `Scorer.score_all`.
        """
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[Answers] = loop.create_future()
        self._waiting.append((events, answers))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        return await answers

    async def run(self, work: Callable[[], T]) -> T:
        """Anything else that uses the scorer."""
        if self._thread is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _work(self) -> None:
        while self._waiting:
            group = [self._waiting.popleft()]
            room = TOGETHER - len(group[0][0])
            while self._waiting and (room := room - len(self._waiting[0][0])) >= 0:
                group.append(self._waiting.popleft())
            events = [event for some, _ in group for event in some]
            try:
                answers = await self.run(lambda events=events: self._score(events))
            except FraudPlatformError as error:
                _settle(group, lambda future, _, error=error: future.set_exception(error))
            else:
                _settle(group, lambda future, place, answers=answers: future.set_result(answers[place]))
            if self._thread is None:
                await asyncio.sleep(0)  # let the loop read what has come meanwhile

    def _score(self, events: Sequence[Event]) -> Answers:
        """As `Scorer.score_all`; a defect that one of them meets costs the others nothing either."""
        try:
            return [*self.scorer.score_all(events)]
        except FraudPlatformError:
            raise
        except Exception as error:  # noqa: BLE001 - the caller whose transaction it is raises it at its own boundary
            if len(events) == 1:
                return [error]
            return [answer for event in events for answer in self._score([event])]


def _settle(
    group: list[tuple[Sequence[Event], asyncio.Future[Answers]]], settle: Callable[[asyncio.Future[Any], slice], None]
) -> None:
    """Tell each caller that still waits."""
    start = 0
    for events, future in group:
        if not future.done():
            settle(future, slice(start, start + len(events)))
        start += len(events)
