"""One transaction as a client sends it: JSON, checked against the contract.

Times carry their offset, amounts are minor units, unknown fields are refused: a misspelt field
must not become a missing value.
"""

import hashlib
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from fraud_platform.errors import InvalidTransaction
from fraud_platform.transactions.contract import EARLIEST_EVENT, LATEST_EVENT, TRANSACTION, Column

_PATH = re.compile(r" - at `\$\.(?P<field>[A-Za-z0-9_]+)`$")
_QUOTED = re.compile(r"field `(?P<field>[A-Za-z0-9_]+)`")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class TransactionDecoder:
    """Decodes the transactions of one source.

    Args:
        attributes: the numeric attributes that the source adds to the contract; all optional.
        ahead_us: how far ahead of this machine's clock an event may be, microseconds; default: as far as it
            likes, for replays. One event far in the future would push the past of its keys out of every window.
    """

    def __init__(self, attributes: Iterable[str] = (), ahead_us: int | None = None) -> None:
        self._ahead_us = ahead_us
        extra = [(name, float | None, None) for name in attributes]
        self._type = msgspec.defstruct(
            "Transaction",
            [*map(_field, TRANSACTION), *extra],
            forbid_unknown_fields=True,
            frozen=True,
            kw_only=True,
        )
        self._decoder = msgspec.json.Decoder(self._type)

    @property
    def type(self) -> type[msgspec.Struct]:
        """What a request's JSON has to be."""
        return self._type

    def decode(self, body: bytes | msgspec.Raw) -> dict[str, Any]:
        """The transaction as columns, with `event_us` beside `event_time`.

        Raises:
            InvalidTransaction: saying which field is wrong and how to mend it.
        """
        try:
            transaction = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _explain(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidTransaction(f"The body is not JSON: {error}.", fix="Send one JSON object in UTF-8.") from error
        event = msgspec.structs.asdict(transaction)
        event["event_us"] = to_microseconds(event["event_time"])
        if not _EARLIEST_US <= event["event_us"] < _LATEST_US:
            raise InvalidTransaction(
                f"event_time {event['event_time'].isoformat()} is not between {EARLIEST_EVENT} and {LATEST_EVENT}",
                field="event_time",
                fix="Send the time of the payment, RFC 3339 with an offset, such as 2026-01-31T09:30:00Z.",
            )
        if self._ahead_us is not None and event["event_us"] > time.time_ns() // 1000 + self._ahead_us:
            raise InvalidTransaction(
                f"event_time {event['event_time'].isoformat()} is more than {self._ahead_us // 60_000_000} minutes "
                "ahead of the service's clock",
                field="event_time",
                fix="Set the sender's clock and its offset from UTC right, or allow more with FRAUD_MAX_MINUTES_AHEAD.",
            )
        return event


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly; a float timestamp would round. A moment has its offset."""
    return (moment - _EPOCH) // _MICROSECOND


def request_digest(event: dict[str, Any]) -> bytes:
    """SHA-256 of what the transaction says, whatever the order and the spacing of its fields."""
    return hashlib.sha256(msgspec.json.encode(event, order="sorted")).digest()


_EARLIEST_US, _LATEST_US = (
    to_microseconds(datetime.fromisoformat(day).replace(tzinfo=UTC)) for day in (EARLIEST_EVENT, LATEST_EVENT)
)
_KINDS: dict[str, Any] = {"string": str, "int64": int, "float64": float}


def _field(column: Column) -> tuple[str, Any] | tuple[str, Any, None]:
    if column.type == "timestamp":
        kind: Any = Annotated[datetime, msgspec.Meta(tz=True)]
    elif column.values:
        kind = Literal[column.values]
    else:
        # Not `$`: Python's also matches before a final line feed.
        whole = column.pattern and column.pattern.removesuffix("$") + r"\Z"
        limits = {"pattern": whole, "ge": column.minimum, "le": column.maximum}
        kind = Annotated[_KINDS[column.type], msgspec.Meta(**{k: v for k, v in limits.items() if v is not None})]
    return (column.name, kind) if column.required else (column.name, kind | None, None)


def _explain(message: str) -> InvalidTransaction:
    found = _PATH.search(message) or _QUOTED.search(message)
    field = found["field"] if found else None
    column = next((column for column in TRANSACTION if column.name == field), None)
    if "unknown field" in message:
        fix = "Remove the field, or declare it in the source's attributes."
    elif column is None:
        fix = "Send one JSON object with the columns of the contract."
    else:
        fix = f"Send {field}: {column.meaning}{_limits(column)}."
    return InvalidTransaction(_PATH.sub("", message), field=field, fix=fix)


def _limits(column: Column) -> str:
    if column.type == "timestamp":
        return ", RFC 3339 with an offset, such as 2026-01-31T09:30:00Z"
    if column.values:
        return f"; one of {', '.join(column.values)}"
    if column.minimum is not None:
        return f"; {column.minimum:g} to {column.maximum:g}"
    return ""
