"""Places and merchant categories: the fixed tables that the population is drawn over.

Currencies are those whose units are worth about the same, since amounts are not converted.
"""

from dataclasses import dataclass

import numpy as np

ONLINE_CHANNELS = ("online", "phone", "transfer")


@dataclass(frozen=True)
class Country:
    """`network` is the first octet of the country's simulated IP addresses (not a registry's)."""

    code: str
    currency: str
    utc_offset_hours: int
    network: int


@dataclass(frozen=True)
class City:
    """A place to live and shop; `size` weighs it against the others."""

    country: str
    latitude: float
    longitude: float
    size: float


@dataclass(frozen=True)
class Category:
    """A kind of merchant.

    `median` is the typical amount in major units and `spread` the deviation of its logarithm;
    `frequency` weighs how often people pay there; `online_share` is the share of its merchants that
    sell online; `appeal` weighs how much fraudsters like it; `channel` replaces in-person or online.
    """

    name: str
    median: float
    spread: float
    frequency: float
    online_share: float
    appeal: float
    channel: str | None = None


COUNTRIES = (
    Country("DE", "EUR", 1, 31),
    Country("FR", "EUR", 1, 37),
    Country("ES", "EUR", 1, 41),
    Country("IT", "EUR", 1, 46),
    Country("NL", "EUR", 1, 53),
    Country("GB", "GBP", 0, 62),
    Country("CH", "CHF", 1, 77),
    Country("US", "USD", -5, 98),
    Country("RO", "EUR", 2, 109),
    Country("TR", "EUR", 3, 121),
    Country("NG", "USD", 1, 154),
    Country("SG", "USD", 8, 175),
)
HOME_COUNTRIES = 8
"""Customers live in the first so many countries; the others are for travel, shopping and fraudsters."""

HOSTING_NETWORK = 188
"""First octet of VPN and hosting addresses."""

CITIES = (
    City("DE", 52.52, 13.40, 3.6),
    City("FR", 48.86, 2.35, 4.0),
    City("ES", 40.42, -3.70, 3.2),
    City("IT", 41.90, 12.50, 2.8),
    City("NL", 52.37, 4.90, 1.2),
    City("GB", 51.51, -0.13, 4.5),
    City("CH", 47.38, 8.54, 0.6),
    City("US", 40.71, -74.01, 4.0),
    City("RO", 44.43, 26.10, 0.5),
    City("TR", 41.01, 28.98, 0.6),
    City("NG", 6.52, 3.38, 0.3),
    City("SG", 1.35, 103.82, 0.4),
    City("DE", 48.14, 11.58, 1.5),
    City("DE", 53.55, 9.99, 1.8),
    City("DE", 50.94, 6.96, 1.1),
    City("FR", 45.76, 4.84, 1.2),
    City("FR", 43.30, 5.37, 1.0),
    City("ES", 41.39, 2.17, 1.7),
    City("ES", 39.47, -0.38, 0.8),
    City("IT", 45.46, 9.19, 1.4),
    City("IT", 40.85, 14.27, 0.9),
    City("NL", 51.92, 4.48, 0.7),
    City("GB", 53.48, -2.24, 1.3),
    City("GB", 55.95, -3.19, 0.6),
    City("CH", 46.20, 6.14, 0.3),
    City("US", 42.36, -71.06, 1.0),
    City("US", 38.91, -77.04, 1.1),
)

CATEGORIES = (
    Category("grocery", 28, 0.75, 9.0, 0.08, 0.6),
    Category("restaurant", 26, 0.70, 5.0, 0.05, 0.3),
    Category("fast_food", 11, 0.50, 4.0, 0.25, 0.3),
    Category("fuel", 48, 0.50, 2.5, 0.0, 0.8),
    Category("transit", 6, 0.80, 3.5, 0.4, 0.2),
    Category("pharmacy", 17, 0.70, 2.0, 0.2, 0.3),
    Category("health", 60, 0.90, 0.8, 0.1, 0.1),
    Category("clothing", 55, 0.80, 2.2, 0.5, 1.2),
    Category("electronics", 130, 1.00, 1.0, 0.6, 2.5),
    Category("home_garden", 65, 0.95, 1.3, 0.4, 0.7),
    Category("entertainment", 22, 0.80, 1.8, 0.5, 0.5),
    Category("digital_goods", 9, 0.90, 3.0, 1.0, 1.6),
    Category("subscription", 12, 0.50, 1.5, 1.0, 0.2),
    Category("travel", 180, 0.95, 0.5, 0.85, 1.2),
    Category("hotel", 150, 0.70, 0.5, 0.4, 0.6),
    Category("gift_cards", 50, 0.60, 0.4, 0.7, 2.2),
    Category("jewelry", 140, 0.95, 0.2, 0.3, 1.2),
    Category("utilities", 75, 0.60, 0.6, 1.0, 0.05, "phone"),
    Category("cash", 80, 0.65, 1.5, 0.0, 1.0, "atm"),
    Category("payee", 120, 1.20, 1.6, 1.0, 1.0, "transfer"),
)

COUNTRY_CODES = tuple(country.code for country in COUNTRIES)
CATEGORY_NAMES = tuple(category.name for category in CATEGORIES)
CITY_COUNTRY = np.array([COUNTRY_CODES.index(city.country) for city in CITIES], dtype=np.int64)
CITY_LATITUDE = np.array([city.latitude for city in CITIES])
CITY_LONGITUDE = np.array([city.longitude for city in CITIES])
CITY_SIZE = np.array([city.size for city in CITIES])
UTC_OFFSET_HOURS = np.array([country.utc_offset_hours for country in COUNTRIES], dtype=np.int64)
NETWORK = np.array([country.network for country in COUNTRIES], dtype=np.int64)
