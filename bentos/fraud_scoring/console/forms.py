"""What people typed: forms as they are sent, and the transaction that one of them describes."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from bentos.fraud_scoring.body import BODY_SECONDS, RequestRefused
from fraud_platform.transactions.contract import TRANSACTION, Column

FORM_BYTES = 64 * 1024
FORM_FIELDS = 200
URLENCODED = "application/x-www-form-urlencoded"

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?\Z")


class FormField(NamedTuple):
    """An input of the form to score by hand."""

    name: str
    type: str
    meaning: str
    required: bool
    values: tuple[str, ...]


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, surrounding space cut off; of a name that comes twice the last.

    Raises:
        RequestRefused: for another Content-Type, too many bytes or fields, bytes that are not UTF-8, or a body that
            takes too long.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != URLENCODED:
        raise RequestRefused(
            415, "unsupported_media_type", f"A form is sent as {URLENCODED}.", "Use the console's pages."
        )
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > FORM_BYTES:
                    raise RequestRefused(413, "request_too_large", f"The form is longer than {FORM_BYTES} bytes.")
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS, errors="strict")
    except TimeoutError as error:
        raise RequestRefused(
            408, "request_timeout", f"The form did not come within {BODY_SECONDS:g} seconds."
        ) from error
    except ClientDisconnect as error:
        raise RequestRefused(400, "client_disconnected", "The client went away before its form had come.") from error
    except ValueError as error:  # parse_qsl: too many fields, or escapes that are not UTF-8
        raise RequestRefused(
            422, "invalid_form", f"The form cannot be read: {error}.", "Use the console's pages."
        ) from error
    return {name: value.strip() for name, value in pairs}


def transaction_fields(columns_given: Sequence[str], attributes: Sequence[str]) -> list[FormField]:
    """The inputs for one transaction: the columns that the model's source gives, the required ones first."""
    columns = [column for column in TRANSACTION if column.required or column.name in columns_given]
    ordered = sorted(columns, key=lambda column: not column.required)
    extra = [FormField(name, "float64", "an attribute of the source", False, ()) for name in attributes]
    return [FormField(c.name, c.type, _hint(c), c.required, c.values or ()) for c in ordered] + extra


def transaction_body(form: Mapping[str, str], fields: Sequence[FormField]) -> bytes:
    """The JSON of a transaction. What is no number where one belongs stays text, so that the contract refuses it."""
    content: dict[str, str | int | float] = {}
    for field in fields:
        if text := form.get(field.name, ""):
            content[field.name] = _value(text, field.type)
    return msgspec.json.encode(content)


def _value(text: str, kind: str) -> str | int | float:
    if kind == "int64" and _INTEGER.match(text):
        return int(text)
    if kind == "float64" and _NUMBER.match(text):
        return float(text)
    return text


def _hint(column: Column) -> str:
    if column.minimum is not None and column.maximum is not None:
        return f"{column.meaning}; {column.minimum:,.0f} to {column.maximum:,.0f}"
    return column.meaning
