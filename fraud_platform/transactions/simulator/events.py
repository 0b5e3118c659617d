"""Payments as parallel NumPy arrays of codes, and their translation into the contract's columns."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from fraud_platform.transactions.contract import CHANNELS, TRANSACTION
from fraud_platform.transactions.simulator.identifiers import NONE, dotted, names
from fraud_platform.transactions.simulator.population import Population
from fraud_platform.transactions.simulator.streams import FloatArray, IntArray, day_of
from fraud_platform.transactions.simulator.world import (
    CATEGORIES,
    CATEGORY_NAMES,
    CITY_LATITUDE,
    CITY_LONGITUDE,
    COUNTRIES,
    COUNTRY_CODES,
)

UNLOCATED_SHARE = 0.12
"""Share of the remote payments whose place nobody knows."""

POLARS_TYPES = {"string": pl.String, "timestamp": pl.Datetime("us"), "int64": pl.Int64, "float64": pl.Float64}

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **{column.name: POLARS_TYPES[column.type] for column in TRANSACTION},
    "is_fraud": pl.Boolean,
    "fraud_type": pl.String,
    "reported_at": pl.Datetime("us"),
}
"""The columns of a simulated day: the contract's, then the truth and when it became known."""


@dataclass(frozen=True)
class Events:
    """Payments, one entry each.

    `time` and `reported` are microseconds since 1970 UTC; `customer`, `device` and `card` are
    numbers of `identifiers`; `merchant` indexes the population; `country` indexes
    `world.COUNTRIES`; `fraud` indexes the fraud kinds. NONE means: there is none.
    """

    time: IntArray
    customer: IntArray
    amount: IntArray
    merchant: IntArray
    device: IntArray
    ip: IntArray
    card: IntArray
    country: IntArray
    latitude: FloatArray
    longitude: FloatArray
    home_latitude: FloatArray
    home_longitude: FloatArray
    fraud: IntArray
    reported: IntArray

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: npt.NDArray[np.generic] | slice) -> Self:
        """The rows of an index array, a mask or a slice."""
        return replace(self, **{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def concatenated(parts: list[Events]) -> Events:
    """All parts, one after the other."""
    return Events(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Events)})


@dataclass(frozen=True)
class Homes:
    """Where the payers live, one entry a payment."""

    country: IntArray
    latitude: FloatArray
    longitude: FloatArray


def homes_of(people: Population, customer: IntArray) -> Homes:
    """The homes of customers of the population."""
    c = people.customers
    return Homes(c.country[customer], c.latitude[customer], c.longitude[customer])


def payments(
    rng: np.random.Generator,
    people: Population,
    *,
    time: IntArray,
    customer: IntArray,
    amount: IntArray,
    merchant: IntArray,
    device: IntArray,
    ip: IntArray,
    card: IntArray,
    seen_in: IntArray,
    homes: Homes | None = None,
    fraud: int = NONE,
) -> Events:
    """Payments whose channel, and so whose missing fields, follow from the merchant.

    Args:
        seen_in: the city that a remote payment seems to come from; in person it is the merchant's.
        homes: the payers' homes where they are not customers of the population.
    """
    merchants, count = people.merchants, len(time)
    remote, channel = merchants.remote[merchant], merchants.channel[merchant]
    homes = homes or homes_of(people, customer)
    offsets = rng.normal(0, 0.12, (2, count))
    hidden = remote & (rng.random(count) < UNLOCATED_SHARE)
    latitude = np.where(remote, CITY_LATITUDE[seen_in] + offsets[0], merchants.latitude[merchant])
    longitude = np.where(remote, CITY_LONGITUDE[seen_in] + offsets[1], merchants.longitude[merchant])
    return Events(
        time=time,
        customer=customer,
        amount=amount,
        merchant=merchant,
        device=np.where(remote & (channel != CHANNELS.index("phone")), device, NONE),
        ip=np.where(remote & (channel != CHANNELS.index("phone")), ip, NONE),
        card=np.where(channel == CHANNELS.index("transfer"), NONE, card),
        country=homes.country,
        latitude=np.where(hidden, np.nan, latitude),
        longitude=np.where(hidden, np.nan, longitude),
        home_latitude=homes.latitude,
        home_longitude=homes.longitude,
        fraud=np.full(count, fraud, dtype=np.int64),
        reported=np.full(count, NONE, dtype=np.int64),
    )


MEDIAN = np.array([category.median for category in CATEGORIES])
SPREAD = np.array([category.spread for category in CATEGORIES])


def amounts(rng: np.random.Generator, people: Population, merchant: IntArray, level: FloatArray) -> IntArray:
    """Amounts in cents: log-normal about the category's median, the merchant's price and a level.

    A part of them ends in .00, .99 or .50 as prices do.
    """
    category = people.merchants.category[merchant]
    major = MEDIAN[category] * people.merchants.price[merchant] * level
    cents = 100 * major * np.exp(SPREAD[category] * rng.standard_normal(len(merchant)))
    ending = rng.random(len(merchant))
    cash = category == CATEGORY_NAMES.index("cash")
    whole = np.maximum(np.round(cents / 100), 1) * 100
    cents = np.select(
        [cash, ending < 0.18, ending < 0.36, ending < 0.42],
        [np.maximum(np.round(cents / 1000), 1) * 1000, whole, whole - 1, whole - 50],
        np.round(cents),
    )
    return np.clip(cents, 30, 5_000_000).astype(np.int64)


def to_frame(events: Events, people: Population, day: int, fraud_kinds: tuple[str, ...]) -> pl.DataFrame:
    """The events of one day, sorted by time, as a frame of `SCHEMA`.

    Transaction ids number the day's events in order: `20260101-0000001`.
    """
    events = events.take(np.argsort(events.time, kind="stable"))
    merchants, known = people.merchants, np.arange(len(people.merchants.category))
    merchant = pl.Series(events.merchant)
    currency = pl.Series([country.currency for country in COUNTRIES])
    number = pl.int_range(1, len(events) + 1, eager=True).cast(pl.String).str.zfill(7)
    merchant_id = names("M", known)
    kind = pl.Series([*fraud_kinds, None]).gather(np.where(events.fraud < 0, len(fraud_kinds), events.fraud))
    frame = pl.DataFrame(
        {
            "transaction_id": pl.select(pl.lit(f"{day_of(day):%Y%m%d}-") + number).to_series(),
            "event_time": pl.Series(events.time).cast(pl.Datetime("us")),
            "customer_id": names("C", events.customer),
            "amount_cents": events.amount,
            "merchant_id": merchant_id.gather(merchant),
            "merchant_category": pl.Series(CATEGORY_NAMES).gather(merchants.category[events.merchant]),
            "merchant_country": pl.Series(COUNTRY_CODES).gather(merchants.country[events.merchant]),
            "currency": currency.gather(events.country),
            "channel": pl.Series(CHANNELS).gather(merchants.channel[events.merchant]),
            "device_id": names("D", events.device),
            "ip_address": dotted(events.ip),
            "card_id": names("K", events.card),
            "home_country": pl.Series(COUNTRY_CODES).gather(events.country),
            "latitude": pl.Series(events.latitude.round(5)).fill_nan(None),
            "longitude": pl.Series(events.longitude.round(5)).fill_nan(None),
            "home_latitude": events.home_latitude.round(5),
            "home_longitude": events.home_longitude.round(5),
            "is_fraud": events.fraud >= 0,
            "fraud_type": kind,
            "reported_at": pl.Series(events.reported).cast(pl.Datetime("us")),
        },
        schema_overrides=SCHEMA,
    )
    return frame.with_columns(reported_at=pl.when(pl.Series(events.reported) >= 0).then("reported_at"))
