"""The console's addresses, and what holds for each: a session, a role, and errors that a person can read.

| address | shows, or does |
|---|---|
| GET / | live decisions; GET /console/live its list |
| GET /console/queue | what waits for a verdict; …/count how many |
| GET /console/decisions/{id} | a case; …/peek a short form of it; POST …/replay decides again |
| POST /console/verdicts | a verdict, or its correction |
| GET /console/search?q= | by decision, transaction, customer, card, device or merchant |
| GET, POST /console/score | a form to score by hand |
| GET /console/rules | rules, lists, backtests; POST /console/lists, …/remove |
| GET /console/model, /console/health | |
| GET, POST /console/login; POST /console/logout | |
| GET /console/static/… | style sheets, scripts, icon |
| GET /console/… | that there is nothing |
"""

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bentos.fraud_scoring import logs, metrics
from bentos.fraud_scoring.body import RequestRefused
from bentos.fraud_scoring.console import changes, pages
from bentos.fraud_scoring.console.assets import URL, Asset, read_assets
from bentos.fraud_scoring.console.needs import ConsoleStage
from bentos.fraud_scoring.console.rendering import environment, render
from bentos.fraud_scoring.console.visits import HEADERS, THREADS, Console, Handler, Visit, html, moved
from bentos.fraud_scoring.desk import CaseNotFound
from bentos.fraud_scoring.sessions import Session
from fraud_platform.errors import FraudPlatformError

log = logging.getLogger("bentoml.fraud_scoring")

Endpoint = Callable[[Request], Awaitable[Response]]

ROLE = "analyst"
LOGIN = "/console/login"

READING: dict[str, Handler] = {
    "/": pages.live,
    "/console/live": pages.live_list,
    "/console/queue": pages.queue,
    "/console/queue/count": pages.queue_count,
    "/console/decisions/{decision_id}": pages.case,
    "/console/decisions/{decision_id}/peek": pages.peek,
    "/console/search": pages.search,
    "/console/score": pages.score_form,
    "/console/rules": pages.rules,
    "/console/model": pages.model,
    "/console/health": pages.health,
    "/console": pages.home,
    "/console/{rest:path}": pages.nowhere,
}
CHANGING: dict[str, Handler] = {
    "/console/decisions/{decision_id}/replay": changes.replay,
    "/console/verdicts": changes.verdict,
    "/console/score": changes.score,
    "/console/lists": changes.add_entry,
    "/console/lists/remove": changes.remove_entry,
    "/console/logout": changes.logout,
}


def console_routes(stage: ConsoleStage) -> list[Route]:
    """The routes of the module's table; nothing is asked of the stage before a request."""
    console = Console(stage, environment(), anyio.CapacityLimiter(THREADS))
    reading = [Route(path, _answering(console, path, handler), methods=["GET"]) for path, handler in READING.items()]
    changing = [Route(path, _answering(console, path, handler), methods=["POST"]) for path, handler in CHANGING.items()]
    return [
        *changing,
        Route(LOGIN, _answering(console, LOGIN, pages.login_form, open_to_all=True), methods=["GET"]),
        Route(LOGIN, _answering(console, LOGIN, changes.login, open_to_all=True), methods=["POST"]),
        Route(URL + "{name:path}", _static(read_assets()), methods=["GET"]),
        *reading,
    ]


def _answering(console: Console, path: str, handler: Handler, *, open_to_all: bool = False) -> Endpoint:
    """The handler behind its session, counted and timed, with its errors as pages."""
    observe = metrics.REQUEST_SECONDS.labels(path).observe

    async def answer(request: Request) -> Response:
        started = time.perf_counter()
        logs.note(request, route=path)
        visit = Visit(request, console, None)
        try:
            visit = Visit(request, console, visit.service.guard.session(request))
            response = await _let_in(visit, handler, open_to_all)
        except Exception as error:  # noqa: BLE001 - the boundary: `_explained` logs what it does not know
            response = _explained(visit, error)
        metrics.REQUESTS.labels(path, response.status_code).inc()
        observe(time.perf_counter() - started)
        return response

    return answer


async def _let_in(visit: Visit, handler: Handler, open_to_all: bool) -> Response:
    """The handler's answer, where the person may have it."""
    if not open_to_all:
        if visit.session is None:
            return _to_login(visit)
        _check_role(visit.session)
    return await handler(visit)


def _check_role(session: Session) -> None:
    if not session.principal.may(ROLE):
        raise RequestRefused(
            403,
            "forbidden",
            f"The key {session.principal.name} may not use the console.",
            "Log in with a key that has the role analyst.",
        )


def _to_login(visit: Visit) -> Response:
    """The login page, which afterwards comes back to the page that was asked for."""
    url = visit.request.url
    asked = url.path + (f"?{url.query}" if url.query else "")
    back = asked if visit.request.method == "GET" and not visit.partial else "/"
    return moved(visit, f"{LOGIN}?next={quote(back, safe='')}")


def _explained(visit: Visit, error: Exception) -> Response:
    """An error as a page, or as a part of one."""
    headers: dict[str, str] = {}
    code = "unavailable"
    if isinstance(error, CaseNotFound):
        code = "unknown_decision"
        status, title, message = 404, "No such decision", "The store has no decision with this id. It may be mistyped."
    elif isinstance(error, RequestRefused):
        code, status = error.refusal.code, error.status
        title = code.replace("_", " ").capitalize()
        message = " ".join(filter(None, [error.refusal.message, error.refusal.fix]))
        headers = error.headers
    elif isinstance(error, FraudPlatformError):
        log.error("Unavailable: %s", error)
        status, title, message = 503, "Not available right now", str(error)
    else:
        code = "internal_error"
        log.error("A defect of the console", exc_info=error)
        status, title, message = 500, "The console failed", "The service's log says why. Decisions are not affected."
    metrics.REFUSALS.labels(code).inc()
    logs.note(visit.request, code=code)
    if visit.partial and visit.request.method == "POST":
        # What a person tried is said aloud; the row or form that it was tried on stays as it is.
        headers = {**headers, "HX-Retarget": "#said", "HX-Reswap": "innerHTML"}
    template = "error_part.html" if visit.partial else "error.html"
    context = visit.base() | {"status": status, "title": title, "message": message}
    return html(render(visit.console.templates, template, context), status, headers)


def _static(assets: dict[str, Asset]) -> Endpoint:
    async def answer(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None:
            return Response("There is no such file.", 404, HEADERS, media_type="text/plain")
        etag = f'"{asset.digest}"'
        kept = {"ETag": etag, "Cache-Control": "public, max-age=31536000, immutable"}
        if request.query_params.get("v") != asset.digest:
            kept["Cache-Control"] = "no-cache"
        if request.headers.get("If-None-Match") == etag:
            return Response(status_code=304, headers=HEADERS | kept)
        return Response(asset.content, headers=HEADERS | kept | {"Content-Type": asset.media_type})

    return answer
