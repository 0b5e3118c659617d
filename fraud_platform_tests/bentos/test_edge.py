"""What every answer carries, and what becomes of an error that nobody caught."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.fraud_scoring.edge import SECURITY_HEADERS, Edge
from bentos.fraud_scoring.logs import note, request_id


async def answer(_: Request) -> Response:
    return JSONResponse({"request_id": request_id()})


async def own_headers(_: Request) -> Response:
    return Response(headers={"Cache-Control": "max-age=60", "Content-Security-Policy": "default-src *"})


async def refuse(request: Request) -> Response:
    note(request, route="/refuse", code="forbidden", principal="shop")
    return Response(status_code=403)


async def fail(_: Request) -> Response:
    raise ValueError("a defect")


async def break_off(_: Request) -> Response:
    async def halves() -> Any:
        yield b"half"
        raise ValueError("a defect")

    return StreamingResponse(halves())


ROUTES: dict[str, Callable[[Request], Awaitable[Response]]] = {
    "/answer": answer,
    "/own": own_headers,
    "/refuse": refuse,
    "/fail": fail,
    "/break": break_off,
}
APP = Edge(Starlette(routes=[Route(path, handler, methods=["GET"]) for path, handler in ROUTES.items()]))


def get(path: str, app: ASGIApp = APP, headers: Any = None) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return await client.get(f"http://127.0.0.1{path}", headers=headers)

    return asyncio.run(send())


@pytest.mark.parametrize("path", ["/answer", "/refuse", "/nowhere"])
def test_every_answer_carries_the_security_headers_once(path: str) -> None:
    headers = get(path).headers
    for name, value in SECURITY_HEADERS:
        assert headers.get_list(name.decode()) == [value.decode()]


def test_the_policy_lets_no_other_site_in() -> None:
    policy = get("/answer").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy


def test_what_an_answer_says_itself_stays() -> None:
    headers = get("/own").headers
    assert headers.get_list("cache-control") == ["max-age=60"]
    assert headers.get_list("content-security-policy") == ["default-src *"]
    assert headers["x-content-type-options"] == "nosniff"


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True))
def test_a_clients_request_id_is_taken(identifier: str) -> None:
    response = get("/answer", headers={"X-Request-Id": identifier})
    assert response.headers.get_list("x-request-id") == [identifier]
    assert response.json() == {"request_id": identifier}


@pytest.mark.parametrize("given_id", [b"", b"a" * 65, b"a b", b"a\xff", b"a;b", b"<script>", b"a\n"])
def test_an_id_that_could_do_harm_is_replaced(given_id: bytes) -> None:
    scope = {"type": "http", "method": "GET", "path": "/answer", "query_string": b"", "root_path": ""}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(APP(scope | {"headers": [(b"x-request-id", given_id)]}, _nothing, send))
    (identifier,) = [value for name, value in sent[0]["headers"] if name == b"x-request-id"]
    assert identifier != given_id and len(identifier) == 16


def test_requests_without_an_id_get_one_each() -> None:
    assert len({get("/answer").headers["x-request-id"] for _ in range(20)}) == 20


def test_outside_of_a_request_there_is_no_id() -> None:
    get("/answer")
    assert request_id() is None


def test_an_error_that_nobody_caught_is_answered_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        response = get("/fail")
    assert response.status_code == 500
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]
    assert "a defect" not in response.text


def test_an_error_before_any_answer_gets_one_in_the_shape_of_all_errors() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a defect")

    response = get("/", Edge(app))
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert set(response.json()) == {"code", "message", "field", "fix"}
    assert response.headers["x-content-type-options"] == "nosniff"


def test_an_answer_that_broke_off_is_not_ended_as_if_it_were_whole(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="a defect"):
        get("/break")
    assert any(record.exc_info for record in caplog.records)


def test_a_request_has_a_line_with_what_was_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        get("/refuse?customer_id=ann")
    (line,) = [vars(record) for record in caplog.records if record.name == "bentoml.fraud_scoring"]
    assert (line["route"], line["status"], line["code"], line["principal"]) == ("/refuse", 403, "forbidden", "shop")
    assert line["ms"] >= 0
    assert "ann" not in str(line)


def test_what_is_no_http_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    asyncio.run(Edge(app)({"type": "lifespan"}, _nothing, _nothing))
    assert seen == ["lifespan"]


async def _nothing(*_: Any) -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
