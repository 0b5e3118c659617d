"""The OpenAPI document: made from the types that the routes decode and encode, so that it cannot say anything else."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bentos.fraud_scoring.answers import Health, Replay, Shown
from bentos.fraud_scoring.body import BATCH_BYTES, TRANSACTION_BYTES, Refusal
from fraud_platform.decisions.journal import Decision
from fraud_platform.transactions.label_request import LabelReport

VERSION = "1.0.0"
CODES = {
    400: "What was sent is no HTTP that can be read",
    401: "No key, or one that is not known",
    403: "The key may not do this",
    404: "There is nothing under this id",
    405: "Another method",
    408: "The body came too slowly",
    409: "It contradicts what was decided before",
    413: "The body is too large",
    415: "Not JSON in UTF-8",
    422: "Not as the contract wants it: `field` says where, `fix` what to send",
    429: "Too many requests: `Retry-After` says when to come again",
    500: "A defect of the service",
    503: "The store or the model cannot be used now",
}


class LabelTaken(msgspec.Struct, frozen=True):
    """What became of a label.

    Attributes:
        news: whether it changed what is known; the same or an older report does not.
    """

    transaction_id: str
    is_fraud: bool
    news: bool


class SelfTest(msgspec.Struct, frozen=True):
    """A decision on a canned transaction."""

    status: str
    decision: Decision


class Status(msgspec.Struct, frozen=True):
    """One word."""

    status: str


class ItemRefused(msgspec.Struct, frozen=True):
    """In the place of a decision: what is wrong with one transaction of a batch."""

    error: Refusal


@dataclass(frozen=True)
class OneOf:
    """Either of two types."""

    kinds: tuple[Any, Any]
    many: bool = False


@dataclass(frozen=True)
class Operation:
    """What the document says of a route.

    Attributes:
        body: the type of the request's body; None: there is none.
        answer: the type of what comes with 200; None: plain text.
        refusals: the statuses beside 200 that it can answer with.
    """

    summary: str
    answer: Any = None
    body: Any = None
    refusals: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    limit: int = 0
    also: dict[int, Any] = field(default_factory=dict)


_BODY = (400, 408, 413, 415, 422)
_GUARDED = (401, 403, 429)
_ID = "The decision_id or the transaction_id of an answer."


def operations(transaction: Any) -> dict[tuple[str, str], Operation]:
    """Each route's operation, by method and path.

    Args:
        transaction: the type of a transaction of the source.
    """
    decide = (*_BODY, *_GUARDED, 409, 503)
    probe = Operation("A decision on a canned transaction that leaves no trace.", SelfTest, refusals=(*_GUARDED, 503))
    return {
        ("POST", "/predict"): Operation(
            "The decision on one transaction. The same transaction again gets the same decision.",
            Decision,
            transaction,
            decide,
            limit=TRANSACTION_BYTES,
        ),
        ("POST", "/predict/batch"): Operation(
            "A decision or an error for each transaction, in order.",
            OneOf((Decision, ItemRefused), many=True),
            list[transaction],
            (*_BODY, *_GUARDED, 503),
            limit=BATCH_BYTES,
        ),
        ("GET", "/decisions/{id}"): Operation(
            "What was decided, from which features.", Shown, refusals=(*_GUARDED, 404, 503), parameters=(_ID,)
        ),
        ("POST", "/decisions/{id}/replay"): Operation(
            "The decision made again from what was stored.",
            Replay,
            refusals=(*_GUARDED, 404, 409, 503),
            parameters=(_ID,),
        ),
        ("POST", "/labels"): Operation(
            "What became known about a transaction: it may come before it, late, twice, or correct an earlier one.",
            LabelTaken,
            LabelReport,
            (*_BODY, *_GUARDED, 503),
            limit=TRANSACTION_BYTES,
        ),
        ("GET", "/health"): Operation("How the service is.", Health, also={503: OneOf((Health, Refusal))}),
        ("GET", "/livez"): Operation("200 while the process answers.", Status),
        ("GET", "/readyz"): Operation("200 while it can decide.", Status, refusals=(503,)),
        ("GET", "/metrics"): Operation("What all workers counted, Prometheus text.", None, refusals=(*_GUARDED, 503)),
        ("GET", "/test"): probe,
        ("POST", "/test"): probe,
        ("GET", "/openapi.json"): Operation("This document.", dict[str, Any], refusals=(503,)),
    }


def document(transaction: Any, roles: Callable[[str, str], tuple[str, ...]]) -> dict[str, Any]:
    """The document, OpenAPI 3.1.

    Args:
        transaction: the type of a transaction of the source.
        roles: who may use a method and path.
    """
    found = operations(transaction)
    types: list[Any] = [transaction, Refusal, Decision, ItemRefused]
    types += [t for one in found.values() for t in (one.answer, one.body) if t and not isinstance(t, OneOf)]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    paths: dict[str, Any] = {}
    for (method, path), operation in found.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation, roles(method, path))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fraud scoring",
            "version": VERSION,
            "description": "Decides on payments as they happen. Every error is code, message, field, fix.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(method: str, path: str, operation: Operation, roles: tuple[str, ...]) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": _content("As asked.", operation.answer)}
    answers |= {str(status): _content(CODES[status], Refusal) for status in sorted(operation.refusals)}
    answers |= {str(status): _content(CODES[status], kind) for status, kind in operation.also.items()}
    described: dict[str, Any] = {
        "operationId": f"{method.lower()} {path}",
        "summary": operation.summary,
        "responses": answers,
    }
    if roles:
        described["description"] = f"For keys with the role {' or '.join(roles)}, or admin."
        described["security"] = [{"bearer": []}, {"key": []}, {}]
    if operation.parameters:
        described["parameters"] = [
            {"name": "id", "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
            for text in operation.parameters
        ]
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "description": f"JSON in UTF-8, at most {operation.limit:,} bytes.",
            "content": {"application/json": {"schema": _schema(operation.body)}},
        }
    return described


def _content(description: str, kind: Any) -> dict[str, Any]:
    if kind is None:
        return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"description": description, "content": {"application/json": {"schema": _schema(kind)}}}


def _schema(kind: Any) -> dict[str, Any]:
    if isinstance(kind, OneOf):
        either = {"anyOf": [_schema(one) for one in kind.kinds]}
        return {"type": "array", "items": either} if kind.many else either
    (found,), _ = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    return found
