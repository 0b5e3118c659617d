"""The service's log: one JSON object a line on the standard output, under `bentoml serve` too.

A line has `time` (UTC), `level`, `logger`, `message`, the `request_id` of the request that it is about,
and what the caller adds with `extra`. Bodies, keys and full ids are not for the log: keys are blanked
and the values of personal columns replaced by pseudonyms should one get there nevertheless.

Requests that were refused, failed, slow or not approved have a line each. The others have one at level
DEBUG (BENTOML_DEBUG=True): at 1,000 requests a second they would be most of the work and all of the disk.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pythonjsonlogger.core import LogData
from pythonjsonlogger.msgspec import MsgspecFormatter
from starlette.requests import Request

from fraud_platform.audit import scrub
from fraud_platform.pseudonyms import Pseudonyms

log = logging.getLogger("bentoml.fraud_scoring")

SLOW_MS = 100.0
"""From here a request has a line of its own."""

FACTS = "fraud_scoring.facts"
"""Where a request's scope holds what its line is going to say."""

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure_logs(pseudonyms: Pseudonyms) -> None:
    """Put JSON in the place of what BentoML has set up, at the levels that it has set.

    To be called in the parent and in each worker, whose logging BentoML sets up before it loads the service.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(pseudonyms))
    logging.root.handlers = [handler]
    for name in ("bentoml", "uvicorn.error", "circus", "circus.plugins"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    # Without a handler uvicorn does not put together lines that nobody reads.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    logging.captureWarnings(True)


class JsonFormatter(MsgspecFormatter):
    """The line of a record."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
            static_fields={"pid": os.getpid()},
            timestamp="time",
        )
        self._pseudonyms = pseudonyms

    def process_log_record(self, log_data: LogData) -> LogData:
        """Name the request; hide keys and ids."""
        current = _request_id.get()
        if current is not None:
            log_data.setdefault("request_id", current)
        hidden = scrub(log_data, self._pseudonyms)
        assert isinstance(hidden, dict)
        return hidden

    def jsonify_log_record(self, log_data: LogData) -> str:
        """A line even of text that is no UTF-8, as a client can send it."""
        try:
            return super().jsonify_log_record(log_data)
        except UnicodeEncodeError:
            return json.dumps(log_data, default=str)


def request_id() -> str | None:
    """The id of the request that this task answers."""
    return _request_id.get()


@contextmanager
def bound_request_id(identifier: str) -> Iterator[None]:
    """Lines of this block, and of tasks that it starts, name the request."""
    token = _request_id.set(identifier)
    try:
        yield
    finally:
        _request_id.reset(token)


def note(request: Request, **facts: object) -> None:
    """Add to what the request's line says: `route`, `principal`, `action`, `degraded`, `code`, `decision_id` …

    `quiet=True` keeps a refusal out of the log.
    """
    request.scope.setdefault(FACTS, {}).update(facts)


def log_request(facts: dict[str, object], status: int, seconds: float) -> None:
    """The line of an answered request, if it is to have one."""
    ms = seconds * 1000
    level = _level(facts, status, ms)
    if not log.isEnabledFor(level):
        return
    said = {name: value for name, value in facts.items() if name != "quiet"}
    log.log(level, "request", extra={"route": "other", **said, "status": status, "ms": round(ms, 3)})


def _level(facts: dict[str, object], status: int, ms: float) -> int:
    if status >= 500:
        return logging.ERROR
    if facts.get("quiet"):
        return logging.DEBUG
    if status in (401, 403, 429) or ms >= SLOW_MS:
        return logging.WARNING
    if status >= 400 or facts.get("action", "approve") != "approve":
        return logging.INFO
    return logging.DEBUG
