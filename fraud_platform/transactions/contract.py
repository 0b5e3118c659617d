"""The contract: every column of a transaction and of a label, with type, unit and limits.

The row rules, the expectation suite, the table schemas in the Dagster UI and the service's
request check are all generated from the two lists in this module.
"""

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["string", "timestamp", "int64", "float64", "bool"]

IDENTIFIER = r"^[\x21-\x7E](?:[\x20-\x7E]{0,126}[\x21-\x7E])?$"
COUNTRY = r"^[A-Z]{2}$"
IP_ADDRESS = r"^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+)$"
CHANNELS = ("in_person", "online", "atm", "phone", "transfer")

EARLIEST_EVENT = "2000-01-01"
"""An event before this day is a parsing mistake (epoch zero, two-digit years), not a payment."""

LATEST_EVENT = "2100-01-01"
"""An event from this day on is a parsing mistake too, and would push all earlier events out of every window."""

MAX_AMOUNT_CENTS = 10**12
"""Ten thousand million major units: a larger amount is a unit mistake. Sums of nine million such
payments of one key stay within int64; moments use the catalog's capped amount."""


@dataclass(frozen=True)
class Column:
    """One column of the contract.

    `pattern` is a regular expression that a non-null string must match from start to end;
    `values` lists the only strings allowed; `minimum` and `maximum` are inclusive, in the
    column's unit.
    """

    name: str
    type: ColumnType
    meaning: str
    required: bool = False
    pattern: str | None = None
    values: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None


TRANSACTION: tuple[Column, ...] = (
    Column("transaction_id", "string", "unique; the idempotency key everywhere", required=True, pattern=IDENTIFIER),
    Column("event_time", "timestamp", "when it happened, UTC, microseconds", required=True),
    Column("customer_id", "string", "the account or card holder", required=True, pattern=IDENTIFIER),
    Column("amount_cents", "int64", "amount in minor units", required=True, minimum=1, maximum=MAX_AMOUNT_CENTS),
    Column("merchant_id", "string", "the shop, terminal or payee", pattern=IDENTIFIER),
    Column("merchant_category", "string", "what it sells: a name or MCC", pattern=r"^[A-Za-z0-9_ &/.-]{1,64}$"),
    Column("merchant_country", "string", "ISO 3166-1 alpha-2", pattern=COUNTRY),
    Column("currency", "string", "ISO 4217", pattern=r"^[A-Z]{3}$"),
    Column("channel", "string", "how the payment was made", values=CHANNELS),
    Column("device_id", "string", "the device that was used", pattern=IDENTIFIER),
    Column("ip_address", "string", "IPv4 or IPv6 address of the device", pattern=IP_ADDRESS),
    Column("card_id", "string", "the card that was used", pattern=IDENTIFIER),
    Column("home_country", "string", "the customer's country, ISO 3166-1 alpha-2", pattern=COUNTRY),
    Column("latitude", "float64", "degrees north of where it happened", minimum=-90, maximum=90),
    Column("longitude", "float64", "degrees east of where it happened", minimum=-180, maximum=180),
    Column("home_latitude", "float64", "degrees north of the customer's home", minimum=-90, maximum=90),
    Column("home_longitude", "float64", "degrees east of the customer's home", minimum=-180, maximum=180),
)

LABEL_SOURCES = ("chargeback", "analyst", "customer", "simulated")

LABEL: tuple[Column, ...] = (
    Column("transaction_id", "string", "the transaction that the label is about", required=True, pattern=IDENTIFIER),
    Column("is_fraud", "bool", "the verdict", required=True),
    Column("reported_at", "timestamp", "when the verdict became KNOWN, UTC, microseconds", required=True),
    Column("source", "string", "who said so", required=True, values=LABEL_SOURCES),
    Column("fraud_type", "string", "the kind of fraud, where it is known"),
)

TRANSACTION_COLUMNS: dict[str, Column] = {column.name: column for column in TRANSACTION}
REQUIRED: tuple[str, ...] = tuple(column.name for column in TRANSACTION if column.required)
OPTIONAL: tuple[str, ...] = tuple(column.name for column in TRANSACTION if not column.required)

DUCKDB_TYPES: dict[ColumnType, str] = {
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
}
