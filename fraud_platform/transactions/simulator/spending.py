"""Ordinary spending of one day: how often, when, where, how much, and with which device.

It leaves the traces of fraud too: journeys, sprees, new phones, borrowed devices, VPNs, large
purchases and night owls.
"""

from functools import lru_cache

import numpy as np

from fraud_platform.transactions.simulator.config import SimulatorConfig
from fraud_platform.transactions.simulator.events import Events, amounts, payments
from fraud_platform.transactions.simulator.identifiers import (
    NONE,
    borrowed_device,
    home_ip,
    hosting_ip,
    mobile_ip,
    own_card,
    own_device,
)
from fraud_platform.transactions.simulator.population import (
    DAY_PROFILES,
    FAVOURITES,
    Customers,
    Population,
    population,
)
from fraud_platform.transactions.simulator.streams import (
    DAY_US,
    HOUR_US,
    BoolArray,
    FloatArray,
    IntArray,
    Purpose,
    day_number,
    day_of,
    stream,
)
from fraud_platform.transactions.simulator.world import CITY_COUNTRY, CITY_SIZE, COUNTRIES, UTC_OFFSET_HOURS

WEEKDAYS = (0.92, 0.94, 0.96, 1.0, 1.14, 1.16, 0.88)
YEARLY_GROWTH = 0.02
JOURNEY_BLOCK_DAYS, JOURNEY_SHARE = 28, 0.14
SPREE_SHARE, SPREE_FACTOR = 0.012, 3.0
FAVOURITE_SHARE = 0.62
LARGE_SHARE, LARGE_FACTOR = 0.008, 6.0
GUEST_SHARE, BORROWED_SHARE, VPN_SHARE, MOBILE_SHARE = 0.05, 0.008, 0.025, 0.3
CARD_LIFE_DAYS, LEASE_DAYS = 1_100, 45
EARLIEST_DAY = 10_957
"""2000-01-01: generations of devices and cards count from here."""


@lru_cache(maxsize=8)
def _journeys(config: SimulatorConfig, block: int) -> tuple[IntArray, IntArray, IntArray]:
    """First day, last day and city of each customer's journey within a block of days; last is -1 for none."""
    rng, n = stream(config.seed, Purpose.TRAVEL, block), config.customers
    length = rng.integers(2, 12, n)
    first = block * JOURNEY_BLOCK_DAYS + (rng.random(n) * (JOURNEY_BLOCK_DAYS - length)).astype(np.int64)
    city = rng.choice(len(CITY_SIZE), size=n, p=CITY_SIZE / CITY_SIZE.sum())
    return first, np.where(rng.random(n) < JOURNEY_SHARE, first + length, -1), city


def whereabouts(config: SimulatorConfig, day: int, active: int) -> tuple[IntArray, BoolArray]:
    """The city of each of the first `active` customers on a day, and whether that is on a journey."""
    first, last, city = _journeys(config, day // JOURNEY_BLOCK_DAYS)
    away = (first[:active] <= day) & (day <= last[:active])
    return np.where(away, city[:active], population(config).customers.city[:active]), away


_PROFILE_ENDS = np.cumsum(np.array(DAY_PROFILES) / np.sum(DAY_PROFILES, axis=1, keepdims=True), axis=1)


def times_of_day(customers: Customers, customer: IntArray, uniform: FloatArray) -> IntArray:
    """Microseconds since midnight UTC that follow the customers' habits in their own zone."""
    profile, local = customers.profile[customer], np.empty(len(customer))
    for number, ends in enumerate(_PROFILE_ENDS):
        mask = profile == number
        local[mask] = np.interp(uniform[mask], np.concatenate([[0.0], ends]), np.arange(25.0))
    offset = UTC_OFFSET_HOURS[customers.country[customer]]
    return ((local - offset) * HOUR_US).astype(np.int64) % DAY_US


def devices_in_use(customers: Customers, customer: IntArray, day: int, uniform: FloatArray) -> IntArray:
    """The customers' own devices, mostly the first; each is replaced at the end of its life."""
    slot = (np.maximum(uniform - 0.75, 0) * 4 * customers.devices[customer]).astype(np.int64)
    life = customers.device_life_days[customer] + 90 * slot
    return own_device(customer, slot, (day - EARLIEST_DAY + customers.device_phase_days[customer]) // life % 64)


def cards_in_use(customers: Customers, customer: IntArray, day: int, uniform: FloatArray) -> IntArray:
    """The customers' cards, mostly the first; each is reissued after three years."""
    slot = (np.maximum(uniform - 0.7, 0) / 0.3 * customers.cards[customer]).astype(np.int64)
    age = day - EARLIEST_DAY + 7 * customers.device_phase_days[customer]
    return own_card(customer, slot, age // CARD_LIFE_DAYS % 64)


def lines_in_use(customers: Customers, customer: IntArray, day: int) -> IntArray:
    """The addresses of the customers' lines at home."""
    return home_ip(customer, customers.country[customer], (day + customers.device_phase_days[customer]) // LEASE_DAYS)


def spend(config: SimulatorConfig, day: int, expected: float) -> Events:
    """The legitimate payments of one day, about `expected` of them, in no order."""
    people, rng = population(config), stream(config.seed, Purpose.SPENDING, day)
    customers = people.customers
    active = customers.active(day)
    spree = rng.random(active) < SPREE_SHARE
    count = rng.poisson(_rates(customers, day, active, expected) * np.where(spree, SPREE_FACTOR, 1))
    customer = np.repeat(np.arange(active), count)
    n = len(customer)
    cities, travelling = whereabouts(config, day, active)
    city, away = cities[customer], travelling[customer]
    merchant = _merchants(rng, config, people, customer, city, away, day)
    growth = (1 + YEARLY_GROWTH) ** ((day - day_number(config.first_day)) / 365)
    level = customers.level[customer] * config.amounts_factor(day_of(day)) * growth
    level = level * np.where(rng.random(n) < LARGE_SHARE, LARGE_FACTOR, 1) * np.where(spree[customer], 1.4, 1)
    device = devices_in_use(customers, customer, day, rng.random(n))
    borrowed = rng.random(n)
    device = np.where(borrowed < BORROWED_SHARE, borrowed_device(day, np.arange(n)), device)
    device = np.where(borrowed > 1 - GUEST_SHARE, NONE, device)
    ip, seen_in = _addresses(rng, customers, customer, city, away, day)
    return payments(
        rng,
        people,
        time=day * DAY_US + times_of_day(customers, customer, rng.random(n)),
        customer=customer,
        amount=amounts(rng, people, merchant, level),
        merchant=merchant,
        device=device,
        ip=ip,
        card=cards_in_use(customers, customer, day, rng.random(n)),
        seen_in=seen_in,
    )


def _rates(customers: Customers, day: int, active: int, expected: float) -> FloatArray:
    """Expected payments of each active customer, so that their sum with sprees is the day's share."""
    weekday = day_of(day).weekday()
    lean = customers.weekend[:active] if weekday >= 5 else 1.0
    rate = customers.rate[:active] * lean
    wanted = expected * WEEKDAYS[weekday] / (1 + SPREE_SHARE * (SPREE_FACTOR - 1))
    return rate * (wanted / rate.sum())


def _merchants(
    rng: np.random.Generator,
    config: SimulatorConfig,
    people: Population,
    customer: IntArray,
    city: IntArray,
    away: BoolArray,
    day: int,
) -> IntArray:
    """A favourite, somewhere near, or somewhere online; on a journey hardly a favourite."""
    customers, merchants, n = people.customers, people.merchants, len(customer)
    which, place, item = rng.random((3, n))
    rank = (item**1.7 * FAVOURITES).astype(np.int64)
    favourite = customers.favourites[customer, rank]
    near = merchants.in_person.draw(city, item)
    domestic = merchants.domestic.draw(customers.country[customer], item)
    remote = np.where(place < 0.72, domestic, merchants.anywhere.draw(np.zeros(n, dtype=np.int64), item))
    loyal = np.where(away, 0.1, FAVOURITE_SHARE)
    elsewhere = (which - loyal) / (1 - loyal)
    chosen = np.where(which < loyal, favourite, np.where(elsewhere < customers.online[customer], remote, near))
    moved = rng.random(n) < config.drifted_share("merchant_mix", day_of(day))
    return np.where(moved, remote, chosen)


def _addresses(
    rng: np.random.Generator, customers: Customers, customer: IntArray, city: IntArray, away: BoolArray, day: int
) -> tuple[IntArray, IntArray]:
    """IP address and the city that it seems to come from: home line, mobile network, or VPN."""
    n = len(customer)
    which, host = rng.random((2, n))
    exit_city = rng.integers(0, len(COUNTRIES), n)  # the first cities are one a country
    vpn = which < VPN_SHARE
    mobile = away | (which > 1 - MOBILE_SHARE)
    ip = np.where(mobile, mobile_ip(CITY_COUNTRY[city], host), lines_in_use(customers, customer, day))
    return np.where(vpn, hosting_ip(host), ip), np.where(vpn, exit_city, city)
