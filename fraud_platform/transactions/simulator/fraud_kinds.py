"""The kinds of fraud, and what each leaves behind.

A share of the campaigns is cautious: usual hours, usual amounts, usual merchants. They are what
keeps fraud from being trivially separable.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fraud_platform.transactions.simulator.campaigns import Campaigns
from fraud_platform.transactions.simulator.events import Events, Homes, payments
from fraud_platform.transactions.simulator.identifiers import NONE, home_ip, invented_customer, own_card
from fraud_platform.transactions.simulator.spending import whereabouts
from fraud_platform.transactions.simulator.streams import DAY_US, HOUR_US, IntArray
from fraud_platform.transactions.simulator.world import CITIES

Drawn = tuple[Events, IntArray]
"""Payments, and for each the number of its victim within the draw."""


def stolen_card(c: Campaigns) -> Drawn:
    """The card in a stranger's hands for hours to days: in person, another place, other hours."""
    victim, cautious = c.victims(c.count), c.chance(0.16, c.count)
    campaign = np.repeat(np.arange(c.count), c.sizes(2, 8, c.count))
    customer, quiet = victim[campaign], cautious[campaign]
    gap = np.where(quiet, 20.0, np.where(c.chance(0.5, c.count)[campaign], 0.4, 3.0))
    time = c.starts(victim, cautious | c.chance(0.35, c.count))[campaign] + c.gaps(campaign, gap, 0.8)
    home = whereabouts(c.config, c.day, c.people.customers.active(c.day))[0][victim]
    city = np.where(cautious | c.chance(0.18, c.count), home, c.rng.integers(0, len(CITIES), c.count))[campaign]
    uniform = c.rng.random(len(campaign))
    merchants = c.people.merchants
    merchant = np.where(quiet, merchants.in_person.draw(city, uniform), merchants.targets_in_person.draw(city, uniform))
    factor = np.where(quiet, 1.0, 1.5)
    nobody = np.full(len(campaign), NONE, dtype=np.int64)
    events = payments(
        c.rng,
        c.people,
        time=c.habitual_hours(time, customer, quiet & (time // DAY_US > c.day)),
        customer=customer,
        amount=c.amounts(merchant, customer, factor),
        merchant=merchant,
        device=nobody,
        ip=nobody,
        card=c.cards(victim)[campaign],
        seen_in=city,
        fraud=c.kind,
    )
    return events, campaign


def card_not_present(c: Campaigns) -> Drawn:
    """Stolen card data used online: other merchants, mostly a strange device and place."""
    victim, cautious = c.victims(c.count), c.chance(0.3, c.count)
    campaign = np.repeat(np.arange(c.count), c.sizes(1, 6, c.count))
    customer, quiet = victim[campaign], cautious[campaign]
    gap = np.where(quiet, 12.0, 0.7)
    time = c.starts(victim, cautious | c.chance(0.4, c.count))[campaign] + c.gaps(campaign, gap, 1.0)
    anywhere = c.people.merchants.anywhere.draw(np.zeros(len(campaign), dtype=np.int64), c.rng.random(len(campaign)))
    merchant = np.where(quiet, anywhere, c.risky_online(len(campaign)))
    # A ring uses one device on the cards of a few victims; a guest checkout shows no device.
    device = c.strange_devices(c.count)
    device = np.where(c.chance(0.25, c.count), c.ring_devices(c.count), device)
    device = np.where(c.chance(0.15, c.count), NONE, device)
    device = np.where(cautious & c.chance(0.3, c.count), c.own_devices(victim), device)
    ip, city = c.fraudster_places(victim, 0.45)
    own_ip, own_city = c.own_places(victim)
    events = payments(
        c.rng,
        c.people,
        time=time,
        customer=customer,
        amount=c.amounts(merchant, customer, np.where(quiet, 1.0, 1.4)),
        merchant=merchant,
        device=device[campaign],
        ip=np.where(cautious, own_ip, ip)[campaign],
        card=c.cards(victim)[campaign],
        seen_in=np.where(cautious, own_city, city)[campaign],
        fraud=c.kind,
    )
    return events, campaign


def card_testing(c: Campaigns) -> Drawn:
    """Many small payments with several cards at the same few merchants, then a large one elsewhere."""
    cards = c.sizes(3, 6, c.count)
    campaign = np.repeat(np.arange(c.count), cards)
    victim = c.victims(len(campaign))
    small = np.repeat(np.arange(len(victim)), c.sizes(2, 5, len(victim)))
    start = c.starts(victim[np.searchsorted(campaign, np.arange(c.count))], c.chance(0.3, c.count))
    card_start = start[campaign] + (c.rng.random(len(victim)) * 3 * HOUR_US).astype(np.int64)
    tried = c.people.merchants.low_value.draw(np.zeros((c.count, 3), dtype=np.int64), c.rng.random((c.count, 3)))
    merchant = tried[campaign[small], c.rng.integers(0, 3, len(small))]
    pace = np.exp(c.rng.normal(-2.5, 1.2, len(victim)))
    time = card_start[small] + c.gaps(small, pace[small], 0.7)
    large = np.flatnonzero(c.chance(0.6, len(victim)))
    later = card_start[large] + (c.rng.uniform(1, 30, len(large)) * HOUR_US).astype(np.int64)
    goods = c.risky_online(len(large))
    bots = c.strange_devices(c.count)[campaign]
    device = np.where(c.chance(0.4, c.count)[campaign], c.strange_devices(len(victim), 2**17), bots)
    ip, city = c.fraudster_places(victim, 0.45)
    card = c.cards(victim)
    who = np.concatenate([small, large])
    tests = (100 * np.exp(c.rng.normal(0.9, 0.7, len(small)))).astype(np.int64) + 50
    events = payments(
        c.rng,
        c.people,
        time=np.concatenate([time, later]),
        customer=victim[who],
        amount=np.concatenate([tests, c.amounts(goods, victim[large], np.full(len(large), 2.0))]),
        merchant=np.concatenate([merchant, goods]),
        device=device[who],
        ip=ip[who],
        card=card[who],
        seen_in=city[who],
        fraud=c.kind,
    )
    return events, who


def account_takeover(c: Campaigns) -> Drawn:
    """A stranger in the customer's own account: new device, new address, changed habits."""
    victim, cautious = c.victims(c.count), c.chance(0.3, c.count)
    campaign = np.repeat(np.arange(c.count), c.sizes(2, 9, c.count))
    customer, quiet = victim[campaign], cautious[campaign]
    gap = np.where(quiet, 15.0, 1.2)
    time = c.starts(victim, cautious | c.chance(0.3, c.count))[campaign] + c.gaps(campaign, gap, 1.0)
    transfer = c.chance(0.35, len(campaign))
    merchant = np.where(transfer, c.payee(len(campaign)), c.risky_online(len(campaign)))
    domestic = c.people.merchants.domestic.draw(c.people.customers.country[customer], c.rng.random(len(campaign)))
    merchant = np.where(quiet & c.chance(0.7, len(campaign)), domestic, merchant)
    ip, city = c.fraudster_places(victim, 0.4)
    near_ip, near_city = c.fraudster_places(victim, 1.0)
    events = payments(
        c.rng,
        c.people,
        time=c.habitual_hours(time, customer, quiet & (time // DAY_US > c.day)),
        customer=customer,
        amount=c.amounts(merchant, customer, np.where(quiet, 1.0, 1.6)),
        merchant=merchant,
        device=c.strange_devices(c.count)[campaign],
        ip=np.where(cautious, near_ip, ip)[campaign],
        card=c.cards(victim)[campaign],
        seen_in=np.where(cautious, near_city, city)[campaign],
        fraud=c.kind,
    )
    return events, campaign


def synthetic_identity(c: Campaigns) -> Drawn:
    """An invented customer who behaves for weeks, then spends all that the account gives."""
    n, people = c.count, c.people
    like = c.victims(n)  # whose home town, merchants and hours it imitates
    behave, bust = c.sizes(12, 24, n), c.sizes(7, 13, n)
    identity = np.repeat(np.arange(n), behave + bust)
    order = np.arange(len(identity)) - np.searchsorted(identity, identity)
    busted = order >= behave[identity]
    patience = c.rng.uniform(16, 38, n)  # days
    # A day is kept free before the bust, as habitual hours move a payment within its day.
    calm = c.rng.random(len(identity)) * (patience[identity] - 1) * DAY_US
    burst = c.gaps(identity, np.where(order > behave[identity], np.where(c.chance(0.5, n), 1.0, 5.0)[identity], 0), 1.0)
    customer = like[identity]
    time = c.day * DAY_US + np.where(busted, patience[identity] * DAY_US + burst, calm).astype(np.int64)
    time = c.habitual_hours(time, customer, ~busted)
    goods = np.where(c.chance(0.65, len(identity)), c.risky_online(len(identity)), c.favourite(customer))
    merchant = np.where(busted, goods, c.favourite(customer))
    number = invented_customer(c.day, np.arange(n))
    towns = people.customers
    shift = c.rng.normal(0, 0.08, (2, n))
    events = payments(
        c.rng,
        people,
        time=time,
        customer=number[identity],
        amount=c.amounts(merchant, customer, np.where(busted, 1.8, 1.0)),
        merchant=merchant,
        device=c.strange_devices(n)[identity],
        ip=home_ip(number, towns.country[like], np.zeros(n, dtype=np.int64))[identity],
        card=own_card(number, np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))[identity],
        seen_in=towns.city[customer],
        homes=Homes(
            towns.country[customer],
            (towns.latitude[like] + shift[0])[identity],
            (towns.longitude[like] + shift[1])[identity],
        ),
        fraud=c.kind,
    )
    return replace(events, fraud=np.where(busted, c.kind, NONE)), identity


def compromised_merchant(c: Campaigns) -> Drawn:
    """A merchant at which the cards of many customers are misused for weeks."""
    merchants = c.people.merchants
    middling = np.flatnonzero(merchants.popularity < np.quantile(merchants.popularity, 0.75))
    place = middling[c.rng.integers(0, len(middling), c.count)]
    campaign = np.repeat(np.arange(c.count), c.sizes(16, 36, c.count))
    merchant = place[campaign]
    customer = c.victims_near(merchant)
    lasting = c.rng.uniform(14, 35, c.count)[campaign] * DAY_US
    time = c.day * DAY_US + (lasting * c.rng.random(len(campaign))).astype(np.int64)
    ip, city = c.fraudster_places(customer, 0.6)
    own = c.chance(0.35, len(campaign))
    own_ip, own_city = c.own_places(customer)
    events = payments(
        c.rng,
        c.people,
        time=c.habitual_hours(time, customer, c.chance(0.6, len(campaign))),
        customer=customer,
        amount=c.amounts(merchant, customer, np.full(len(campaign), 1.3)),
        merchant=merchant,
        device=np.where(own, c.own_devices(customer), c.strange_devices(len(campaign))),
        ip=np.where(own, own_ip, ip),
        card=c.cards(customer),
        seen_in=np.where(own, own_city, city),
        fraud=c.kind,
    )
    return events, np.arange(len(campaign))


def instant_transfer_scam(c: Campaigns) -> Drawn:
    """The customers themselves, deceived, transfer large amounts to a mule from their own device."""
    victim = c.victims(c.count)
    campaign = np.repeat(np.arange(c.count), c.sizes(1, 3, c.count))
    customer = victim[campaign]
    gap = np.full(len(campaign), 0.5)
    time = c.starts(victim, np.ones(c.count, dtype=np.bool_))[campaign] + c.gaps(campaign, gap, 0.8)
    mule = c.payee(c.count)[campaign]
    ip, city = c.own_places(victim)
    events = payments(
        c.rng,
        c.people,
        time=time,
        customer=customer,
        amount=c.amounts(mule, customer, np.full(len(campaign), 4.0)),
        merchant=mule,
        device=c.own_devices(victim)[campaign],
        ip=ip[campaign],
        card=np.full(len(campaign), NONE, dtype=np.int64),
        seen_in=city[campaign],
        fraud=c.kind,
    )
    return events, campaign


@dataclass(frozen=True)
class Kind:
    """One kind of fraud.

    `share` of the frauds is of this kind; `expected_frauds` and `expected_honest` are the mean
    payments of a campaign; `delay` and `silence` are the median label delay and the share that is
    never reported, relative to the configuration. A `new` kind occurs after a drift only.
    """

    name: str
    draw: Callable[[Campaigns], Drawn]
    share: float
    expected_frauds: float
    expected_honest: float = 0.0
    delay: float = 1.0
    silence: float = 1.0
    new: bool = False


KINDS = (
    Kind("stolen_card", stolen_card, 0.2, 5.0, delay=0.7, silence=0.5),
    Kind("card_not_present", card_not_present, 0.28, 3.5, delay=1.2),
    Kind("card_testing", card_testing, 0.14, 4.5 * 4.1, delay=0.8, silence=1.5),
    Kind("account_takeover", account_takeover, 0.16, 5.5, delay=0.8, silence=0.5),
    Kind("synthetic_identity", synthetic_identity, 0.1, 10.0, 18.0, delay=1.6, silence=2.0),
    Kind("compromised_merchant", compromised_merchant, 0.12, 26.0, delay=1.2),
    Kind("instant_transfer_scam", instant_transfer_scam, 0.0, 2.0, delay=1.0, silence=2.0, new=True),
)
