"""From an HTTP request to the JSON that it carries, within limits of size, time and form.

What the transaction itself must be like is the contract's, in `fraud_platform.transactions.request`.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from fraud_platform.errors import InvalidTransaction

TRANSACTION_BYTES = 64 * 1024
BATCH_BYTES = 16 * 1024 * 1024
BODY_SECONDS = 10.0
"""How long a client may take to send its body."""


class Refusal(msgspec.Struct, frozen=True):
    """What a client reads when it is not answered: the one shape of every error."""

    code: str
    message: str
    field: str | None = None
    fix: str | None = None


class RequestRefused(Exception):
    """The request is refused before any transaction in it is looked at.

    Attributes:
        headers: what the answer has to carry beside the refusal.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fix: str | None = None,
        headers: Mapping[str, str] | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.refusal = Refusal(code, message, field, fix)
        self.headers = dict(headers or {})


async def read_body(request: Request, limit: int) -> bytes:
    """The body, counted as it comes: a Content-Length header can be missing or wrong.

    Raises:
        RequestRefused: for another form than plain JSON, as soon as more than `limit` bytes have
            come, or when the body takes longer than BODY_SECONDS.
    """
    check_form(request)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise RequestRefused(
                        413, "request_too_large", f"The body is longer than {limit} bytes.", "Send fewer at once."
                    )
    except TimeoutError as error:
        message = f"The body did not come within {BODY_SECONDS:g} seconds."
        raise RequestRefused(408, "request_timeout", message, "Send the same request again.") from error
    except ClientDisconnect as error:
        raise RequestRefused(400, "client_disconnected", "The client went away before its body had come.") from error
    return bytes(body)


def check_form(request: Request) -> None:
    """JSON in UTF-8 and not compressed. A request that names no type is taken for that.

    Raises:
        RequestRefused: 415 for any other Content-Type, charset or Content-Encoding.
    """
    fix = "Send Content-Type: application/json, in UTF-8 and without Content-Encoding."
    given = request.headers.get("content-type")
    if given is not None:
        kind, *parameters = (part.strip().lower() for part in given.split(";"))
        charsets = [part.partition("=")[2].strip('" ') for part in parameters if part.startswith("charset=")]
        if kind != "application/json" or any(charset not in ("utf-8", "utf8", "us-ascii") for charset in charsets):
            raise RequestRefused(415, "unsupported_media_type", f"The body's type is {given[:100]!r}, not JSON.", fix)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise RequestRefused(415, "unsupported_media_type", f"The body is encoded as {encoding[:100]!r}.", fix)


def batch_items(body: bytes, most: int) -> list[msgspec.Raw]:
    """The items of a batch, each still JSON.

    Raises:
        RequestRefused: if the body is not a JSON array of 1 to `most` items.
    """
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"The body is not a JSON array: {error}."
        raise RequestRefused(422, "invalid_batch", message, "Send [transaction, …].") from error
    if not 1 <= len(items) <= most:
        message = f"The batch has {len(items)} transactions, and not 1 to {most}."
        raise RequestRefused(422, "invalid_batch", message, f"Send 1 to {most:,} transactions at once.")
    return items


def check_fields_once(body: bytes | msgspec.Raw) -> None:
    """Refuse an object that names a field twice: parsers differ in which of the two they take.

    Args:
        body: JSON that was decoded without an error before.

    Raises:
        InvalidTransaction: naming the field.
    """
    _PARSER.decode(bytes(body).decode())


def _fields_once(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise InvalidTransaction(f"Object contains the field `{twice}` twice", twice, f"Send {twice} once.")


_PARSER = json.JSONDecoder(object_pairs_hook=_fields_once)
