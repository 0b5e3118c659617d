"""THE list of features: what each is called, what it means, and how it is made.

To add a feature, add one line to `FEATURES`: every way of computing them picks it up. A feature whose
columns a source lacks drops out of that source's catalog; a numeric attribute of the source becomes a
feature of its own. The words that the lines are written in stand above them.
"""

from dataclasses import dataclass

from fraud_platform.features.expressions import (
    DAY,
    HOUR,
    KNOWN_FRAUD,
    MINUTE,
    Call,
    Column,
    Expression,
    Operation,
    Rolling,
)

AMOUNT_CAP_CENTS = 10_000_000
"""Amounts above 100,000 major units count as that much in moments: int64 then holds the squares of
92,000 such payments of one key, and one outlier cannot hide what is unusual."""


@dataclass(frozen=True)
class Feature:
    """One model input."""

    name: str
    meaning: str
    formula: Expression


@dataclass(frozen=True)
class Segment:
    """Payments whose models are judged apart: those whose feature is at least `at_least` and below `below`."""

    name: str
    feature: str
    at_least: float
    below: float


CUSTOMER = ("customer_id",)
CARD = ("card_id",)
DEVICE = ("device_id",)
MERCHANT = ("merchant_id",)
CUSTOMER_MERCHANT = ("customer_id", "merchant_id")
CUSTOMER_DEVICE = ("customer_id", "device_id")
CUSTOMER_COUNTRY = ("customer_id", "merchant_country")

EVENT_TIME = Column("event_us")
AMOUNT = Column("amount_cents")
FRAUD = Column(KNOWN_FRAUD)
CAPPED_AMOUNT = Call("minimum", (AMOUNT, AMOUNT_CAP_CENTS))
AMOUNT_LOG = Call("log1p", (AMOUNT,))
FOREIGN = Call("differs", (Column("merchant_country"), Column("home_country")))
ONLINE = Call("equals", (Column("channel"), "online"))
DAY_FRACTION = Call("day_fraction", (EVENT_TIME,))
WEEKDAY = Call("weekday", (EVENT_TIME,))
WEEKDAY_FRACTION = Call("divide", (WEEKDAY, 7.0))
NIGHT = Call("between", (DAY_FRACTION, 0.0, 0.25))
QUARTERS_OF_THE_DAY = tuple(Call("between", (DAY_FRACTION, n / 4, (n + 1) / 4)) for n in range(4))
PLACE = (Column("latitude"), Column("longitude"))
HOME = (Column("home_latitude"), Column("home_longitude"))
MICRODEGREES_A_DEGREE = 1e6


def count(entity: tuple[str, ...], span: int) -> Expression:
    return Rolling(entity, "count", None, span)


def total(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    return Rolling(entity, "sum", column, span)


def mean(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    return ratio(total(entity, column, span), count(entity, span))


def deviation(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    squares = Rolling(entity, "sum_squares", column, span)
    return Call("deviation", (count(entity, span), total(entity, column, span), squares))


def maximum(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    return Rolling(entity, "max", column, span)


def minimum(entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    return Rolling(entity, "min", column, span)


def distinct(entity: tuple[str, ...], column: str, span: int) -> Expression:
    return Rolling(entity, "distinct", Column(column), span)


def fraud_rate(entity: tuple[str, ...], span: int) -> Expression:
    """The share of frauds among events that are at least one label delay old."""
    return ratio(known_frauds(entity, span), Rolling(entity, "count", None, span, delayed=True))


def known_frauds(entity: tuple[str, ...], span: int) -> Expression:
    """Frauds among events that are at least one label delay old."""
    return Rolling(entity, "sum", FRAUD, span, delayed=True)


def ratio(numerator: Expression, denominator: Expression | float) -> Expression:
    return Call("divide", (numerator, denominator))


def product(left: Expression, right: Expression) -> Expression:
    return Call("multiply", (left, right))


def difference(left: Expression, right: Expression) -> Expression:
    return Call("subtract", (left, right))


def score(value: Expression, entity: tuple[str, ...], column: Column | Call, span: int) -> Expression:
    """How many deviations a value lies above the entity's mean."""
    return ratio(difference(value, mean(entity, column, span)), deviation(entity, column, span))


def to_daily_mean(operation: Operation, column: Column | None, days: int) -> Expression:
    """The customer's last day as a multiple of a mean day."""
    last_day, many_days = (Rolling(CUSTOMER, operation, column, span) for span in (DAY, days * DAY))
    return ratio(last_day, ratio(many_days, float(days)))


def recent_maximum_to_usual(days: int) -> Expression:
    """The customer's largest recent amount as a multiple of the usual mean."""
    return ratio(maximum(CUSTOMER, AMOUNT, days * DAY), mean(CUSTOMER, CAPPED_AMOUNT, 30 * DAY))


def seconds_since_last(entity: tuple[str, ...]) -> Expression:
    return ratio(difference(EVENT_TIME, Rolling(entity, "last", EVENT_TIME, 30 * DAY)), 1e6)


def kilometres_from_last(entity: tuple[str, ...]) -> Expression:
    latest = [Rolling(entity, "last", Call("micro", (part,)), 30 * DAY) for part in PLACE]
    degrees = [ratio(part, MICRODEGREES_A_DEGREE) for part in latest]
    return Call("distance_km", (*PLACE, *degrees))


def share_of_this_quarter_of_the_day(entity: tuple[str, ...], span: int) -> Expression:
    """The share of the entity's events that fell into the quarter of the day that it is now."""
    first, *others = (product(now, mean(entity, now, span)) for now in QUARTERS_OF_THE_DAY)
    for other in others:
        first = Call("add", (first, other))
    return first


def is_zero(value: Expression) -> Expression:
    return Call("equals", (value, 0.0))


FEATURES: tuple[Feature, ...] = (
    # The payment itself.
    Feature("amount", "amount in minor units", AMOUNT),
    Feature("amount_log", "log of one plus the amount", AMOUNT_LOG),
    Feature("amount_is_round", "1 for a whole number of ten major units", Call("is_multiple", (AMOUNT, 1000.0))),
    Feature("hour_sin", "time of day as a cycle, sine", Call("sin_turn", (DAY_FRACTION,))),
    Feature("hour_cos", "time of day as a cycle, cosine", Call("cos_turn", (DAY_FRACTION,))),
    Feature("weekday_sin", "day of the week as a cycle, sine", Call("sin_turn", (WEEKDAY_FRACTION,))),
    Feature("weekday_cos", "day of the week as a cycle, cosine", Call("cos_turn", (WEEKDAY_FRACTION,))),
    Feature("is_night", "1 from midnight to 6 UTC", NIGHT),
    Feature("is_weekend", "1 on Saturday and Sunday UTC", Call("between", (WEEKDAY, 5.0, 7.0))),
    Feature("is_foreign", "1 where the merchant is not in the customer's country", FOREIGN),
    Feature("is_online", "1 for a payment over the internet", ONLINE),
    Feature("is_online_at_night", "1 over the internet from midnight to 6 UTC", product(ONLINE, NIGHT)),
    Feature("night_amount_log", "log of the amount from midnight to 6 UTC, else 0", product(NIGHT, AMOUNT_LOG)),
    Feature("foreign_amount_log", "log of the amount abroad, else 0", product(FOREIGN, AMOUNT_LOG)),
    Feature("kilometres_from_home", "distance from the customer's home", Call("distance_km", (*PLACE, *HOME))),
    # How busy the customer is.
    Feature("customer_count_1m", "payments of the customer in the last minute", count(CUSTOMER, MINUTE)),
    Feature("customer_count_10m", "payments of the customer in the last 10 minutes", count(CUSTOMER, 10 * MINUTE)),
    Feature("customer_count_1h", "payments of the customer in the last hour", count(CUSTOMER, HOUR)),
    Feature("customer_count_1d", "payments of the customer in the last day", count(CUSTOMER, DAY)),
    Feature("customer_count_7d", "payments of the customer in the last 7 days", count(CUSTOMER, 7 * DAY)),
    Feature("customer_count_30d", "payments of the customer in the last 30 days", count(CUSTOMER, 30 * DAY)),
    Feature("customer_amount_sum_1h", "amount that the customer spent in the last hour", total(CUSTOMER, AMOUNT, HOUR)),
    Feature("customer_amount_sum_1d", "amount that the customer spent in the last day", total(CUSTOMER, AMOUNT, DAY)),
    Feature("customer_amount_sum_7d", "amount that the customer spent in 7 days", total(CUSTOMER, AMOUNT, 7 * DAY)),
    Feature("customer_seconds_since_last", "seconds since the customer's last payment", seconds_since_last(CUSTOMER)),
    Feature("customer_merchants_1d", "merchants of the customer, 1 day", distinct(CUSTOMER, "merchant_id", DAY)),
    Feature(
        "customer_merchants_30d", "merchants of the customer, 30 days", distinct(CUSTOMER, "merchant_id", 30 * DAY)
    ),
    Feature("customer_countries_1d", "countries of the customer, 1 day", distinct(CUSTOMER, "merchant_country", DAY)),
    Feature("customer_devices_30d", "devices of the customer, 30 days", distinct(CUSTOMER, "device_id", 30 * DAY)),
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
    Feature("customer_amount_min_30d", "smallest amount of the customer, 30 days", minimum(CUSTOMER, AMOUNT, 30 * DAY)),
    Feature("customer_amount_max_7d", "largest amount of the customer, 7 days", maximum(CUSTOMER, AMOUNT, 7 * DAY)),
    Feature("customer_amount_max_30d", "largest amount of the customer, 30 days", maximum(CUSTOMER, AMOUNT, 30 * DAY)),
    Feature(
        "amount_score_7d",
        "deviations of the amount from the customer's mean, 7 days",
        score(AMOUNT, CUSTOMER, CAPPED_AMOUNT, 7 * DAY),
    ),
    Feature(
        "amount_score_30d",
        "deviations of the amount from the customer's mean, 30 days",
        score(AMOUNT, CUSTOMER, CAPPED_AMOUNT, 30 * DAY),
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
    Feature("customer_max_1d_to_usual", "largest amount of a day to the usual mean", recent_maximum_to_usual(1)),
    Feature("customer_max_3d_to_usual", "largest amount of 3 days to the usual mean", recent_maximum_to_usual(3)),
    Feature("customer_max_7d_to_usual", "largest amount of 7 days to the usual mean", recent_maximum_to_usual(7)),
    Feature("count_1d_to_usual", "payments of the last day to those of a mean day", to_daily_mean("count", None, 30)),
    Feature("amount_1d_to_usual", "amount of the last day to that of a mean day", to_daily_mean("sum", AMOUNT, 7)),
    Feature(
        "usual_hours_share_30d",
        "share of the customer's payments in this quarter of the day",
        share_of_this_quarter_of_the_day(CUSTOMER, 30 * DAY),
    ),
    # Where the customer was.
    Feature("kilometres_from_last", "distance from the customer's last payment", kilometres_from_last(CUSTOMER)),
    Feature(
        "kilometres_per_second_from_last",
        "speed needed to come from the customer's last payment",
        ratio(kilometres_from_last(CUSTOMER), seconds_since_last(CUSTOMER)),
    ),
    # The card and the device.
    Feature("card_count_1m", "payments with the card in the last minute", count(CARD, MINUTE)),
    Feature("card_count_10m", "payments with the card in the last 10 minutes", count(CARD, 10 * MINUTE)),
    Feature("card_count_1h", "payments with the card in the last hour", count(CARD, HOUR)),
    Feature("card_count_1d", "payments with the card in the last day", count(CARD, DAY)),
    Feature("card_amount_sum_1h", "amount paid with the card in the last hour", total(CARD, AMOUNT, HOUR)),
    Feature("card_merchants_1h", "merchants where the card paid in the last hour", distinct(CARD, "merchant_id", HOUR)),
    Feature("device_count_1h", "payments from the device in the last hour", count(DEVICE, HOUR)),
    Feature("device_count_30d", "payments from the device in the last 30 days", count(DEVICE, 30 * DAY)),
    Feature(
        "device_customers_30d", "customers who used the device, 30 days", distinct(DEVICE, "customer_id", 30 * DAY)
    ),
    Feature("device_fraud_rate_30d", "known fraud rate of the device, 30 days", fraud_rate(DEVICE, 30 * DAY)),
    # What the customer did not do before.
    Feature("customer_merchant_count_30d", "earlier payments of the customer here", count(CUSTOMER_MERCHANT, 30 * DAY)),
    Feature(
        "is_new_merchant",
        "1 where the customer was not here for 30 days",
        is_zero(count(CUSTOMER_MERCHANT, 30 * DAY)),
    ),
    Feature(
        "customer_merchant_amount_mean_30d",
        "mean amount of the customer here, 30 days",
        mean(CUSTOMER_MERCHANT, CAPPED_AMOUNT, 30 * DAY),
    ),
    Feature(
        "customer_merchant_seconds_since_last",
        "seconds since the customer was here",
        seconds_since_last(CUSTOMER_MERCHANT),
    ),
    Feature(
        "is_new_device",
        "1 where the customer did not use the device for 30 days",
        is_zero(count(CUSTOMER_DEVICE, 30 * DAY)),
    ),
    Feature("customer_country_count_30d", "earlier payments in this country", count(CUSTOMER_COUNTRY, 30 * DAY)),
    Feature(
        "is_new_country",
        "1 where the customer did not pay in the country for 30 days",
        is_zero(count(CUSTOMER_COUNTRY, 30 * DAY)),
    ),
    # The merchant.
    Feature("merchant_count_1h", "payments at the merchant in the last hour", count(MERCHANT, HOUR)),
    Feature("merchant_count_1d", "payments at the merchant in the last day", count(MERCHANT, DAY)),
    Feature("merchant_count_7d", "payments at the merchant in the last 7 days", count(MERCHANT, 7 * DAY)),
    Feature("merchant_count_30d", "payments at the merchant in the last 30 days", count(MERCHANT, 30 * DAY)),
    Feature("merchant_amount_mean_7d", "mean amount at the merchant, 7 days", mean(MERCHANT, CAPPED_AMOUNT, 7 * DAY)),
    Feature("merchant_amount_max_7d", "largest amount at the merchant, 7 days", maximum(MERCHANT, AMOUNT, 7 * DAY)),
    Feature(
        "merchant_amount_score_7d",
        "deviations of the amount from the merchant's mean, 7 days",
        score(AMOUNT, MERCHANT, CAPPED_AMOUNT, 7 * DAY),
    ),
    Feature("merchant_fraud_rate_1d", "known fraud rate of the merchant, 1 day", fraud_rate(MERCHANT, DAY)),
    Feature("merchant_fraud_rate_3d", "known fraud rate of the merchant, 3 days", fraud_rate(MERCHANT, 3 * DAY)),
    Feature("merchant_fraud_rate_7d", "known fraud rate of the merchant, 7 days", fraud_rate(MERCHANT, 7 * DAY)),
    Feature("merchant_fraud_rate_14d", "known fraud rate of the merchant, 14 days", fraud_rate(MERCHANT, 14 * DAY)),
    Feature("merchant_fraud_rate_30d", "known fraud rate of the merchant, 30 days", fraud_rate(MERCHANT, 30 * DAY)),
    Feature("merchant_known_frauds_7d", "known frauds at the merchant, 7 days", known_frauds(MERCHANT, 7 * DAY)),
    Feature("merchant_known_frauds_28d", "known frauds at the merchant, 28 days", known_frauds(MERCHANT, 28 * DAY)),
    Feature(
        "merchant_known_max_28d",
        "largest amount at the merchant where labels are known, 28 days",
        Rolling(MERCHANT, "max", AMOUNT, 28 * DAY, delayed=True),
    ),
    Feature("customer_fraud_rate_30d", "known fraud rate of the customer, 30 days", fraud_rate(CUSTOMER, 30 * DAY)),
)

SEGMENTS: tuple[Segment, ...] = (
    Segment("abroad", "is_foreign", 1, 2),
    Segment("at home", "is_foreign", 0, 1),
    Segment("online", "is_online", 1, 2),
    Segment("not online", "is_online", 0, 1),
    Segment("at night", "is_night", 1, 2),
    Segment("new merchant", "is_new_merchant", 1, 2),
    Segment("known merchant", "is_new_merchant", 0, 1),
    Segment("new device", "is_new_device", 1, 2),
    Segment("customer with under 5 payments in 30 days", "customer_count_30d", 0, 5),
)
"""A payment without the value is in none; one may be in several."""
