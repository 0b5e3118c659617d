"""The HTTP face of the scorer: routes, limits, and one shape of error.

Every refusal is `{"code", "message", "field", "fix"}`. A batch answers each item on its own, in
order, so that one bad transaction does not cost the others their decisions.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from prometheus_client import Counter, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fraud_platform.decisions.scorer import Decision, Scorer
from fraud_platform.errors import ConflictingTransaction, InvalidTransaction, StoreError
from fraud_platform.transactions.request import TransactionDecoder

TRANSACTION_BYTES = 64 * 1024
BATCH_BYTES = 16 * 1024 * 1024
BATCH_ITEMS = 10_000

DECISIONS = Counter("fraud_decisions", "Decisions answered.", ["action", "risk_level"])
REFUSALS = Counter("fraud_refusals", "Requests and batch items refused.", ["code"])
SECONDS = Histogram(
    "fraud_decision_seconds",
    "From the decoded request to the committed decision.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)


class Refusal(msgspec.Struct, frozen=True):
    """What a client reads when it is not answered."""

    code: str
    message: str
    field: str | None = None
    fix: str | None = None


class RequestTooLarge(Exception):
    """The body is longer than the route takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is longer than {limit} bytes.")
        self.limit = limit


@dataclass
class Service:
    """What the routes answer with; a worker fills it once its model is loaded."""

    scorer: Scorer | None = None
    decoder: TransactionDecoder | None = None

    def decide(self, body: bytes | msgspec.Raw) -> Decision:
        """Decode, score, commit."""
        if self.scorer is None or self.decoder is None:
            raise StoreError("The service is starting: its model is not loaded yet. Try again in a few seconds.")
        event = self.decoder.decode(body)
        started = time.perf_counter()
        decision = self.scorer.score(event)
        SECONDS.observe(time.perf_counter() - started)
        DECISIONS.labels(decision.action, decision.risk_level).inc()
        return decision


def build_app(service: Service) -> Starlette:
    """The routes `POST /predict`, `POST /predict/batch` and `GET /health`."""

    async def predict(request: Request) -> Response:
        body = await read_body(request, TRANSACTION_BYTES)
        return _json(service.decide(body))

    async def predict_batch(request: Request) -> Response:
        items = _items(await read_body(request, BATCH_BYTES))
        return _json([_decide_item(service, item) for item in items])

    async def health(_: Request) -> Response:
        scorer = service.scorer
        if scorer is None:
            return _json({"status": "starting"}, 503)
        answer = {
            "status": "ok",
            "model_version": scorer.model_version,
            "catalog_fingerprint": scorer.catalog_fingerprint,
        }
        return _json(answer)

    routes = [
        Route("/predict", _refusing(predict), methods=["POST"]),
        Route("/predict/batch", _refusing(predict_batch), methods=["POST"]),
        Route("/health", health, methods=["GET"]),
    ]
    return Starlette(routes=routes)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, counted as it comes: a Content-Length header can be missing or wrong.

    Raises:
        RequestTooLarge: as soon as more than `limit` bytes have come.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise RequestTooLarge(limit)
    return bytes(body)


def _items(body: bytes) -> list[msgspec.Raw]:
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidTransaction(f"The body is not a JSON array: {error}.", fix="Send [transaction, …].") from error
    if len(items) > BATCH_ITEMS:
        raise InvalidTransaction(
            f"The batch has {len(items)} transactions; {BATCH_ITEMS} are the most.", fix="Send several batches."
        )
    return items


def _decide_item(service: Service, item: msgspec.Raw) -> Decision | dict[str, Refusal]:
    try:
        return service.decide(item)
    except (InvalidTransaction, ConflictingTransaction) as error:
        return {"error": _refusal(error)[1]}


def _refusing(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (InvalidTransaction, ConflictingTransaction, RequestTooLarge, StoreError) as error:
            status, refusal = _refusal(error)
            return _json(refusal, status)

    return answer


def _refusal(error: Exception) -> tuple[int, Refusal]:
    """The HTTP status and the body for an error, counted."""
    if isinstance(error, InvalidTransaction):
        status, refusal = 422, Refusal("invalid_transaction", str(error), error.field, error.fix)
    elif isinstance(error, ConflictingTransaction):
        fix = "Send a correction under a new transaction_id."
        status, refusal = 409, Refusal("conflicting_transaction", str(error), "transaction_id", fix)
    elif isinstance(error, RequestTooLarge):
        status, refusal = 413, Refusal("request_too_large", str(error), None, "Send fewer transactions at once.")
    else:
        status, refusal = 503, Refusal("unavailable", str(error), None, "Send the same request again.")
    REFUSALS.labels(refusal.code).inc()
    return status, refusal


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
