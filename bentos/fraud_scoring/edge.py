"""The outermost layer of the service: what every answer carries, and the line of its request in the log."""

import logging
import re
import secrets
import time
from collections.abc import Iterable

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.fraud_scoring.body import Refusal
from bentos.fraud_scoring.logs import FACTS, bound_request_id, log_request

log = logging.getLogger("bentoml.fraud_scoring")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
"""What an answer that says nothing of its own about these carries."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_DEFECT = Refusal("internal_error", "The service failed. Its log says why.", None, "Send it again, or report it.")


class Edge:
    """Gives each request an id, its answer the security headers, and the log its line.

    An error that nothing below has turned into an answer becomes a 500 in the one shape of errors.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        identifier = _identifier(scope["headers"])
        facts: dict[str, object] = scope.setdefault(FACTS, {})
        status, ended = 0, False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                given = {name for name, _ in headers}
                headers += [header for header in SECURITY_HEADERS if header[0] not in given]
                headers.append((b"x-request-id", identifier))
                message["headers"] = headers
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        with bound_request_id(identifier.decode()):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception:
                log.exception("A defect of the service")
                if status and not ended:  # the answer has begun: only breaking off tells the client
                    raise
                if not status:
                    await _answer_defect(send_with_headers)
            finally:
                log_request(facts, status or 500, time.perf_counter() - started)


def _identifier(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The client's X-Request-Id if it is harmless, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return secrets.token_hex(8).encode()


async def _answer_defect(send: Send) -> None:
    body = msgspec.json.encode(_DEFECT)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
