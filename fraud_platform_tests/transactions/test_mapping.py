"""Mapping: amounts and times as SQL, held against Python's decimal and zoneinfo."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fraud_platform.transactions.mapping import amount_value, as_text, literal, time_value
from fraud_platform.transactions.source_schema import AmountColumn, TimeColumn

SqlEach = Callable[..., list[object]]


@pytest.fixture(scope="module")
def sql_each() -> Iterator[SqlEach]:
    """The value of a SQL expression over `c` for each value. DuckDB is opened once: that takes longer than a SELECT."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def select(expression: str, values: list[str], type_: str = "VARCHAR") -> list[object]:
            rows = ", ".join(f"({number}, CAST({literal(value)} AS {type_}))" for number, value in enumerate(values))
            found = connection.execute(f"SELECT {expression} FROM (VALUES {rows}) t(i, c) ORDER BY i").fetchall()
            return [row[0] for row in found]

        yield select


def cents_by_decimal(text: str, mark: str, places: int) -> int | None:
    """The naive reference: the text as a Decimal, or None where it is not that many minor units."""
    thousands = "," if mark == "." else "."
    whole, _, fraction = text.partition(mark)
    if thousands in whole and not re.fullmatch(rf"[+-]?\d{{1,3}}(\{thousands}\d{{3}})+", whole):
        return None
    if not re.fullmatch(r"[+-]?\d*", whole.replace(thousands, "")) or not re.fullmatch(r"\d*", fraction):
        return None
    if not re.search(r"\d", whole) and not fraction:
        return None
    cents = Decimal(
        f"{whole.replace(thousands, '') if re.search(r'[0-9]', whole) else whole + '0'}.{fraction or '0'}"
    ).scaleb(places)
    return int(cents) if cents == cents.to_integral_value() else None


AMOUNTS = st.from_regex(r"[+-]?[0-9]{0,9}[.,]?[0-9]{0,4}", fullmatch=True) | st.from_regex(
    r"-?[0-9]{1,3}([.,][0-9]{3}){0,3}([.,][0-9]{1,3})?", fullmatch=True
)


TRICKY = ["1.234,50", "1,234.50", "12.345", "0.1", ".5", "-.5", "5.", "1.230", "12.3400", "+7", "-0.5", "1.2.3", "1,23"]


@settings(max_examples=30)
@example(
    texts=TRICKY,
    mark=".",
    places=2,
)
@given(
    texts=st.lists(AMOUNTS.filter(lambda text: text not in ("", "+", "-")), min_size=1, max_size=40),
    mark=st.sampled_from([".", ","]),
    places=st.integers(0, 4),
)
def test_amount_text_becomes_the_minor_units_that_decimal_arithmetic_gives(
    sql_each: SqlEach, texts: list[str], mark: str, places: int
) -> None:
    amount = AmountColumn(column="c", decimals=places, decimal_mark=mark)  # type: ignore[arg-type]
    assert sql_each(amount_value(amount, "c", "VARCHAR"), texts) == [
        cents_by_decimal(text, mark, places) for text in texts
    ]


@settings(max_examples=30)
@given(cents=st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=40), places=st.integers(0, 4))
def test_double_that_prints_as_a_decimal_becomes_exactly_its_minor_units(
    sql_each: SqlEach, cents: list[int], places: int
) -> None:
    doubles = [repr(float(Decimal(value).scaleb(-places))) for value in cents]
    amount = AmountColumn(column="c", decimals=places)
    assert sql_each(amount_value(amount, "c", "DOUBLE"), doubles, "DOUBLE") == cents


@pytest.mark.parametrize(
    ("value", "type_", "cents"),
    [
        ("0.30000000000000004", "DOUBLE", 30),
        ("12.345", "DOUBLE", None),
        ("0.001", "DOUBLE", None),
        ("1e-5", "DOUBLE", None),
        ("nan", "DOUBLE", None),
        ("inf", "DOUBLE", None),
        ("12.34", "FLOAT", 1234),
        ("12.30", "DECIMAL(9,4)", 1230),
        ("12.3456", "DECIMAL(9,4)", None),
        ("12", "INTEGER", 1200),
        ("1e3", "VARCHAR", None),
        ("282.40000000000003", "VARCHAR", 28240),
        ("282.39999999999998", "VARCHAR", 28240),
        ("282.40300000000003", "VARCHAR", None),
        ("12345678901234567890.12", "VARCHAR", 1234567890123456789012),
        ("12 EUR", "VARCHAR", None),
        (" 12.00 ", "VARCHAR", 1200),
    ],
)
def test_amount_of_each_type(sql_each: SqlEach, value: str, type_: str, cents: int | None) -> None:
    assert sql_each(amount_value(AmountColumn(column="c"), "c", type_), [value], type_) == [cents]


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        ("596", "BIGINT", "596"),
        ("596.0", "DOUBLE", "596"),
        ("596.5", "DOUBLE", "596.5"),
        ("nan", "DOUBLE", None),
        ("596.00", "DECIMAL(9,2)", "596"),
        ("9007199254740993", "BIGINT", "9007199254740993"),
        ("", "VARCHAR", None),
        ("  ", "VARCHAR", None),
        (" a b ", "VARCHAR", "a b"),
        ("true", "BOOLEAN", "true"),
    ],
)
def test_identifier_of_each_type_becomes_text(sql_each: SqlEach, value: str, type_: str, text: str | None) -> None:
    assert sql_each(as_text("c", type_), [value], type_) == [text]


def utc_by_zoneinfo(local: datetime, zone: str) -> datetime | None:
    """The naive reference: the first instant at which the clock showed this, or None where it never did."""
    instant = local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
    shown = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return instant.replace(tzinfo=None) if shown == local else None


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "UTC",
)
NEAR_CHANGES = [
    datetime(2026, 3, 29),
    datetime(2026, 10, 25),
    datetime(2026, 3, 8),
    datetime(2026, 11, 1),
    datetime(2026, 4, 5),
    datetime(2026, 10, 4),
]


@settings(max_examples=40)
@given(
    zone=st.sampled_from(ZONES),
    times=st.lists(
        st.datetimes(datetime(2001, 1, 1), datetime(2037, 1, 1))
        | st.builds(
            lambda base, minutes: base + timedelta(minutes=minutes), st.sampled_from(NEAR_CHANGES), st.integers(0, 300)
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_local_time_becomes_the_utc_time_that_zoneinfo_gives(
    sql_each: SqlEach, zone: str, times: list[datetime]
) -> None:
    value = time_value(TimeColumn(column="c", zone=zone), "c", "TIMESTAMP")
    assert sql_each(value, [time.isoformat(" ") for time in times], "TIMESTAMP") == [
        utc_by_zoneinfo(time, zone) for time in times
    ]


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("2026-03-01T10:00:00Z", {"zone": "Europe/Berlin"}, datetime(2026, 3, 1, 10)),
        ("2026-03-01T10:00:00+02:00", {}, datetime(2026, 3, 1, 8)),
        ("2026-03-01 10:00:00 -0500", {}, datetime(2026, 3, 1, 15)),
        ("2026-03-01", {}, datetime(2026, 3, 1)),
        ("2026-03-01 10:00:00.123456", {}, datetime(2026, 3, 1, 10, 0, 0, 123456)),
        ("2026-02-30 10:00:00", {}, None),
        ("1772323200", {"format": "epoch_s"}, datetime(2026, 3, 1)),
        ("1772323200.5", {"format": "epoch_s"}, datetime(2026, 3, 1, 0, 0, 0, 500000)),
        ("1772323200123", {"format": "epoch_ms"}, datetime(2026, 3, 1, 0, 0, 0, 123000)),
        ("1772323200123456", {"format": "epoch_us"}, datetime(2026, 3, 1, 0, 0, 0, 123456)),
        ("99999999999999999999", {"format": "epoch_s"}, None),
        ("25", {"format": "epoch_h", "origin": date(2026, 3, 1)}, datetime(2026, 3, 2, 1)),
        ("01.03.2026 10:00", {"format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}, datetime(2026, 3, 1, 9)),
        ("01.03.2026 10:00 +0300", {"format": "%d.%m.%Y %H:%M %z"}, datetime(2026, 3, 1, 7)),
    ],
)
def test_time_of_each_format(
    sql_each: SqlEach, text: str, column: dict[str, object], expected: datetime | None
) -> None:
    time = TimeColumn.model_validate({"column": "c", **column})
    assert sql_each(time_value(time, "c", "VARCHAR"), [text]) == [expected]


def test_zoned_parquet_time_ignores_the_zone_of_the_source(sql_each: SqlEach) -> None:
    value = time_value(TimeColumn(column="c", zone="Asia/Kolkata"), "c", "TIMESTAMP WITH TIME ZONE")
    assert sql_each(value, ["2026-03-01 10:00:00+01:00"], "TIMESTAMPTZ") == [datetime(2026, 3, 1, 9)]
