"""The population: merchants and customers with their places, tastes, cards and devices.

A pure function of the configuration. Nothing here depends on the day, nor on drift.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fraud_platform.transactions.contract import CHANNELS
from fraud_platform.transactions.simulator.config import SimulatorConfig
from fraud_platform.transactions.simulator.streams import BoolArray, FloatArray, IntArray, Purpose, day_number, stream
from fraud_platform.transactions.simulator.world import (
    CATEGORIES,
    CITIES,
    CITY_COUNTRY,
    CITY_LATITUDE,
    CITY_LONGITUDE,
    CITY_SIZE,
    COUNTRIES,
    HOME_COUNTRIES,
    ONLINE_CHANNELS,
)

FAVOURITES = 12
JOINING_SHARE, JOINING_DAYS = 0.12, 365
"""This share of the customers joins within so many days after the first day."""

DAY_PROFILES = (
    (0.2, 0.1, 0.1, 0.1, 0.1, 0.3, 1, 3, 4, 3, 3, 4, 6, 5, 3, 3, 4, 6, 7, 6, 4, 3, 2, 0.8),  # office hours
    (0.1, 0.1, 0.1, 0.1, 0.2, 0.4, 1, 2, 4, 7, 8, 7, 5, 4, 5, 5, 4, 3, 2, 2, 1, 1, 0.5, 0.2),  # mornings
    (1, 0.5, 0.3, 0.2, 0.1, 0.1, 0.3, 1, 1, 2, 2, 3, 4, 4, 3, 3, 4, 5, 6, 7, 7, 6, 4, 2),  # evenings
    (5, 4, 3, 2.5, 2, 1.5, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6),  # nights
)
PROFILE_SHARES = (0.42, 0.2, 0.28, 0.1)


class WeightedGroups:
    """Weighted draws within groups of items: which item of group g, given a uniform number.

    A group that has no item draws from all items.
    """

    def __init__(self, items: IntArray, groups: IntArray, weights: FloatArray, count: int) -> None:
        order = np.argsort(groups, kind="stable")
        self._items = items[order]
        self._ends = np.cumsum(weights[order])
        edges = np.searchsorted(groups[order], np.arange(count + 1))
        totals = np.concatenate([[0.0], self._ends])
        self._first, self._last = edges[:-1].copy(), edges[1:] - 1
        empty = edges[:-1] == edges[1:]
        self._first[empty], self._last[empty] = 0, len(items) - 1
        self._low, self._high = totals[self._first], totals[self._last + 1]

    def draw(self, groups: IntArray, uniform: FloatArray) -> IntArray:
        """One item for each group number; both arguments have the same shape."""
        target = self._low[groups] + uniform * (self._high[groups] - self._low[groups])
        position = np.searchsorted(self._ends, target, side="right")
        return self._items[np.clip(position, self._first[groups], self._last[groups])]


@dataclass(frozen=True)
class Merchants:
    """Arrays of one entry a merchant; city and category and country index the tables of `world`."""

    category: IntArray
    city: IntArray
    country: IntArray
    latitude: FloatArray
    longitude: FloatArray
    popularity: FloatArray
    price: FloatArray
    channel: IntArray
    remote: BoolArray
    in_person: WeightedGroups
    domestic: WeightedGroups
    anywhere: WeightedGroups
    targets_in_person: WeightedGroups
    targets_online: WeightedGroups
    payees: WeightedGroups
    low_value: WeightedGroups


@dataclass(frozen=True)
class Customers:
    """Arrays of one entry a customer, in order of joining (`joined`: days since 1970-01-01)."""

    joined: IntArray
    city: IntArray
    country: IntArray
    latitude: FloatArray
    longitude: FloatArray
    rate: FloatArray
    level: FloatArray
    online: FloatArray
    weekend: FloatArray
    profile: IntArray
    devices: IntArray
    device_life_days: IntArray
    device_phase_days: IntArray
    cards: IntArray
    favourites: IntArray

    def active(self, day: int) -> int:
        """How many have joined by a day; they are the first so many."""
        return max(1, int(np.searchsorted(self.joined, day, side="right")))


@dataclass(frozen=True)
class Population:
    """Who pays, and whom."""

    merchants: Merchants
    customers: Customers


@lru_cache(maxsize=4)
def population(config: SimulatorConfig) -> Population:
    """The population of a configuration; built once."""
    merchants = _merchants(config)
    return Population(merchants, _customers(config, merchants))


def _cities_in_use(merchants: int) -> int:
    """Few merchants fill few cities, so that each has somewhere to shop."""
    return int(np.clip(merchants // 12, HOME_COUNTRIES, len(CITIES)))


def _merchants(config: SimulatorConfig) -> Merchants:
    rng, n, cities = stream(config.seed, Purpose.MERCHANTS), config.merchants, _cities_in_use(config.merchants)
    # Merchants of every category and city exist before the remainder follows the frequencies.
    frequency = np.array([category.frequency for category in CATEGORIES])
    number_weight = np.sqrt(frequency)
    category = rng.choice(len(CATEGORIES), size=n, p=number_weight / number_weight.sum())
    category[: len(CATEGORIES)] = np.arange(len(CATEGORIES))
    remote = rng.random(n) < np.array([c.online_share for c in CATEGORIES])[category]
    city = rng.choice(cities, size=n, p=CITY_SIZE[:cities] / CITY_SIZE[:cities].sum())
    popularity = (rng.pareto(1.3, n) + 0.2) * (frequency / number_weight)[category]
    channel = _channels(category, remote)
    remote = np.isin(channel, [CHANNELS.index(name) for name in ONLINE_CHANNELS])
    appeal = np.sqrt(popularity) * np.array([c.appeal for c in CATEGORIES])[category]
    every, country, nowhere = np.arange(n), CITY_COUNTRY[city], np.zeros(n, dtype=np.int64)
    payee = channel == CHANNELS.index("transfer")
    small = remote & np.isin(category, [i for i, c in enumerate(CATEGORIES) if c.online_share > 0 and c.median < 25])

    def groups(chosen: BoolArray, of: IntArray, weights: FloatArray, count: int) -> WeightedGroups:
        return WeightedGroups(every[chosen], of[chosen], weights[chosen], count)

    return Merchants(
        category=category,
        city=city,
        country=country,
        latitude=CITY_LATITUDE[city] + rng.normal(0, 0.06, n),
        longitude=CITY_LONGITUDE[city] + rng.normal(0, 0.08, n),
        popularity=popularity,
        price=rng.lognormal(0, 0.25, n),
        channel=channel,
        remote=remote,
        in_person=groups(~remote, city, popularity, len(CITIES)),
        domestic=groups(remote, country, popularity, len(COUNTRIES)),
        anywhere=groups(remote & ~payee, nowhere, popularity, 1),
        targets_in_person=groups(~remote, city, appeal, len(CITIES)),
        targets_online=groups(remote & ~payee, nowhere, appeal, 1),
        payees=groups(payee, nowhere, np.sqrt(popularity), 1),
        low_value=groups(small, nowhere, appeal, 1),
    )


def _channels(category: IntArray, remote: BoolArray) -> IntArray:
    fixed = np.array([CHANNELS.index(c.channel) if c.channel else -1 for c in CATEGORIES])[category]
    usual = np.where(remote, CHANNELS.index("online"), CHANNELS.index("in_person"))
    return np.where(fixed >= 0, fixed, usual)


def _customers(config: SimulatorConfig, merchants: Merchants) -> Customers:
    rng, n = stream(config.seed, Purpose.CUSTOMERS), config.customers
    first = day_number(config.first_day)
    age = np.minimum(rng.gamma(1.5, 900, n), 6_000).astype(np.int64) + 1
    later = rng.random(n) < JOINING_SHARE
    joined = np.sort(np.where(later, first + rng.integers(0, JOINING_DAYS, n), first - age))
    cities = _cities_in_use(config.merchants)
    at_home = CITY_SIZE[:cities] * (CITY_COUNTRY[:cities] < HOME_COUNTRIES)
    city = rng.choice(cities, size=n, p=at_home / at_home.sum())
    online = rng.beta(2, 4.5, n)
    return Customers(
        joined=joined,
        city=city,
        country=CITY_COUNTRY[city],
        latitude=CITY_LATITUDE[city] + rng.normal(0, 0.09, n),
        longitude=CITY_LONGITUDE[city] + rng.normal(0, 0.12, n),
        rate=rng.gamma(1.8, 1, n) + 0.08,
        level=rng.lognormal(0, 0.4, n),
        online=online,
        weekend=rng.lognormal(0, 0.25, n),
        profile=rng.choice(len(DAY_PROFILES), size=n, p=PROFILE_SHARES),
        devices=rng.choice([1, 2, 3], size=n, p=[0.45, 0.4, 0.15]),
        device_life_days=rng.integers(350, 1_300, n),
        device_phase_days=rng.integers(0, 1_300, n),
        cards=rng.choice([1, 2], size=n, p=[0.65, 0.35]),
        favourites=_favourites(rng, merchants, city, online),
    )


def _favourites(rng: np.random.Generator, merchants: Merchants, city: IntArray, online: FloatArray) -> IntArray:
    """The merchants that each customer returns to, the most visited first; shape (customers, FAVOURITES)."""
    shape = (len(city), FAVOURITES)
    home = np.broadcast_to(city[:, None], shape)
    near = merchants.in_person.draw(home, rng.random(shape))
    remote = merchants.domestic.draw(CITY_COUNTRY[home], rng.random(shape))
    return np.where(rng.random(shape) < online[:, None], remote, near)
