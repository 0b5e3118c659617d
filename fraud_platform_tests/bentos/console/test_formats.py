"""How values are written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bentos.fraud_scoring.console import formats

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cents", "currency", "written"),
    [
        (123_456, "EUR", "1,234.56 EUR"),
        (5, "USD", "0.05 USD"),
        (0, None, "0.00"),
        (-20_100, None, "−201.00"),
        (1_485, "JPY", "1,485 JPY"),
        (1_485, "KWD", "1.485 KWD"),
        (10**12, "XXX", "10,000,000,000.00 XXX"),
        (797_085.4, None, "7,970.85"),
        (None, "EUR", "–"),
    ],
)
def test_money(cents: float | None, currency: str | None, written: str) -> None:
    assert formats.money(cents, currency) == written


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.0004, "<0.1 %"),
        (0.9999, ">99.9 %"),
        (0.123, "12.3 %"),
        (0.999, "99.9 %"),
        (1.4, "140 %"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_percent(share: float | None, written: str) -> None:
    assert formats.percent(share).replace(formats.THIN, " ") == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1234, "1,234"),
        (0.0123456, "0.01235"),
        (59.142, "59.14"),
        (1234.56, "1,234.6"),
        (None, "–"),
        (float("inf"), "–"),
    ],
)
def test_number(value: float | None, written: str) -> None:
    assert formats.number(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"), [(2.5, "2.5 s"), (0.00123, "1.23 ms"), (0.00034, "340 µs"), (0, "0 µs"), (None, "–")]
)
def test_duration(seconds: float | None, written: str) -> None:
    assert formats.duration(seconds).replace(formats.THIN, " ") == written


def test_times_are_utc_and_exact() -> None:
    at = datetime(2026, 3, 1, 1, 30, 5, tzinfo=timezone(timedelta(hours=2)))
    assert formats.full_time(at) == "2026-02-28 23:30:05 UTC"
    assert formats.short_time(at, NOW) == "28 Feb 23:30"
    assert formats.short_time(NOW, NOW) == "12:00:00"
    assert formats.moment(1_772_366_400_000_001) == NOW + timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("before", "written"),
    [
        (timedelta(seconds=5), "5 s"),
        (timedelta(minutes=61), "1 h"),
        (timedelta(days=3), "3 d"),
        (timedelta(minutes=-1), "ahead"),
    ],
)
def test_ago(before: timedelta, written: str) -> None:
    assert formats.ago(NOW - before, NOW).replace(formats.THIN, " ") == written


def test_points_have_a_sign() -> None:
    assert [formats.points(of)[0] for of in (0.1, 0.0, -0.1)] == ["+", "+", "−"]
