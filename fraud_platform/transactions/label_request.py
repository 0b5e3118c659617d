"""One label as a client reports it: JSON, checked against the contract."""

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from fraud_platform.errors import InvalidTransaction
from fraud_platform.transactions.contract import EARLIEST_EVENT, IDENTIFIER, LABEL
from fraud_platform.transactions.request import to_microseconds

FRAUD_TYPE = r"^[a-z][a-z0-9_]{0,62}\Z"
_FIELD = re.compile(r"(at `\$\.|field `)(?P<field>[A-Za-z0-9_]+)`")
_MEANINGS = {column.name: column.meaning for column in LABEL}


class LabelReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became known about a transaction.

    Attributes:
        reported_at: when it became known, RFC 3339 with an offset; default: now.
    """

    transaction_id: Annotated[str, msgspec.Meta(pattern=IDENTIFIER.removesuffix("$") + r"\Z")]
    is_fraud: bool
    reported_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    source: Literal["chargeback", "analyst", "customer"] = "chargeback"
    fraud_type: Annotated[str, msgspec.Meta(pattern=FRAUD_TYPE)] | None = None

    @property
    def reported_us(self) -> int:
        """When it became known, microseconds."""
        return time.time_ns() // 1000 if self.reported_at is None else to_microseconds(self.reported_at)


_DECODER = msgspec.json.Decoder(LabelReport)
_EARLIEST = datetime.fromisoformat(EARLIEST_EVENT).replace(tzinfo=UTC)


def decode_label(body: bytes, ahead_us: int) -> LabelReport:
    """The report that a request's body holds.

    Args:
        ahead_us: how far ahead of this machine's clock it may have been reported, microseconds.

    Raises:
        InvalidTransaction: saying which field is wrong and how to mend it.
    """
    try:
        report = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        field = found["field"] if found else None
        meaning = _MEANINGS.get(field or "")
        fix = f"Send {field}: {meaning}." if meaning else "Send one JSON object with transaction_id and is_fraud."
        raise InvalidTransaction(str(error), field, fix) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidTransaction(f"The body is not JSON: {error}.", fix="Send one JSON object in UTF-8.") from error
    if report.reported_at is not None:
        _check_time(report.reported_at, ahead_us)
    return report


def _check_time(reported_at: datetime, ahead_us: int) -> None:
    """A report from the future would let a label be used before it was known."""
    fix = "Send when the verdict became known, RFC 3339 with an offset, or leave reported_at out for now."
    if reported_at < _EARLIEST:
        raise InvalidTransaction(
            f"reported_at {reported_at.isoformat()} is before {EARLIEST_EVENT}", "reported_at", fix
        )
    if to_microseconds(reported_at) > time.time_ns() // 1000 + ahead_us:
        minutes = ahead_us // 60_000_000
        raise InvalidTransaction(
            f"reported_at {reported_at.isoformat()} is more than {minutes} minutes ahead of the service's clock",
            "reported_at",
            fix,
        )
