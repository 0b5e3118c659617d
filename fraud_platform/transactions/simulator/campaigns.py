"""What every kind of fraud is drawn with: victims, times, merchants, amounts, devices, addresses."""

from dataclasses import dataclass

import numpy as np

from fraud_platform.transactions.simulator.config import SimulatorConfig
from fraud_platform.transactions.simulator.events import amounts
from fraud_platform.transactions.simulator.identifiers import foreign_ip, hosting_ip, mobile_ip, stolen_device
from fraud_platform.transactions.simulator.population import FAVOURITES, Population
from fraud_platform.transactions.simulator.spending import (
    cards_in_use,
    devices_in_use,
    lines_in_use,
    times_of_day,
)
from fraud_platform.transactions.simulator.streams import DAY_US, HOUR_US, BoolArray, FloatArray, IntArray
from fraud_platform.transactions.simulator.world import CITY_COUNTRY, COUNTRIES


@dataclass(frozen=True)
class Campaigns:
    """What the campaigns of one kind that begin on one day are drawn from."""

    config: SimulatorConfig
    people: Population
    rng: np.random.Generator
    day: int
    count: int
    kind: int

    def chance(self, share: float, count: int) -> BoolArray:
        """True with probability `share`."""
        return self.rng.random(count) < share

    def victims(self, count: int) -> IntArray:
        """Customers who had joined; those who pay more are exposed more."""
        exposure = np.cumsum(np.sqrt(self.people.customers.rate[: self.people.customers.active(self.day)]))
        return np.searchsorted(exposure, self.rng.random(count) * exposure[-1], side="right").clip(0, len(exposure) - 1)

    def victims_near(self, merchant: IntArray) -> IntArray:
        """A victim for each merchant, mostly from its own country where customers live there."""
        candidates = self.victims(6 * len(merchant)).reshape(-1, 6)
        neighbour = self.people.customers.country[candidates] == self.people.merchants.country[merchant][:, None]
        return candidates[np.arange(len(merchant)), neighbour.argmax(axis=1)]

    def sizes(self, low: int, high: int, count: int) -> IntArray:
        """Payments in each campaign: whole numbers from low to high, all as likely."""
        return self.rng.integers(low, high + 1, count)

    def starts(self, customer: IntArray, habitual: BoolArray) -> IntArray:
        """First moments on the campaigns' day: in the customer's usual hours, or whenever."""
        anytime = (self.rng.random(len(customer)) * DAY_US).astype(np.int64)
        usual = times_of_day(self.people.customers, customer, self.rng.random(len(customer)))
        return self.day * DAY_US + np.where(habitual, usual, anytime)

    def gaps(self, campaign: IntArray, median_hours: FloatArray, spread: float) -> IntArray:
        """Time since the campaign's first moment of each payment: a running sum of log-normal gaps.

        Args:
            campaign: the payment's campaign, in ascending order.
            median_hours: one entry a payment; a campaign's first payment has no gap.
        """
        noise = np.clip(self.rng.standard_normal(len(campaign)), -2, 2)
        gap = median_hours * np.exp(spread * noise) * HOUR_US
        total = np.cumsum(gap)
        first = np.searchsorted(campaign, campaign)
        return (total - total[first]).astype(np.int64)

    def habitual_hours(self, time: IntArray, customer: IntArray, habitual: BoolArray) -> IntArray:
        """The same days, but in the customer's usual hours where `habitual`; never before the first day."""
        usual = time // DAY_US * DAY_US + times_of_day(self.people.customers, customer, self.rng.random(len(time)))
        return np.where(habitual, usual, time)

    def favourite(self, customer: IntArray) -> IntArray:
        """One of the customer's favourite merchants."""
        rank = (self.rng.random(len(customer)) ** 1.5 * FAVOURITES).astype(np.int64)
        return self.people.customers.favourites[customer, rank]

    def risky_online(self, count: int) -> IntArray:
        """Online merchants that fraudsters like."""
        return self.people.merchants.targets_online.draw(np.zeros(count, dtype=np.int64), self.rng.random(count))

    def payee(self, count: int) -> IntArray:
        """Payees of transfers."""
        return self.people.merchants.payees.draw(np.zeros(count, dtype=np.int64), self.rng.random(count))

    def amounts(self, merchant: IntArray, customer: IntArray, factor: FloatArray) -> IntArray:
        """Amounts in cents: what the customer would pay there, times a factor."""
        return amounts(self.rng, self.people, merchant, self.people.customers.level[customer] ** 0.5 * factor)

    def cards(self, customer: IntArray) -> IntArray:
        """One card of each customer."""
        return cards_in_use(self.people.customers, customer, self.day, self.rng.random(len(customer)))

    def own_devices(self, customer: IntArray) -> IntArray:
        """One device of each customer."""
        return devices_in_use(self.people.customers, customer, self.day, self.rng.random(len(customer)))

    def ring_devices(self, count: int) -> IntArray:
        """A few devices that fraudsters use on many victims for a week."""
        return stolen_device(self.day // 7 * 7, self.kind * 2**18 + 2**17 + self.rng.integers(0, 4, count))

    def strange_devices(self, count: int, offset: int = 0) -> IntArray:
        """Devices that nobody used before."""
        return stolen_device(self.day, self.kind * 2**18 + offset + np.arange(count))

    def fraudster_places(self, customer: IntArray, domestic_share: float) -> tuple[IntArray, IntArray]:
        """IP address and apparent city of fraudsters: a proxy near the victim, a VPN, or abroad."""
        n, home = len(customer), self.people.customers.city[customer]
        which, host = self.rng.random((2, n))
        city = np.where(which < domestic_share, home, self.rng.integers(0, len(COUNTRIES), n))
        country = CITY_COUNTRY[city]
        ip = np.where(which < domestic_share / 2, mobile_ip(country, host), foreign_ip(country, host))
        return np.where(which > 0.85, hosting_ip(host), ip), city

    def own_places(self, customer: IntArray) -> tuple[IntArray, IntArray]:
        """IP address and city of the customers themselves."""
        c = self.people.customers
        ip = lines_in_use(c, customer, self.day)
        away = self.chance(0.3, len(customer))
        return np.where(away, mobile_ip(c.country[customer], self.rng.random(len(customer))), ip), c.city[customer]
