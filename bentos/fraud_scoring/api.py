"""The HTTP face of a worker: routes, who may use them, and one shape of error.

| route | answers | role |
|---|---|---|
| POST /predict | the decision on one transaction | score |
| POST /predict/batch | a decision or `{"error": …}` for each transaction of an array, in order | score |
| GET /decisions/{id} | what was decided, by decision or transaction id | analyst |
| POST /decisions/{id}/replay | the same decision made again from what was stored | analyst |
| POST /labels | whether the verdict is news | label, analyst |
| GET /health | how the service is: 503 where it cannot decide | |
| GET /livez, /readyz | 200 while the process answers; while it can decide | |
| GET /metrics | the counters of all workers, Prometheus text | metrics |
| GET, POST /test | a decision on a canned transaction that leaves no trace | admin |
| GET /docs, /openapi.json | this table, in full | |
| GET / | the console, see `console` | |

Every error is `{"code", "message", "field", "fix"}`:

| status | code | when |
|---|---|---|
| 400 | client_disconnected | (for the metrics: nobody reads it) |
| 401, 403, 429 | unauthenticated, forbidden, too_many_requests | see `guard` |
| 404 | not_found, unknown_decision | no such path; nothing was decided under that id |
| 405 | method_not_allowed | |
| 408 | request_timeout | the body came too slowly |
| 409 | conflicting_transaction | the id was decided before with other content |
| 409 | model_not_loaded | a replay of a decision whose model is gone |
| 413 | request_too_large | |
| 415 | unsupported_media_type | a Content-Type other than JSON in UTF-8, or a compressed body |
| 422 | invalid_transaction, invalid_batch, invalid_label | not JSON, or not as the contract wants it |
| 500 | internal_error | a defect of the service: its log has the traceback |
| 503 | unavailable | the store, the model or the audit log cannot be used |
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.fraud_scoring import docs, logs, metrics, openapi
from bentos.fraud_scoring.body import (
    BATCH_BYTES,
    TRANSACTION_BYTES,
    Refusal,
    RequestRefused,
    batch_items,
    check_fields_once,
    read_body,
)
from bentos.fraud_scoring.console.routes import console_routes
from bentos.fraud_scoring.worker import Worker
from fraud_platform.decisions.journal import Decision
from fraud_platform.errors import ConflictingTransaction, FraudPlatformError, InvalidTransaction, StoreError
from fraud_platform.transactions.label_request import decode_label

log = logging.getLogger("bentoml.fraud_scoring")

Handler = Callable[[Request], Awaitable[Response]]


class Stage:
    """Where the routes find the worker; it is there once its model is loaded."""

    def __init__(self, worker: Worker | None = None) -> None:
        self._worker = worker

    def enter(self, worker: Worker) -> None:
        self._worker = worker

    @property
    def worker(self) -> Worker:
        """
        Raises:
            StoreError: before the model is loaded.
        """
        if self._worker is None:
            raise StoreError("The service is starting: its model is not loaded yet.")
        return self._worker


@dataclass(frozen=True)
class Endpoint:
    """One route, and who may use it: any of the roles; no role, no key."""

    method: str
    path: str
    roles: tuple[str, ...]
    handler: Callable[[Worker, Request], Awaitable[Response]]


async def predict(worker: Worker, request: Request) -> Response:
    """The decision on one transaction."""
    decision = await worker.decide(await read_body(request, TRANSACTION_BYTES))
    logs.note(request, decision_id=decision.decision_id, action=decision.action, degraded=decision.degraded)
    return json_response(decision)


async def predict_batch(worker: Worker, request: Request) -> Response:
    """A decision or an error for each transaction of an array, in order."""
    items = batch_items(await read_body(request, BATCH_BYTES), worker.settings.batch_transactions)
    worker.guard.charge(request, request.state.principal, len(items))
    logs.note(request, transactions=len(items))
    return json_response([_item(answer) for answer in await worker.decide_all(items)])


async def show_decision(worker: Worker, request: Request) -> Response:
    """What was decided, with the features and what ran in shadow."""
    decided = worker.decided(request.path_params["id"])
    return json_response(worker.shown(decided))


async def replay(worker: Worker, request: Request) -> Response:
    """The decision made again, from the features that were stored."""
    decision_id = request.path_params["id"]
    return json_response(await worker.lane.run(lambda: worker.replay(decision_id)))


async def label(worker: Worker, request: Request) -> Response:
    """Takes in what became known about a transaction."""
    body = await read_body(request, TRANSACTION_BYTES)
    try:
        report = decode_label(body, worker.ahead_us)
        check_fields_once(body)
    except InvalidTransaction as error:
        raise RequestRefused(422, "invalid_label", str(error), error.fix, field=error.field) from error
    news = await worker.label(report, request.state.principal.name)
    return json_response({"transaction_id": report.transaction_id, "is_fraud": report.is_fraud, "news": news})


async def health(worker: Worker, request: Request) -> Response:
    """How the service is."""
    found = await worker.lane.run(worker.health)
    return json_response(found, 503 if found.status == "unavailable" else 200)


async def ready(worker: Worker, request: Request) -> Response:
    """Whether it can decide."""
    await worker.lane.run(worker.scorer.check_store)
    return json_response({"status": "ready"})


async def show_metrics(worker: Worker, request: Request) -> Response:
    """The counters of all workers, Prometheus text."""
    await worker.lane.run(worker.show_gauges)
    content, media_type = metrics.render()
    return Response(content, headers={"Content-Type": media_type})


async def self_test(worker: Worker, request: Request) -> Response:
    """A decision on a canned transaction that leaves no trace."""
    return json_response({"status": "ok", "decision": await worker.lane.run(worker.self_test)})


async def show_openapi(worker: Worker, request: Request) -> Response:
    """The OpenAPI document."""
    return json_response(openapi.document(worker.decoder.type, roles_of))


async def show_docs(worker: Worker, request: Request) -> Response:
    """The OpenAPI document as a page."""
    page = docs.page(openapi.document(worker.decoder.type, roles_of))
    return Response(page, media_type="text/html; charset=utf-8", headers=docs.HEADERS)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/predict", ("score",), predict),
    Endpoint("POST", "/predict/batch", ("score",), predict_batch),
    Endpoint("GET", "/decisions/{id}", ("analyst",), show_decision),
    Endpoint("POST", "/decisions/{id}/replay", ("analyst",), replay),
    Endpoint("POST", "/labels", ("label", "analyst"), label),
    Endpoint("GET", "/health", (), health),
    Endpoint("GET", "/readyz", (), ready),
    Endpoint("GET", "/metrics", ("metrics",), show_metrics),
    Endpoint("GET", "/test", ("admin",), self_test),
    Endpoint("POST", "/test", ("admin",), self_test),
    Endpoint("GET", "/openapi.json", (), show_openapi),
    Endpoint("GET", "/docs", (), show_docs),
)


def roles_of(method: str, path: str) -> tuple[str, ...]:
    """Who may use a method and path: any of these roles; none: everybody."""
    return next((one.roles for one in ENDPOINTS if (one.method, one.path) == (method, path)), ())


def build_app(stage: Stage) -> Starlette:
    """The routes of the module's first table."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(stage.worker.watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    routes = [Route(one.path, _answering(stage, one), methods=[one.method]) for one in ENDPOINTS]
    routes += [Route("/livez", _alive, methods=["GET"]), *console_routes(stage)]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route}, lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


class Front:
    """Stands before BentoML's application and leaves it only the life cycle.

    BentoML's index page loads scripts from elsewhere, and its errors have shapes of their own.
    """

    def __init__(self, app: ASGIApp, ours: ASGIApp) -> None:
        self._bentoml = app
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._ours if scope["type"] == "http" else self._bentoml)(scope, receive, send)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def refuse(error: Exception) -> tuple[int, Refusal, dict[str, str]]:
    """The HTTP status, the body and the headers for an error, counted."""
    headers: dict[str, str] = {}
    if isinstance(error, RequestRefused):
        status, refusal, headers = error.status, error.refusal, error.headers
    elif isinstance(error, InvalidTransaction):
        status, refusal = 422, Refusal("invalid_transaction", str(error), error.field, error.fix)
    elif isinstance(error, ConflictingTransaction):
        fix = "Send a correction under a new transaction_id."
        status, refusal = 409, Refusal("conflicting_transaction", str(error), "transaction_id", fix)
    elif isinstance(error, FraudPlatformError):
        log.error("Unavailable: %s", error)
        status, refusal = 503, Refusal("unavailable", str(error), None, "Send the same request again later.")
    else:
        log.error("A defect of the service", exc_info=error)
        message = "The service failed. Its log says why."
        status, refusal = 500, Refusal("internal_error", message, None, "Send the same request again, or report it.")
    metrics.REFUSALS.labels(refusal.code).inc()
    return status, refusal, headers


def _answering(stage: Stage, endpoint: Endpoint) -> Handler:
    """The endpoint with its errors turned into refusals, counted and timed."""
    observe = metrics.REQUEST_SECONDS.labels(endpoint.path).observe

    async def answer(request: Request) -> Response:
        started = time.perf_counter()
        logs.note(request, route=endpoint.path)
        try:
            worker = stage.worker
            if endpoint.roles:
                request.state.principal = worker.guard.admit(request, *endpoint.roles)
            response = await endpoint.handler(worker, request)
        except Exception as error:  # noqa: BLE001 - the boundary: refuse logs what it does not know
            status, refusal, headers = refuse(error)
            logs.note(request, code=refusal.code)
            response = json_response(refusal, status, headers)
        metrics.REQUESTS.labels(endpoint.path, response.status_code).inc()
        observe(time.perf_counter() - started)
        return response

    return answer


def _item(answer: Decision | Exception) -> Decision | dict[str, Refusal]:
    """One item of a batch; whatever is wrong with it does not cost the others theirs."""
    return {"error": refuse(answer)[1]} if isinstance(answer, Exception) else answer


async def _alive(_: Request) -> Response:
    return json_response({"status": "alive"})


async def _no_route(request: Request, error: Exception) -> Response:
    """What the router refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET, HEAD")
        status, headers = 405, {"Allow": allowed}
        refusal = Refusal("method_not_allowed", f"{path} does not take {request.method}.", fix=f"Use {allowed}.")
    else:
        status, headers = 404, {}
        refusal = Refusal("not_found", f"There is nothing at {path}.", fix="GET /docs lists what there is.")
    metrics.REQUESTS.labels("other", status).inc()
    metrics.REFUSALS.labels(refusal.code).inc()
    return json_response(refusal, status, headers)
