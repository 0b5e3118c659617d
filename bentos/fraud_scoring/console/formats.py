"""How values are written on the pages: money, shares, times, durations. Everything is UTC."""

import math
from datetime import UTC, datetime, timedelta

WHOLE_UNITS = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"]
)
THOUSANDTHS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
"""The currencies whose minor unit is not a hundredth (ISO 4217)."""

THIN = "\u202f"
"""A narrow space that does not break, between a number and its unit."""
NOTHING = "–"


def money(cents: int | float | None, currency: str | None = None) -> str:
    """Minor units as an amount: 123456 → 1,234.56."""
    if cents is None:
        return NOTHING
    decimals = 0 if currency in WHOLE_UNITS else 3 if currency in THOUSANDTHS else 2
    whole, rest = divmod(abs(round(cents)), 10**decimals)
    amount = f"{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "")
    return ("−" if cents < 0 else "") + amount + (f" {currency}" if currency else "")


def percent(share: float | None) -> str:
    """A share of one; what is neither 0 nor 1 is not written as if it were."""
    if share is None or not math.isfinite(share):
        return NOTHING
    if 0 < share < 0.001:
        return f"<0.1{THIN}%"
    if 0.999 < share < 1:
        return f">99.9{THIN}%"
    return f"{share * 100:.1f}{THIN}%" if 0 < share < 1 else f"{share * 100:.0f}{THIN}%"


def points(contribution: float) -> str:
    """What is added to a probability, in percentage points, with its sign."""
    sign = "+" if contribution >= 0 else "−"
    return f"{sign}{abs(contribution) * 100:.1f}{THIN}pp"


def number(value: float | None) -> str:
    """A figure with as many digits as say something."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


def figure(value: float | None, kind: str) -> str:
    """A metric of the model page by its kind: share, money or number."""
    if kind == "money":
        return money(value)
    return percent(value) if kind == "share" else number(value)


def duration(seconds: float | None) -> str:
    """1.2 ms, 340 µs, 2.5 s."""
    if seconds is None:
        return NOTHING
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g}{THIN}{unit}"
    return f"{seconds * 1e6:.0f}{THIN}µs"


def moment(us: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def full_time(at: datetime) -> str:
    """2026-01-31 09:30:00 UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def short_time(at: datetime, now: datetime | None = None) -> str:
    """The time of today, else day and time."""
    at, now = at.astimezone(UTC), now or datetime.now(UTC)
    return f"{at:%H:%M:%S}" if at.date() == now.date() else day_time(at)


def day_time(at: datetime) -> str:
    """25 Nov 09:30."""
    return f"{at.astimezone(UTC):%d %b %H:%M}"


def ago(at: datetime, now: datetime | None = None) -> str:
    """How long ago: 5 s, 12 min, 3 h, 4 d."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    if seconds < 0:
        return "ahead"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{THIN}{unit}"
    return f"{int(seconds)}{THIN}s"


def bytes_hex(content: bytes, digits: int = 12) -> str:
    """The start of a digest."""
    return content.hex()[:digits]
