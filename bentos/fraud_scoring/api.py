"""The HTTP face of the scorer: routes, and one shape of error.

| route | answers |
|---|---|
| POST /predict | the decision on one transaction |
| POST /predict/batch | a decision or `{"error": …}` for each transaction of an array, in order |
| GET /health | 200 while the service can decide, else 503 with the reason |
| GET /metrics | the counters of all workers, Prometheus text |

Every error is `{"code", "message", "field", "fix"}`:

| status | code | when |
|---|---|---|
| 400 | client_disconnected | (for the metrics: nobody reads it) |
| 404 | not_found | no such path |
| 405 | method_not_allowed | |
| 408 | request_timeout | the body came too slowly |
| 409 | conflicting_transaction | the id was decided before with other content |
| 413 | request_too_large | |
| 415 | unsupported_media_type | a Content-Type other than JSON in UTF-8, or a compressed body |
| 422 | invalid_transaction, invalid_batch | not JSON, or not as the contract wants it |
| 500 | internal_error | a defect of the service: its log has the traceback |
| 503 | unavailable | the store or the model cannot be used |
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bentos.fraud_scoring import metrics
from bentos.fraud_scoring.body import (
    BATCH_BYTES,
    TRANSACTION_BYTES,
    Refusal,
    RequestRefused,
    batch_items,
    check_fields_once,
    read_body,
)
from fraud_platform.decisions.scorer import Decision, Scorer
from fraud_platform.errors import (
    ArtefactError,
    CatalogError,
    ConflictingTransaction,
    InvalidTransaction,
    StoreError,
)
from fraud_platform.transactions.request import TransactionDecoder

log = logging.getLogger("bentoml.fraud_scoring")

PROBES = frozenset({"/livez", "/readyz", "/healthz"})
"""BentoML's own routes; every other path is answered here."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Service:
    """What the routes answer with; a worker fills it once its model is loaded."""

    scorer: Scorer | None = None
    decoder: TransactionDecoder | None = None

    def ready(self) -> tuple[Scorer, TransactionDecoder]:
        """
        Raises:
            StoreError: before the model is loaded.
        """
        if self.scorer is None or self.decoder is None:
            raise StoreError("The service is starting: its model is not loaded yet.")
        return self.scorer, self.decoder

    def decide(self, body: bytes | msgspec.Raw) -> Decision:
        """Decode, score, commit."""
        scorer, decoder = self.ready()
        started = time.perf_counter()
        event = decoder.decode(body)
        check_fields_once(body)
        decision = scorer.score(event)
        metrics.DECISION_SECONDS.observe(time.perf_counter() - started)
        metrics.DECISIONS.labels(decision.action, decision.risk_level).inc()
        return decision


def build_app(service: Service) -> Starlette:
    """The routes of the module's first table."""

    async def predict(request: Request) -> Response:
        body = await read_body(request, TRANSACTION_BYTES)
        return _json(service.decide(body))

    async def predict_batch(request: Request) -> Response:
        answers: list[Decision | dict[str, Refusal]] = []
        for item in batch_items(await read_body(request, BATCH_BYTES)):
            answers.append(_decide_item(service, item))
            await asyncio.sleep(0)  # let single transactions pass between the items of a long batch
        return _json(answers)

    async def health(_: Request) -> Response:
        scorer, _decoder = service.ready()
        scorer.check_store()
        answer = {
            "status": "ok",
            "model_version": scorer.model_version,
            "catalog_fingerprint": scorer.catalog_fingerprint,
        }
        return _json(answer)

    async def show_metrics(_: Request) -> Response:
        content, media_type = metrics.render()
        return Response(content, headers={"Content-Type": media_type})

    routes: list[tuple[str, str, Handler]] = [
        ("POST", "/predict", predict),
        ("POST", "/predict/batch", predict_batch),
        ("GET", "/health", health),
        ("GET", "/metrics", show_metrics),
    ]
    app = Starlette(
        routes=[Route(path, _answering(path, handler), methods=[method]) for method, path, handler in routes],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


class Front:
    """Stands before BentoML's application and leaves it only its probes and the life cycle.

    BentoML's index page loads scripts from elsewhere, and its errors have shapes of their own.
    """

    def __init__(self, app: ASGIApp, ours: ASGIApp) -> None:
        self._bentoml = app
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        probe = scope["type"] != "http" or (scope["path"] in PROBES and scope["method"] in ("GET", "HEAD"))
        await (self._bentoml if probe else self._ours)(scope, receive, send)


def _answering(path: str, handler: Handler) -> Handler:
    """The handler with its errors turned into refusals, counted and timed."""

    async def answer(request: Request) -> Response:
        started = time.perf_counter()
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - the boundary: _refuse logs what it does not know
            status, refusal = _refuse(error)
            response = _json(refusal, status)
        metrics.REQUESTS.labels(path, response.status_code).inc()
        metrics.REQUEST_SECONDS.labels(path).observe(time.perf_counter() - started)
        return response

    return answer


def _decide_item(service: Service, item: msgspec.Raw) -> Decision | dict[str, Refusal]:
    """One item's answer; whatever is wrong with it does not cost the others theirs."""
    try:
        return service.decide(item)
    except Exception as error:  # noqa: BLE001 - the boundary: _refuse logs what it does not know
        return {"error": _refuse(error)[1]}


async def _no_route(request: Request, error: Exception) -> Response:
    """What the router refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == 405 or path in PROBES:
        allowed = (error.headers or {}).get("Allow", "GET, HEAD")
        status, headers = 405, {"Allow": allowed}
        refusal = Refusal("method_not_allowed", f"{path} does not take {request.method}.", fix=f"Use {allowed}.")
    else:
        status, headers = 404, {}
        fix = "Use POST /predict, POST /predict/batch, GET /health or GET /metrics."
        refusal = Refusal("not_found", f"There is nothing at {path}.", fix=fix)
    metrics.REQUESTS.labels("other", status).inc()
    metrics.REFUSALS.labels(refusal.code).inc()
    return _json(refusal, status, headers)


def _refuse(error: Exception) -> tuple[int, Refusal]:
    """The HTTP status and the body for an error, counted."""
    if isinstance(error, RequestRefused):
        status, refusal = error.status, error.refusal
    elif isinstance(error, InvalidTransaction):
        status, refusal = 422, Refusal("invalid_transaction", str(error), error.field, error.fix)
    elif isinstance(error, ConflictingTransaction):
        fix = "Send a correction under a new transaction_id."
        status, refusal = 409, Refusal("conflicting_transaction", str(error), "transaction_id", fix)
    elif isinstance(error, (StoreError, ArtefactError, CatalogError)):
        log.error("Unavailable: %s", error)
        status, refusal = 503, Refusal("unavailable", str(error), None, "Send the same request again later.")
    else:
        log.error("A defect of the service", exc_info=error)
        message = "The service failed. Its log says why."
        status, refusal = 500, Refusal("internal_error", message, None, "Send the same request again, or report it.")
    metrics.REFUSALS.labels(refusal.code).inc()
    return status, refusal


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
