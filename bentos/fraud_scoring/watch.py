"""Notices that a file of the configuration was replaced, in every worker for itself."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from bentos.fraud_scoring import metrics
from fraud_platform.decisions.rule_files import Signature, signature_of

log = logging.getLogger("bentoml.fraud_scoring")


class Watched:
    """Some files, and what to do when one of them changed.

    The first look always reads them: they may have changed after the worker, which takes seconds to start, read them.

    Attributes:
        problem: why what the files say now cannot be used; what was in force before goes on then.
    """

    def __init__(self, what: str, files: list[Path], reload: Callable[[], Awaitable[str | None]]) -> None:
        self.what = what
        self.problem: str | None = None
        self._files, self._reload = files, reload
        self._seen: list[Signature] | None = None

    async def look(self) -> bool:
        """Reload where a file changed; whether one did."""
        now = [signature_of(file) for file in self._files]
        if now == self._seen:
            return False
        self._seen = now  # before it is read: what changes meanwhile is seen at the next look
        self.note(await self._reload())
        return True

    def note(self, problem: str | None) -> None:
        """Say that it can, or cannot, be used."""
        if problem:
            log.error("The %s go on as they were: %s", self.what, problem)
        else:
            log.info("The %s were read anew", self.what)
        self.problem = problem
        metrics.BROKEN.labels(self.what).set(0 if problem is None else 1)


async def watch(watched: list[Watched], seconds: float) -> None:
    """Look for ever."""
    while True:
        await asyncio.sleep(seconds)
        for one in watched:
            try:
                await one.look()
            except Exception as error:
                log.error("A defect in reading the %s", one.what, exc_info=error)
                one.note(f"{type(error).__name__}: {error}")
