"""The log: JSON, with nothing in it that is nobody's business."""

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bentoml._internal.log import configure_server_logging
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bentos.fraud_scoring.logs import (
    SLOW_MS,
    JsonFormatter,
    bound_request_id,
    configure_logs,
    log_request,
    note,
    request_id,
)
from fraud_platform.pseudonyms import PERSONAL, Pseudonyms
from fraud_platform_tests.bentos.requesting import request

PSEUDONYMS = Pseudonyms(SecretStr("0123456789abcdef0123456789abcdef"))
FORMATTER = JsonFormatter(PSEUDONYMS)
KEY = "fp_" + "aB3_-" * 8 + "xyz"
NAMES = ("", "bentoml", "uvicorn.error", "uvicorn.access", "circus", "circus.plugins")


def formatted(message: object, *arguments: object, exc_info: Any = None, **extra: Any) -> dict[str, Any]:
    logger = logging.getLogger("bentoml.fraud_scoring")
    record = logger.makeRecord(logger.name, logging.INFO, "f.py", 1, message, arguments, exc_info, extra=extra)
    line = FORMATTER.format(record)
    assert "\n" not in line
    return json.loads(line)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Puts the loggers back that a service sets up for its whole process."""
    loggers = [logging.getLogger(name) for name in NAMES]
    kept = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    logging.captureWarnings(False)


def set_up_as_in_a_worker() -> None:
    """Within the test itself: its standard output is not that of its fixtures."""
    configure_server_logging()
    configure_logs(PSEUDONYMS)


def test_a_line_says_when_where_and_what() -> None:
    line = formatted("Model %s", 7, store="lmdb")
    assert datetime.now(UTC) - datetime.fromisoformat(line.pop("time")) < timedelta(minutes=1)
    assert isinstance(line.pop("pid"), int)
    expected = {"level": "INFO", "logger": "bentoml.fraud_scoring", "message": "Model 7", "store": "lmdb"}
    assert line == expected


def test_lines_of_a_request_name_it() -> None:
    with bound_request_id("abc"):
        assert formatted("inside")["request_id"] == "abc"
        assert request_id() == "abc"
    assert "request_id" not in formatted("outside")


@pytest.mark.parametrize("column", sorted(PERSONAL))
def test_ids_are_pseudonyms(column: str) -> None:
    assert formatted("seen", **{column: "4929-1234"})[column] == PSEUDONYMS.of("4929-1234")


def test_keys_are_blanked_wherever_they_are() -> None:
    try:
        raise ValueError(f"no key {KEY}")
    except ValueError:
        line = formatted("given %s", KEY, exc_info=sys.exc_info(), header=f"Bearer {KEY}", deep=[{"key": KEY}])
    assert KEY not in str(line)
    assert "ValueError: no key fp_…" in line["traceback"]


@given(st.text(), st.text(alphabet=st.characters(categories=["Cs", "Cc", "L"])))
def test_any_text_is_one_line_of_json(message: str, value: str) -> None:
    line = formatted("%s", message, seen=value)
    assert (line["message"], line["seen"]) == (message, value)


@pytest.mark.usefixtures("logging_restored")
class TestUnderBentoml:
    def test_every_logger_writes_json_to_the_standard_output_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_as_in_a_worker()
        logging.getLogger("bentoml.serve").info("Service initialized")
        logging.getLogger("uvicorn.error").error("startup failed")
        logging.getLogger("circus").warning("respawn")
        logging.getLogger("another.library").warning("deprecated")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", UserWarning, stacklevel=1)
        out, err = capsys.readouterr()
        lines = [json.loads(line) for line in out.splitlines()]
        loggers = ["bentoml.serve", "uvicorn.error", "circus", "another.library", "py.warnings"]
        assert [line["logger"] for line in lines] == loggers
        assert err == ""

    def test_the_levels_are_those_that_bentoml_has_set(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_as_in_a_worker()
        logging.getLogger("another.library").info("chatter")
        logging.getLogger("bentoml.fraud_scoring").debug("detail")
        assert capsys.readouterr().out == ""
        logging.getLogger("bentoml").setLevel(logging.DEBUG)
        logging.getLogger("bentoml.fraud_scoring").debug("detail")
        assert json.loads(capsys.readouterr().out)["level"] == "DEBUG"

    def test_uvicorn_puts_no_access_lines_together(self) -> None:
        set_up_as_in_a_worker()
        assert not logging.getLogger("uvicorn.access").hasHandlers()


@pytest.mark.parametrize(
    ("facts", "status", "ms", "level"),
    [
        ({"action": "approve"}, 200, 2, None),
        ({}, 200, 2, None),
        ({"action": "approve", "degraded": True}, 200, 2, None),
        ({"action": "review"}, 200, 2, "INFO"),
        ({"action": "block"}, 200, 2, "INFO"),
        ({"action": "approve"}, 200, SLOW_MS, "WARNING"),
        ({"code": "invalid_transaction"}, 422, 2, "INFO"),
        ({"code": "unauthenticated"}, 401, 2, "WARNING"),
        ({"code": "too_many_requests", "quiet": False}, 429, 2, "WARNING"),
        ({"code": "too_many_requests", "quiet": True}, 429, 2, None),
        ({"code": "unavailable"}, 503, 2, "ERROR"),
        ({"quiet": True}, 500, 2, "ERROR"),
    ],
)
def test_what_was_refused_failed_slow_or_not_approved_has_a_line(
    caplog: pytest.LogCaptureFixture, facts: dict[str, object], status: int, ms: float, level: str | None
) -> None:
    with caplog.at_level(logging.INFO):
        log_request(dict(facts), status, ms / 1000)
    assert [record.levelname for record in caplog.records] == ([] if level is None else [level])


def test_the_others_have_one_at_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    made = request()
    note(made, route="/predict", action="approve")
    note(made, principal="shop", decision_id="0a", degraded=False)
    with caplog.at_level(logging.DEBUG):
        log_request(next(made.scope[name] for name in made.scope if "facts" in name), 200, 0.0021)
    (record,) = caplog.records
    said = {name: vars(record)[name] for name in ("route", "action", "principal", "decision_id", "status", "ms")}
    assert said == {
        "route": "/predict",
        "action": "approve",
        "principal": "shop",
        "decision_id": "0a",
        "status": 200,
        "ms": 2.1,
    }
