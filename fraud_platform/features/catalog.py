"""THE list of features: what each is called, what it means, and how it is made.

To add a feature, add one line to `FEATURES`. A feature whose columns a source lacks drops out of
that source's catalog; a numeric attribute of the source becomes a feature of its own.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from fraud_platform.errors import CatalogError
from fraud_platform.features.expressions import (
    DAY,
    HOUR,
    MINUTE,
    Call,
    Column,
    Expression,
    Operation,
    Rolling,
    columns_of,
    walk,
)
from fraud_platform.transactions.contract import TRANSACTION
from fraud_platform.transactions.sources import Source

FINGERPRINT_LENGTH = 16
AMOUNT_CAP_CENTS = 10_000_000
"""Amounts above 100,000 major units count as that much in moments: int64 then holds the squares of
92,000 such payments of one key, and one outlier cannot hide what is unusual."""


@dataclass(frozen=True)
class Feature:
    """One model input."""

    name: str
    meaning: str
    formula: Expression


CUSTOMER = ("customer_id",)
CARD = ("card_id",)
DEVICE = ("device_id",)
MERCHANT = ("merchant_id",)
CUSTOMER_MERCHANT = ("customer_id", "merchant_id")
CUSTOMER_DEVICE = ("customer_id", "device_id")
CUSTOMER_COUNTRY = ("customer_id", "merchant_country")

EVENT_TIME = Column("event_us")
AMOUNT = Column("amount_cents")
KNOWN_FRAUD = Column("known_fraud")
CAPPED_AMOUNT = Call("minimum", (AMOUNT, AMOUNT_CAP_CENTS))
FOREIGN = Call("differs", (Column("merchant_country"), Column("home_country")))
ONLINE = Call("is_one_of", (Column("channel"), "online"))
DAY_FRACTION = Call("day_fraction", (EVENT_TIME,))
WEEKDAY_FRACTION = Call("divide", (Call("weekday", (EVENT_TIME,)), 7.0))
PLACE = (Column("latitude"), Column("longitude"))
HOME = (Column("home_latitude"), Column("home_longitude"))
MICRODEGREE = 1e-6


def _rolling(operation: Operation, entity: tuple[str, ...], column: Column | Call | None, span: int) -> Rolling:
    return Rolling(entity, operation, column, span)


def count(entity: tuple[str, ...], span: int) -> Expression:
    return _rolling("count", entity, None, span)


def total(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    return _rolling("sum", entity, column, span)


def mean(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    return Call("divide", (total(entity, column, span), count(entity, span)))


def deviation(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    squares = _rolling("sum_squares", entity, column, span)
    return Call("deviation", (count(entity, span), total(entity, column, span), squares))


def maximum(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    return _rolling("max", entity, column, span)


def fraud_rate(entity: tuple[str, ...], span: int) -> Expression:
    """The share of frauds among events that are at least one label delay old."""
    frauds = Rolling(entity, "sum", KNOWN_FRAUD, span, delayed=True)
    return Call("divide", (frauds, Rolling(entity, "count", None, span, delayed=True)))


def ratio(numerator: Expression, denominator: Expression) -> Expression:
    return Call("divide", (numerator, denominator))


def score(value: Expression, of_mean: Expression, of_deviation: Expression) -> Expression:
    """How many deviations a value lies above the mean."""
    return Call("divide", (Call("subtract", (value, of_mean)), of_deviation))


def seconds_since_last(entity: tuple[str, ...]) -> Expression:
    latest = _rolling("last", entity, EVENT_TIME, 30 * DAY)
    return Call("divide", (Call("subtract", (EVENT_TIME, latest)), 1e6))


def kilometres_from_last(entity: tuple[str, ...]) -> Expression:
    latest = [_rolling("last", entity, Call("micro", (part,)), 30 * DAY) for part in PLACE]
    degrees = [Call("divide", (part, 1 / MICRODEGREE)) for part in latest]
    return Call("distance_km", (*PLACE, *degrees))


def is_zero(value: Expression) -> Expression:
    return Call("equals", (value, 0.0))


FEATURES: tuple[Feature, ...] = (
    # The payment itself.
    Feature("amount", "amount in minor units", AMOUNT),
    Feature("amount_log", "log of one plus the amount", Call("log1p", (AMOUNT,))),
    Feature("amount_is_round", "1 for a whole number of ten major units", Call("is_multiple", (AMOUNT, 1000.0))),
    Feature("hour_sin", "time of day as a cycle, sine", Call("sin_turn", (DAY_FRACTION,))),
    Feature("hour_cos", "time of day as a cycle, cosine", Call("cos_turn", (DAY_FRACTION,))),
    Feature("weekday_sin", "day of the week as a cycle, sine", Call("sin_turn", (WEEKDAY_FRACTION,))),
    Feature("weekday_cos", "day of the week as a cycle, cosine", Call("cos_turn", (WEEKDAY_FRACTION,))),
    Feature("is_night", "1 from midnight to 6 UTC", Call("between", (DAY_FRACTION, 0.0, 0.25))),
    Feature("is_weekend", "1 on Saturday and Sunday UTC", Call("between", (WEEKDAY_FRACTION, 5 / 7 - 1e-9, 1.0))),
    Feature("is_foreign", "1 where the merchant is not in the customer's country", FOREIGN),
    Feature("is_online", "1 for a payment over the internet", ONLINE),
    Feature("kilometres_from_home", "distance from the customer's home", Call("distance_km", (*PLACE, *HOME))),
    # How busy the customer is.
    Feature("customer_count_1h", "payments of the customer in the last hour", count(CUSTOMER, HOUR)),
    Feature("customer_count_1d", "payments of the customer in the last day", count(CUSTOMER, DAY)),
    Feature("customer_count_7d", "payments of the customer in the last 7 days", count(CUSTOMER, 7 * DAY)),
    Feature("customer_count_30d", "payments of the customer in the last 30 days", count(CUSTOMER, 30 * DAY)),
    Feature("customer_amount_sum_1h", "amount that the customer spent in the last hour", total(CUSTOMER, AMOUNT, HOUR)),
    Feature("customer_amount_sum_1d", "amount that the customer spent in the last day", total(CUSTOMER, AMOUNT, DAY)),
    Feature("customer_seconds_since_last", "seconds since the customer's last payment", seconds_since_last(CUSTOMER)),
    Feature("customer_foreign_share_30d", "share of the customer's payments abroad", mean(CUSTOMER, FOREIGN, 30 * DAY)),
    Feature("customer_online_share_30d", "share of the customer's payments online", mean(CUSTOMER, ONLINE, 30 * DAY)),
    # What is usual for the customer.
    Feature("customer_amount_mean_1d", "mean amount of the customer, 1 day", mean(CUSTOMER, CAPPED_AMOUNT, DAY)),
    Feature("customer_amount_mean_7d", "mean amount of the customer, 7 days", mean(CUSTOMER, CAPPED_AMOUNT, 7 * DAY)),
    Feature(
        "customer_amount_mean_30d", "mean amount of the customer, 30 days", mean(CUSTOMER, CAPPED_AMOUNT, 30 * DAY)
    ),
    Feature(
        "customer_amount_deviation_30d",
        "standard deviation of the customer's amounts, 30 days",
        deviation(CUSTOMER, CAPPED_AMOUNT, 30 * DAY),
    ),
    Feature("customer_amount_max_7d", "largest amount of the customer, 7 days", maximum(CUSTOMER, AMOUNT, 7 * DAY)),
    Feature("customer_amount_max_30d", "largest amount of the customer, 30 days", maximum(CUSTOMER, AMOUNT, 30 * DAY)),
    Feature(
        "amount_score_7d",
        "deviations of the amount from the customer's mean, 7 days",
        score(AMOUNT, mean(CUSTOMER, CAPPED_AMOUNT, 7 * DAY), deviation(CUSTOMER, CAPPED_AMOUNT, 7 * DAY)),
    ),
    Feature(
        "amount_score_30d",
        "deviations of the amount from the customer's mean, 30 days",
        score(AMOUNT, mean(CUSTOMER, CAPPED_AMOUNT, 30 * DAY), deviation(CUSTOMER, CAPPED_AMOUNT, 30 * DAY)),
    ),
    Feature(
        "amount_to_customer_mean_30d",
        "amount as a multiple of the customer's mean, 30 days",
        ratio(AMOUNT, mean(CUSTOMER, CAPPED_AMOUNT, 30 * DAY)),
    ),
    Feature(
        "amount_to_customer_max_30d",
        "amount as a multiple of the customer's largest, 30 days",
        ratio(AMOUNT, maximum(CUSTOMER, AMOUNT, 30 * DAY)),
    ),
    # Where the customer was.
    Feature("kilometres_from_last", "distance from the customer's last payment", kilometres_from_last(CUSTOMER)),
    Feature(
        "kilometres_per_second_from_last",
        "speed needed to come from the customer's last payment",
        ratio(kilometres_from_last(CUSTOMER), seconds_since_last(CUSTOMER)),
    ),
    # The card and the device.
    Feature("card_count_10m", "payments with the card in the last 10 minutes", count(CARD, 10 * MINUTE)),
    Feature("card_count_1h", "payments with the card in the last hour", count(CARD, HOUR)),
    Feature("card_count_1d", "payments with the card in the last day", count(CARD, DAY)),
    Feature("device_count_1h", "payments from the device in the last hour", count(DEVICE, HOUR)),
    Feature("device_count_30d", "payments from the device in the last 30 days", count(DEVICE, 30 * DAY)),
    # What the customer did not do before.
    Feature("customer_merchant_count_30d", "earlier payments of the customer here", count(CUSTOMER_MERCHANT, 30 * DAY)),
    Feature(
        "is_new_device",
        "1 where the customer did not use the device for 30 days",
        is_zero(count(CUSTOMER_DEVICE, 30 * DAY)),
    ),
    Feature("customer_country_count_30d", "earlier payments in this country", count(CUSTOMER_COUNTRY, 30 * DAY)),
    # The merchant.
    Feature("merchant_count_1h", "payments at the merchant in the last hour", count(MERCHANT, HOUR)),
    Feature("merchant_count_1d", "payments at the merchant in the last day", count(MERCHANT, DAY)),
    Feature("merchant_count_7d", "payments at the merchant in the last 7 days", count(MERCHANT, 7 * DAY)),
    Feature("merchant_count_30d", "payments at the merchant in the last 30 days", count(MERCHANT, 30 * DAY)),
    Feature("merchant_amount_mean_7d", "mean amount at the merchant, 7 days", mean(MERCHANT, CAPPED_AMOUNT, 7 * DAY)),
    Feature("merchant_fraud_rate_1d", "known fraud rate of the merchant, 1 day", fraud_rate(MERCHANT, DAY)),
    Feature("merchant_fraud_rate_7d", "known fraud rate of the merchant, 7 days", fraud_rate(MERCHANT, 7 * DAY)),
    Feature("merchant_fraud_rate_30d", "known fraud rate of the merchant, 30 days", fraud_rate(MERCHANT, 30 * DAY)),
    Feature("customer_fraud_rate_30d", "known fraud rate of the customer, 30 days", fraud_rate(CUSTOMER, 30 * DAY)),
)


TEXT_COLUMNS = frozenset(column.name for column in TRANSACTION if column.type == "string")
MAX_LABEL_DELAY_US = 180 * DAY
DEFAULT_LABEL_DELAY_DAYS = 7
"""For a source without labels: its fraud rates are 0 until labels come back from elsewhere."""


@dataclass(frozen=True)
class CatalogOrigin:
    """What a catalog is made from, and its fingerprint: enough to make it again where the source is not at hand.

    Attributes:
        columns_given: the contract columns that the source gives, sorted.
        attributes: the source's numeric attributes, in order.
        label_delay_us: how old an event must be for its label to be used, microseconds.
        fingerprint: of the catalog's names, formulas and delay.
    """

    columns_given: tuple[str, ...]
    attributes: tuple[str, ...]
    label_delay_us: int
    fingerprint: str


@dataclass(frozen=True)
class Catalog:
    """The features that one source can have.

    Attributes:
        features: in the order of the model's input columns.
        columns_given: the contract columns that the source gives, sorted.
        attributes: the source's numeric attributes, in order.
        label_delay_us: how old an event must be for its label to be used, microseconds.
        dropped: features that the source cannot have, with the columns that it lacks.
    """

    features: tuple[Feature, ...]
    columns_given: tuple[str, ...]
    attributes: tuple[str, ...]
    label_delay_us: int
    dropped: Mapping[str, tuple[str, ...]]

    @cached_property
    def names(self) -> list[str]:
        """The model's input columns."""
        return [feature.name for feature in self.features]

    @cached_property
    def rollings(self) -> dict[tuple[str, ...], list[Rolling]]:
        """Every rolling aggregate that a formula uses, once, by entity."""
        found = dict.fromkeys(
            part for feature in self.features for part in walk(feature.formula) if isinstance(part, Rolling)
        )
        by_entity: dict[tuple[str, ...], list[Rolling]] = {}
        for rolling in found:
            by_entity.setdefault(rolling.entity, []).append(rolling)
        return by_entity

    @cached_property
    def columns(self) -> frozenset[str]:
        """The transaction columns that any formula reads, keys included."""
        return frozenset().union(*(columns_of(feature.formula) for feature in self.features))

    @cached_property
    def look_back_us(self) -> int:
        """How long before an event the oldest event lies that any of its features sees, microseconds."""
        rollings = (rolling for group in self.rollings.values() for rolling in group)
        return max((r.span_us + 2 * r.step_us + self.delay_us(r) for r in rollings), default=0)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every name, formula and delay: equal only where the features are."""
        canonical = [self.label_delay_us, [[f.name, repr(f.formula)] for f in self.features]]
        return hashlib.sha256(json.dumps(canonical).encode()).hexdigest()[:FINGERPRINT_LENGTH]

    @property
    def origin(self) -> CatalogOrigin:
        """What `rebuild_catalog` makes this catalog from."""
        return CatalogOrigin(self.columns_given, self.attributes, self.label_delay_us, self.fingerprint)

    @property
    def label_delay_days(self) -> int:
        """The label delay in whole days."""
        return self.label_delay_us // DAY

    def delay_us(self, rolling: Rolling) -> int:
        return self.label_delay_us if rolling.delayed else 0


def build_catalog(present: Iterable[str], attributes: Iterable[str], label_delay_us: int) -> Catalog:
    """The catalog of a source.

    Args:
        present: the contract columns that the source gives.
        attributes: names of the source's numeric attributes.
        label_delay_us: the source's label delay, microseconds.

    Raises:
        CatalogError: if an attribute has the name of a feature, or the delay is not usable.
    """
    if not 0 <= label_delay_us <= MAX_LABEL_DELAY_US:
        raise CatalogError(
            f"labels.delay_days must be between 0 and {MAX_LABEL_DELAY_US // DAY}, got {label_delay_us / DAY:g}."
        )
    given, attributes = tuple(sorted(present)), tuple(attributes)
    known = {feature.name for feature in FEATURES}
    if clash := sorted(known.intersection(attributes)):
        raise CatalogError(f"Attributes {clash} have the names of features. Rename them in the source's `attributes`.")
    available = {"event_us", "known_fraud", *given, *attributes}
    candidates = (*FEATURES, *(Feature(name, "attribute of the source", Column(name)) for name in attributes))
    missing = {feature.name: tuple(sorted(columns_of(feature.formula) - available)) for feature in candidates}
    return Catalog(
        features=tuple(feature for feature in candidates if not missing[feature.name]),
        columns_given=given,
        attributes=attributes,
        label_delay_us=label_delay_us,
        dropped={name: columns for name, columns in missing.items() if columns},
    )


def rebuild_catalog(origin: CatalogOrigin) -> Catalog:
    """The catalog that a model was trained on.

    Raises:
        CatalogError: if this code's features are not the model's.
    """
    catalog = build_catalog(origin.columns_given, origin.attributes, origin.label_delay_us)
    if catalog.fingerprint != origin.fingerprint:
        raise CatalogError(
            f"The model was trained on catalog {origin.fingerprint}, and this code computes "
            f"{catalog.fingerprint}. Train the model again, or serve it from the Bento that it was packaged in."
        )
    return catalog


def catalog_of(source: Source) -> Catalog:
    """The catalog of a source, from its mapping."""
    numeric = [name for name, attribute in source.attributes.items() if attribute.type == "number"]
    delay_days = source.labels.delay_days if source.labels else DEFAULT_LABEL_DELAY_DAYS
    return build_catalog(source.present, numeric, delay_days * DAY)
