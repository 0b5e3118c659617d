import json
from calendar import timegm
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import InvalidTransaction
from fraud_platform.transactions.request import TransactionDecoder, request_digest, to_microseconds

DECODER = TransactionDecoder(["tenure"])
GOOD = {"transaction_id": "t1", "event_time": "2026-01-31T10:00:00.000001Z", "customer_id": "ann", "amount_cents": 1250}


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_transaction_becomes_columns_with_missing_ones_as_none() -> None:
    event = DECODER.decode(body(tenure=2.5))
    assert event["event_us"] == to_microseconds(datetime(2026, 1, 31, 10, tzinfo=UTC)) + 1
    assert event["tenure"] == 2.5
    assert event["merchant_id"] is None


def test_an_offset_is_converted_to_utc() -> None:
    event = DECODER.decode(body(event_time="2026-01-31T12:00:00.000001+02:00"))
    assert event["event_us"] == DECODER.decode(body())["event_us"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": 12.5}, "amount_cents"),
        ({"amount_cents": "12"}, "amount_cents"),
        ({"amount_cents": 2**63}, "amount_cents"),
        ({"event_time": "2026-01-31T10:00:00"}, "event_time"),
        ({"event_time": "yesterday"}, "event_time"),
        ({"event_time": "1999-12-31T23:59:59Z"}, "event_time"),
        ({"event_time": "2100-01-01T00:00:00Z"}, "event_time"),
        ({"customer_id": ""}, "customer_id"),
        ({"customer_id": "ann\n"}, "customer_id"),
        ({"channel": "online\n"}, "channel"),
        ({"customer_id": None}, "customer_id"),
        ({"merchant_country": "Germany"}, "merchant_country"),
        ({"channel": "carrier pigeon"}, "channel"),
        ({"ip_address": "999.1.1.1"}, "ip_address"),
        ({"latitude": 91}, "latitude"),
        ({"amount": 12}, "amount"),
        ({"tenure": "long"}, "tenure"),
    ],
)
def test_a_broken_field_is_named_with_a_fix(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidTransaction) as refused:
        DECODER.decode(body(**changes))
    assert refused.value.field == field
    assert refused.value.fix


@pytest.mark.parametrize("name", ["transaction_id", "event_time", "customer_id", "amount_cents"])
def test_a_missing_required_field_is_named(name: str) -> None:
    without = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(InvalidTransaction) as refused:
        DECODER.decode(json.dumps(without).encode())
    assert refused.value.field == name


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b'{"transaction_id":"\xff"}', b"NaN", b"[" * 999])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidTransaction):
        DECODER.decode(text)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidTransaction):
        DECODER.decode(body().replace(b"1250", b'1250, "latitude": NaN'))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(text: bytes) -> None:
    with pytest.raises(InvalidTransaction):
        DECODER.decode(text)


def test_the_digest_ignores_order_and_spacing_and_sees_every_value() -> None:
    reordered = json.dumps(dict(reversed(GOOD.items())), indent=2).encode()
    assert request_digest(DECODER.decode(reordered)) == request_digest(DECODER.decode(body()))
    assert request_digest(DECODER.decode(body(amount_cents=1251))) != request_digest(DECODER.decode(body()))


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=offsets))
def test_microseconds_are_exact(moment: datetime) -> None:
    assert to_microseconds(moment) == timegm(moment.utctimetuple()) * 1_000_000 + moment.microsecond


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00"])
def test_a_time_at_the_end_of_the_calendar_is_refused_and_nothing_else(time: str) -> None:
    with pytest.raises(InvalidTransaction) as refused:
        DECODER.decode(body(event_time=time))
    assert refused.value.field == "event_time"


def test_the_digest_of_a_transaction_does_not_change_from_one_version_to_the_next() -> None:
    """Stores hold it: a transaction that is sent again after an update must not be taken for another."""
    digest = request_digest(DECODER.decode(body(merchant_id="m1", latitude=48.25)))
    assert digest.hex() == "cd280cd6110ce25f55f557ceaf913db5e4d08322b909b20c9556f0f3f4596dc0"


class TestAhead:
    """A service that takes events up to an hour ahead of its clock."""

    decoder = TransactionDecoder(ahead_us=3_600_000_000)

    def body(self, ahead: timedelta) -> bytes:
        moment = (datetime.now(UTC) + ahead).isoformat()
        return json.dumps({"transaction_id": "t", "event_time": moment, "customer_id": "c", "amount_cents": 1}).encode()

    def test_an_event_from_the_future_is_refused_and_told_why(self) -> None:
        with pytest.raises(InvalidTransaction, match="more than 60 minutes ahead") as refused:
            self.decoder.decode(self.body(timedelta(minutes=61)))
        assert refused.value.field == "event_time" and refused.value.fix

    @pytest.mark.parametrize("ahead", [timedelta(minutes=59), timedelta(0), timedelta(days=-400)])
    def test_a_clock_that_is_somewhat_fast_is_no_error(self, ahead: timedelta) -> None:
        assert self.decoder.decode(self.body(ahead))["customer_id"] == "c"

    def test_a_replay_may_be_of_any_time(self) -> None:
        assert TransactionDecoder().decode(self.body(timedelta(days=400)))
