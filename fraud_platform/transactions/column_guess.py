"""Guess what the columns of an unknown file mean, from their names, types and a sample of their values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fraud_platform.transactions import contract
from fraud_platform.transactions.mapping import FLOATS, INTEGERS, TIMES, ZONED_TIMES

NAMES: dict[str, str] = {
    "transaction_id": r"trans(action)?_?(id|num|no|nr|number|ref|reference)|(tx|txn|payment|order|"
    "event)_?(id|number)|id|uuid",
    "customer_id": r"(customer|client|account|user|cardholder|cust|sender|payer)(_?(id|number|no|nr|"
    "key))?|name_?orig|cc_?num(ber)?|card_?(id|num|number|no|1)|konto(nummer)?|kunde(n_?nr)?",
    "merchant_id": r"(merchant|terminal|shop|store|payee|receiver|beneficiary|seller)(_?(id|name|"
    "number|no|key))?|name_?dest|haendler(_?id)?",
    "merchant_category": r"(merchant_?)?(category|mcc|category_?code)|product_?cd",
    "merchant_country": r"(merchant|merch|acquirer|terminal|shop)?_?country(_?code)?|land",
    "home_country": r"(customer|card|cardholder|issuer|home|billing|client)_?country(_?code)?",
    "currency": r"(tx_?|transaction_?)?(currency|ccy)(_?code)?|waehrung",
    "channel": r"(tx_?|payment_?|transaction_?)?channel|entry_?mode|pos_?entry_?mode",
    "device_id": r"device(_?id)?",
    "ip_address": r"(client_?|customer_?|device_?)?ip(_?addr(ess)?)?",
    "card_id": r"card_?(id|num|number|no|1)|cc_?num(ber)?|pan",
    "latitude": r"(merch(ant)?|terminal|tx)_?lat(itude)?",
    "longitude": r"(merch(ant)?|terminal|tx)_?(lon|long|lng|longitude)",
    "home_latitude": r"(home_?|customer_?)?lat(itude)?",
    "home_longitude": r"(home_?|customer_?)?(lon|long|lng|longitude)",
}
"""Names, in lower case, by which each column of the contract goes in the wild."""

AMOUNT = r"(tx|txn|trans|transaction|payment)?_?(amount|amt|value|betrag|sum)(_?(cents|minor|usd|eur|gbp|in_?cents))?"
TIME = (
    r"(tx|txn|trans|transaction|event|payment|buchungs)?_?(date_?time|time_?stamp|dt|time|date|zeit|"
    r"datum|zeitpunkt|ts|at)|trans_date_trans_time|created(_?at)?|occurred_?at|when|step|unix_?time"
)
LABEL = r"(tx|txn|transaction)?_?(is_?)?(fraud|fraudulent)(_?(label|flag|bool|ind))?|label|class|target"
FRAUD_TYPE = r"(tx_?)?(fraud_?)(type|kind|scenario|class|category)"

TIME_FORMATS = (
    *(
        f"{day} {clock}"
        for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d")
        for clock in ("%H:%M:%S", "%H:%M")
    ),
    *(
        "%Y%m%d%H%M%S",
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%Y%m%d",
        "%d/%m/%y %H:%M",
        "%m/%d/%y %H:%M",
        "%b %d %Y %H:%M:%S",
    ),
)

CHANNEL_WORDS = {
    "in_person": {
        "pos",
        "chip",
        "swipe",
        "in_person",
        "in-person",
        "in_store",
        "instore",
        "store",
        "card_present",
        "cp",
        "contactless",
    },
    "online": {"web", "online", "ecommerce", "e-commerce", "internet", "app", "mobile", "cnp", "card_not_present"},
    "atm": {"atm", "cash"},
    "phone": {"phone", "telephone", "moto"},
    "transfer": {"transfer", "wire", "sepa", "ach", "instant"},
}


@dataclass(frozen=True)
class SampledColumn:
    """A column of the file: its DuckDB type and sampled values as text, None where missing."""

    name: str
    type: str
    values: Sequence[str | None]

    @property
    def present(self) -> list[str]:
        """The values that are there."""
        return [value for value in self.values if value is not None]

    @property
    def is_number(self) -> bool:
        """Whether every value is a plain decimal number."""
        if self.type in INTEGERS | FLOATS or self.type.startswith("DECIMAL"):
            return True
        return (
            self.type == "VARCHAR"
            and bool(self.present)
            and all(re.fullmatch(r"[+-]?\d[\d.,]*", value) for value in self.present)
        )


@dataclass(frozen=True)
class TimeGuess:
    """A time column, its format, and what to tell the reader about the guess."""

    column: str
    format: str
    note: str = ""
    origin: str | None = None


def named(
    columns: Sequence[SampledColumn], pattern: str, fits: Callable[[SampledColumn], bool]
) -> SampledColumn | None:
    """The first column whose whole name matches and whose values fit."""
    return next((column for column in columns if re.fullmatch(pattern, column.name.lower()) and fits(column)), None)


def guess_columns(columns: Sequence[SampledColumn]) -> dict[str, str]:
    """Contract column to source column, for those whose name and values both fit the contract."""
    guessed: dict[str, str] = {}
    for name, pattern in NAMES.items():
        found = named(columns, pattern, _fits(contract.TRANSACTION_COLUMNS[name]))
        if found is not None and (found.name not in guessed.values() or name == "card_id"):
            guessed[name] = found.name
    # A place without a merchant's place beside it is where the payment happened.
    for place in ("latitude", "longitude"):
        if place not in guessed and f"home_{place}" in guessed:
            guessed[place] = guessed.pop(f"home_{place}")
    if guessed.get("card_id") == guessed.get("customer_id"):
        guessed.pop("card_id", None)
    return guessed


def _fits(column: contract.Column) -> Callable[[SampledColumn], bool]:
    def check(sampled: SampledColumn) -> bool:
        values = sampled.present
        if not values:
            return False
        if column.name == "transaction_id" and len(set(values)) < len(sampled.values):
            return False
        if column.values:
            return channel_words(sampled) is not None
        if column.type == "float64":
            return sampled.is_number
        return column.pattern is None or sum(
            bool(re.fullmatch(column.pattern, value)) for value in values
        ) >= 0.95 * len(values)

    return check


def channel_words(column: SampledColumn) -> dict[str, str] | None:
    """The source's words for channels in the contract's, or None where one is not known."""
    words: dict[str, str] = {}
    for value in dict.fromkeys(column.present):
        meaning = next((name for name, known in CHANNEL_WORDS.items() if value.lower() in known), None)
        if meaning is None:
            return None
        words[value] = meaning
    return words


def guess_label(columns: Sequence[SampledColumn]) -> tuple[SampledColumn, list[str]] | None:
    """The label column and its words for fraud: two words at most, of which the rarer one is fraud."""

    def fits(column: SampledColumn) -> bool:
        words = {value.lower() for value in column.present}
        return 0 < len(words) <= 2 and words <= {
            "0",
            "1",
            "true",
            "false",
            "yes",
            "no",
            "y",
            "n",
            "t",
            "f",
            "0.0",
            "1.0",
        }

    found = named(columns, LABEL, fits)
    if found is None:
        return None
    numeric = {value.lower() for value in found.present} <= {"0", "1", "0.0", "1.0"}
    return found, ["1"] if numeric else sorted({value for value in found.present if value[0].lower() in "ty"}) or [
        "true"
    ]


def guess_amount(columns: Sequence[SampledColumn]) -> SampledColumn | None:
    """The amount column."""
    return named(columns, AMOUNT, lambda column: column.is_number)


def decimal_mark(columns: Sequence[SampledColumn]) -> str:
    """',' where numbers of text columns end in a comma and digits, and none in a point and digits."""
    texts = [value for column in columns if column.type == "VARCHAR" and column.is_number for value in column.present]
    commas = sum(bool(re.fullmatch(r"[+-]?[\d.]*,\d{1,2}", value)) for value in texts)
    points = sum(bool(re.fullmatch(r"[+-]?[\d,]*\.\d{1,2}", value)) for value in texts)
    return "," if commas > points else "."


def decimals_seen(column: SampledColumn, mark: str) -> int:
    """The most decimal places that a value of the sample has."""
    fractions = (value.partition(mark if column.type == "VARCHAR" else ".")[2].rstrip("0") for value in column.present)
    return min(8, max((len(fraction) for fraction in fractions if fraction.isdigit()), default=0))


def guess_time(columns: Sequence[SampledColumn]) -> TimeGuess | None:
    """The column of the event time: a named one that is a time first, then a count, then any column of times."""
    likely = [column for column in columns if re.fullmatch(TIME, column.name.lower())]
    guesses = [guess for column in likely if (guess := _time_format(column)) is not None]
    guesses.sort(key=lambda guess: guess.origin is not None)
    if guesses:
        return guesses[0]
    others = (_time_format(column) for column in columns if column.type in TIMES | ZONED_TIMES or not column.is_number)
    return next((guess for guess in others if guess is not None), None)


def _time_format(column: SampledColumn) -> TimeGuess | None:
    if column.type in TIMES | ZONED_TIMES:
        return TimeGuess(column.name, "iso", "" if column.type in ZONED_TIMES else "GUESS: the clock stood in UTC")
    if not column.present:
        return None
    if column.is_number and not re.fullmatch(r"\d{8}|\d{14}", column.present[0]):
        return _count(column)
    if all(_is_iso(value) for value in column.present):
        has_offset = bool(re.search(r":.*(?:[Zz]|[+-]\d\d:?\d\d)$", column.present[0]))
        return TimeGuess(column.name, "iso", "" if has_offset else "GUESS: the clock stood in UTC")
    matching = [format_ for format_ in TIME_FORMATS if all(_parses(value, format_) for value in column.present)]
    if not matching:
        return None
    note = "GUESS: the clock stood in UTC"
    if len(matching) > 1:
        note += f"; {' or '.join(matching)} would fit too" if len(matching) == 2 else "; other formats would fit too"
    return TimeGuess(column.name, matching[0], note)


def _count(column: SampledColumn) -> TimeGuess | None:
    try:
        largest = max(float(value) for value in column.present)
    except ValueError:
        return None
    for format_, low, high in (("epoch_s", 9.4e8, 4.2e9), ("epoch_ms", 9.4e11, 4.2e12), ("epoch_us", 9.4e14, 4.2e15)):
        if low <= largest < high:
            return TimeGuess(column.name, format_)
    if largest >= 9.4e8:
        return None
    hours = column.name.lower() == "step"
    note = f"GUESS: {'hours' if hours else 'seconds'} since an unknown start; set `origin` to the real one"
    return TimeGuess(column.name, "epoch_h" if hours else "epoch_s", note, origin="2020-01-01")


def _is_iso(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return "-" in value


def _parses(value: str, format_: str) -> bool:
    try:
        datetime.strptime(value, format_)
    except ValueError:
        return False
    return True
