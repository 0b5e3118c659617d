"""The shape of a source: where transactions come from, and what their columns mean.

`sources.load_source` makes a `Source` from its YAML file.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from fraud_platform.transactions import contract

ROW_NUMBER = "_row"
"""As the source column of transaction_id: the number of the row in its file, where a source has no ids."""

RESERVED = frozenset(
    {
        "day",
        "event_us",
        "live",
        "known_fraud",
        *contract.TRANSACTION_COLUMNS,
        *(column.name for column in contract.LABEL),
    }
)
"""Names that an attribute cannot take: they are columns of the tables already."""

MAPPABLE = tuple(name for name in contract.TRANSACTION_COLUMNS if name not in ("event_time", "amount_cents"))

EPOCH_MICROSECONDS = {"epoch_h": 3_600_000_000, "epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
"""Microseconds in one count of each epoch format."""


def _word(value: object) -> object:
    """YAML reads 1, 2.0 and true as numbers and booleans; the source's own words are text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float | date) else value


Word = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_word)]


def _known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no such time zone: {zone!r}. Use an IANA name such as UTC, Europe/Berlin, America/New_York"
        ) from error
    return zone


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CsvOptions(_Part):
    """How the lines of a CSV file are cut into fields. A quote inside a quoted field is doubled."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: Literal["utf-8", "latin-1"] = "utf-8"

    @model_validator(mode="after")
    def _different(self) -> Self:
        if self.delimiter == self.quote or {self.delimiter, self.quote} & {"\n", "\r"}:
            raise ValueError("delimiter and quote must be two different characters, neither of them a line end")
        return self


class TimeColumn(_Part):
    """A column that holds a time.

    `format` is a strptime format, `iso`, or `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_h` (counts since
    `origin`, which is 1970-01-01 unless given). `zone` is where the clock stood; times that carry an
    offset of their own, and counts, do not use it.
    """

    column: Word
    format: str = "iso"
    zone: Annotated[str, Field(min_length=1)] = "UTC"
    origin: date = date(1970, 1, 1)

    _zone = field_validator("zone")(_known_zone)

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value in ("iso", *EPOCH_MICROSECONDS) or "%" in value:
            return value
        raise ValueError(
            f"{value!r} is no time format. Use iso, {', '.join(EPOCH_MICROSECONDS)}, or a strptime "
            "format such as %d.%m.%Y %H:%M:%S"
        )


class AmountColumn(_Part):
    """The column that holds the amount, in major units (12.50) or minor units (1250)."""

    column: Word
    unit: Literal["major", "minor"] = "major"
    decimals: Annotated[int, Field(ge=0, le=8)] = 2
    decimal_mark: Literal[".", ","] = "."

    @property
    def places(self) -> int:
        """Decimal places that a value may have."""
        return self.decimals if self.unit == "major" else 0


class AttributeColumn(_Part):
    """A column beyond the contract that the source brings along."""

    column: Word
    type: Literal["number", "text"]


class VerdictColumn(_Part):
    """The column that says whether a transaction was fraud.

    Where `fraud_values` are booleans (1, true, yes …) anything but their opposites is unreadable;
    where they are other words, every other word means legitimate, unless `legitimate_values` lists them.
    """

    column: Word
    fraud_values: tuple[Word, ...] = Field(("1", "true"), min_length=1)
    legitimate_values: tuple[Word, ...] | None = None

    @property
    def legitimate(self) -> tuple[str, ...] | None:
        """The lower-case words that mean legitimate; None: every word that does not mean fraud."""
        if self.legitimate_values is not None:
            return tuple(word.lower() for word in self.legitimate_values)
        boolean = {word.lower() for word in self.fraud_values} <= {"1", "true", "t", "yes", "y"}
        return ("0", "false", "f", "no", "n") if boolean else None


class TextColumn(_Part):
    """A column that is taken over as text."""

    column: Word


class Labels(_Part):
    """What the source knows about fraud, and when it became known.

    Without `reported_at` a fraud counts as reported `delay_days` after the transaction.
    """

    is_fraud: VerdictColumn
    fraud_type: TextColumn | None = None
    reported_at: TimeColumn | None = None
    delay_days: Annotated[int, Field(ge=0, le=3650)] = 7
    source: Literal["chargeback", "analyst", "customer", "simulated"] = "chargeback"


class Source(_Part):
    """One source of transactions, as its YAML file describes it."""

    name: str
    file: Path
    description: str = ""
    format: Literal["csv", "parquet", "simulator"]
    path: str = ""
    csv: CsvOptions = CsvOptions()
    first_day: date
    last_day: date | None = None
    event_time: TimeColumn
    amount: AmountColumn
    columns: dict[str, Word]
    values: dict[str, dict[Word, Word]] = {}
    attributes: dict[str, AttributeColumn] = {}
    labels: Labels | None = None
    simulator: dict[str, Any] | None = None

    @property
    def present(self) -> frozenset[str]:
        """The columns of the contract that the source gives."""
        return frozenset(self.columns) | {"event_time", "amount_cents"}

    def has_days(self, first: date, last: date) -> bool:
        """Whether any day in [first, last] is one of the source's own; live transactions have days beyond them."""
        return last >= self.first_day and (self.last_day is None or first <= self.last_day)

    @property
    def used_columns(self) -> dict[str, str]:
        """Source column of each key of the YAML file that names one."""
        used = {"event_time.column": self.event_time.column, "amount.column": self.amount.column}
        used |= {f"columns.{name}": column for name, column in self.columns.items() if column != ROW_NUMBER}
        used |= {f"attributes.{name}.column": attribute.column for name, attribute in self.attributes.items()}
        if self.labels:
            for key in ("is_fraud", "fraud_type", "reported_at"):
                part = getattr(self.labels, key)
                if part is not None:
                    used[f"labels.{key}.column"] = part.column
        return used
