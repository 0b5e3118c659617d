"""What each feature says of a payment, in an analyst's words. A new feature of the catalog needs a line in `TEXTS`.

Blanks are those of `phrasing`: `value` is the feature's own, others are features of the same payment, columns of the
transaction, and `_label_delay`, how many seconds old payments are whose reports count. What is usual is the mean of the
last 30 days, or of 7 for what was spent. The payment itself is never among those that are counted, and a window may
begin up to one of its steps earlier.
"""

_AMOUNT = "amount {amount_cents:money}"
_HERE = "; this payment is {amount_cents:money}"
_KNOWN = "[ (among payments at least {_label_delay:duration} old)]"
_FRAUDS = "[ ({merchant_known_frauds_7d:frauds} among payments at least {_label_delay:duration} old)]"
_HOUR = "[; this customer's usual is {customer_count_30d/720:usual}]"
_DAY = "[; this customer's usual is {customer_count_30d/30:usual}]"
_WEEK = "[; this customer's usual is {customer_count_30d*7/30:usual}]"
_SPENT_HOUR = "[; this customer's usual is {customer_amount_sum_7d/168:money}]"
_SPENT_DAY = "[; this customer's usual is {customer_amount_sum_7d/7:money}]"
_DEVICE_HOUR = "[; its usual is {device_count_30d/720:usual}]"
_MERCHANT_HOUR = "[; its usual is {merchant_count_30d/720:usual}]"
_MERCHANT_DAY = "[; its usual is {merchant_count_30d/30:usual}]"
_MERCHANT_WEEK = "[; its usual is {merchant_count_30d*7/30:usual}]"
_MEAN = "[, {customer_amount_mean_30d:money}]"

TEXTS: dict[str, str] = {
    # The payment itself.
    "amount": _AMOUNT,
    "amount_log": _AMOUNT,
    "amount_is_round": _AMOUNT + " is a round number, a multiple of 10.00",
    "hour_sin": "paid at {event_us:clock}",
    "hour_cos": "paid at {event_us:clock}",
    "weekday_sin": "paid on a {event_us:weekday} (UTC)",
    "weekday_cos": "paid on a {event_us:weekday} (UTC)",
    "is_night": "paid at {event_us:clock}",
    "is_weekend": "paid at the weekend, on a {event_us:weekday} (UTC)",
    "is_foreign": "the merchant is abroad[, in {merchant_country:text}; the customer's home is {home_country:text}]",
    "is_online": "paid {channel:channel}",
    "is_online_at_night": "paid online at {event_us:clock}",
    "night_amount_log": _AMOUNT + ", paid at {event_us:clock}",
    "foreign_amount_log": _AMOUNT + ", paid abroad[ in {merchant_country:text}]",
    "kilometres_from_home": "paid {value:km} from the customer's home",
    # How busy the customer is.
    "customer_count_1m": "{value:purchases} in the last minute",
    "customer_count_10m": "{value:purchases} in the last 10 minutes",
    "customer_count_1h": "{value:purchases} in the last hour" + _HOUR,
    "customer_count_1d": "{value:purchases} in the last day" + _DAY,
    "customer_count_7d": "{value:purchases} in the last 7 days" + _WEEK,
    "customer_count_30d": "{value:purchases} by this customer in the last 30 days",
    "customer_amount_sum_1h": "{value:money} spent in the last hour" + _SPENT_HOUR,
    "customer_amount_sum_1d": "{value:money} spent in the last day" + _SPENT_DAY,
    "customer_amount_sum_7d": "{value:money} spent in the last 7 days[, in {customer_count_7d:purchases}]",
    "customer_seconds_since_last": "{value:duration} since this customer's last purchase",
    "customer_merchants_1d": "this customer paid {value:merchants} in the last day",
    "customer_merchants_30d": "this customer paid {value:merchants} in the last 30 days",
    "customer_countries_1d": "this customer paid in {value:countries} in the last day",
    "customer_devices_30d": "this customer used {value:devices} in the last 30 days",
    "customer_foreign_share_30d": "{value:percent} of this customer's purchases in 30 days were abroad",
    "customer_online_share_30d": "{value:percent} of this customer's purchases in 30 days were online",
    # What is usual for the customer.
    "customer_amount_mean_1d": "this customer's mean of the last day is {value:money}" + _HERE,
    "customer_amount_mean_7d": "this customer's mean of 7 days is {value:money}" + _HERE,
    "customer_amount_mean_30d": "this customer's mean of 30 days is {value:money}" + _HERE,
    "customer_amount_deviation_30d": "this customer's amounts of 30 days spread by {value:money} around the mean"
    + _MEAN,
    "customer_amount_min_30d": "this customer's smallest amount of 30 days is {value:money}" + _HERE,
    "customer_amount_max_7d": "this customer's largest amount of 7 days is {value:money}" + _HERE,
    "customer_amount_max_30d": "this customer's largest amount of 30 days is {value:money}" + _HERE,
    "amount_score_7d": _AMOUNT
    + " is {value:spreads} this customer's mean of 7 days[, {customer_amount_mean_7d:money}]",
    "amount_score_30d": _AMOUNT + " is {value:spreads} this customer's mean of 30 days" + _MEAN,
    "amount_to_customer_mean_30d": _AMOUNT + " is {value:times} this customer's mean of 30 days" + _MEAN,
    "amount_to_customer_max_30d": _AMOUNT + " is {value:times} this customer's largest amount of 30 days",
    "customer_max_1d_to_usual": "this customer's largest amount of a day is {value:times} the mean of 30 days" + _MEAN,
    "customer_max_3d_to_usual": "this customer's largest amount of 3 days is {value:times} the mean of 30 days" + _MEAN,
    "customer_max_7d_to_usual": "this customer's largest amount of 7 days is {value:times} the mean of 30 days" + _MEAN,
    "count_1d_to_usual": "{customer_count_1d:purchases} in the last day, {value:times} this customer's usual",
    "amount_1d_to_usual": "{customer_amount_sum_1d:money} spent in the last day, {value:times} this customer's usual",
    "usual_hours_share_30d": "{value:percent} of this customer's purchases in 30 days were between {event_us:quarter}",
    # Where the customer was.
    "kilometres_from_last": "paid {value:km} from where this customer paid last",
    "kilometres_per_second_from_last": "to come from where this customer paid last takes {value:speed}",
    # The card and the device.
    "card_count_1m": "{value:purchases} with this card in the last minute",
    "card_count_10m": "{value:purchases} with this card in the last 10 minutes",
    "card_count_1h": "{value:purchases} with this card in the last hour",
    "card_count_1d": "{value:purchases} with this card in the last day",
    "card_amount_sum_1h": "{value:money} spent with this card in the last hour",
    "card_merchants_1h": "{value:merchants} paid with this card in the last hour",
    "device_count_1h": "{value:payments} from this device in the last hour" + _DEVICE_HOUR,
    "device_count_30d": "{value:payments} from this device in the last 30 days",
    "device_customers_30d": "{value:customers} used this device in the last 30 days",
    "device_fraud_rate_30d": "known fraud rate of this device over 30 days is {value:percent}" + _KNOWN,
    # What the customer did not do before.
    "customer_merchant_count_30d": "{value:purchases} by this customer at this merchant in the last 30 days",
    "is_new_merchant": "this customer's first payment at this merchant in 30 days",
    "customer_merchant_amount_mean_30d": "this customer's mean at this merchant in 30 days is {value:money}" + _HERE,
    "customer_merchant_seconds_since_last": "{value:duration} since this customer last paid at this merchant",
    "is_new_device": "this customer's first payment from this device in 30 days",
    "customer_country_count_30d": "{value:purchases} by this customer in {merchant_country:text} in the last 30 days",
    "is_new_country": "this customer's first payment in {merchant_country:text} in 30 days",
    # The merchant.
    "merchant_count_1h": "{value:payments} at this merchant in the last hour" + _MERCHANT_HOUR,
    "merchant_count_1d": "{value:payments} at this merchant in the last day" + _MERCHANT_DAY,
    "merchant_count_7d": "{value:payments} at this merchant in the last 7 days" + _MERCHANT_WEEK,
    "merchant_count_30d": "{value:payments} at this merchant in the last 30 days",
    "merchant_amount_mean_7d": "mean amount at this merchant in 7 days is {value:money}" + _HERE,
    "merchant_amount_max_7d": "largest amount at this merchant in 7 days is {value:money}" + _HERE,
    "merchant_amount_score_7d": _AMOUNT + " is {value:spreads} the mean of 7 days at this merchant",
    "merchant_fraud_rate_1d": "known fraud rate of this merchant over 1 day is {value:percent}" + _KNOWN,
    "merchant_fraud_rate_3d": "known fraud rate of this merchant over 3 days is {value:percent}" + _KNOWN,
    "merchant_fraud_rate_7d": "known fraud rate of this merchant over 7 days is {value:percent}" + _FRAUDS,
    "merchant_fraud_rate_14d": "known fraud rate of this merchant over 14 days is {value:percent}" + _KNOWN,
    "merchant_fraud_rate_30d": "known fraud rate of this merchant over 30 days is {value:percent}" + _KNOWN,
    "merchant_known_frauds_7d": "{value:frauds} at this merchant over 7 days" + _KNOWN,
    "merchant_known_frauds_28d": "{value:frauds} at this merchant over 28 days" + _KNOWN,
    "merchant_known_max_28d": "largest amount at this merchant over 28 days is {value:money}" + _KNOWN,
    "customer_fraud_rate_30d": "known fraud rate of this customer over 30 days is {value:percent}" + _KNOWN,
}
"""One line a feature."""

ZEROS: dict[str, str] = {
    "amount_is_round": _AMOUNT + " is not a multiple of 10.00",
    "is_night": "paid at {event_us:clock}, not at night",
    "is_weekend": "paid on a {event_us:weekday} (UTC), not at the weekend",
    "is_foreign": "the merchant is in the customer's home country[, {home_country:text}]",
    "is_online_at_night": "not paid online at night, but {channel:channel} at {event_us:clock}",
    "night_amount_log": "paid at {event_us:clock}, not at night",
    "foreign_amount_log": "the merchant is in the customer's home country[, {home_country:text}]",
    "customer_amount_sum_1h": "nothing spent in the last hour" + _SPENT_HOUR,
    "customer_amount_sum_1d": "nothing spent in the last day" + _SPENT_DAY,
    "customer_amount_sum_7d": "nothing spent in the last 7 days",
    "customer_foreign_share_30d": "none of this customer's purchases in 30 days was abroad",
    "customer_online_share_30d": "none of this customer's purchases in 30 days was online",
    "customer_amount_deviation_30d": "this customer's amounts of 30 days are all alike" + _MEAN,
    "amount_score_7d": _AMOUNT + " is this customer's mean of 7 days",
    "amount_score_30d": _AMOUNT + " is this customer's mean of 30 days",
    "count_1d_to_usual": "no purchases in the last day" + _DAY,
    "amount_1d_to_usual": "nothing spent in the last day" + _SPENT_DAY,
    "usual_hours_share_30d": "none of this customer's purchases in 30 days was between {event_us:quarter}",
    "kilometres_from_last": "paid where this customer paid last",
    "kilometres_per_second_from_last": "paid where this customer paid last",
    "card_amount_sum_1h": "nothing spent with this card in the last hour",
    "device_fraud_rate_30d": "no known fraud from this device over 30 days" + _KNOWN,
    "customer_merchant_count_30d": "this customer's first payment at this merchant in 30 days",
    "is_new_merchant": "this customer has paid at this merchant in the last 30 days",
    "is_new_device": "this customer has used this device in the last 30 days",
    "customer_country_count_30d": "this customer's first payment in {merchant_country:text} in 30 days",
    "is_new_country": "this customer has paid in {merchant_country:text} in the last 30 days",
    "merchant_amount_score_7d": _AMOUNT + " is the mean of 7 days at this merchant",
    "merchant_fraud_rate_1d": "no known fraud at this merchant over 1 day" + _KNOWN,
    "merchant_fraud_rate_3d": "no known fraud at this merchant over 3 days" + _KNOWN,
    "merchant_fraud_rate_7d": "no known fraud at this merchant over 7 days" + _KNOWN,
    "merchant_fraud_rate_14d": "no known fraud at this merchant over 14 days" + _KNOWN,
    "merchant_fraud_rate_30d": "no known fraud at this merchant over 30 days" + _KNOWN,
    "customer_fraud_rate_30d": "no known fraud of this customer over 30 days" + _KNOWN,
}
"""In place of the text where the value is 0; flags must be here."""

_NONE_EVER = "no purchase by this customer in the last 30 days"
_FEW = " cannot be judged by {}: fewer than 2 payments, or all of one amount"

MISSING: dict[str, str] = {
    "customer_seconds_since_last": _NONE_EVER,
    "customer_foreign_share_30d": _NONE_EVER,
    "customer_online_share_30d": _NONE_EVER,
    "customer_amount_mean_1d": "no purchase by this customer in the last day",
    "customer_amount_mean_7d": "no purchase by this customer in the last 7 days",
    "customer_amount_mean_30d": _NONE_EVER,
    "customer_amount_deviation_30d": "fewer than 2 purchases by this customer in the last 30 days",
    "customer_amount_min_30d": _NONE_EVER,
    "customer_amount_max_7d": "no purchase by this customer in the last 7 days",
    "customer_amount_max_30d": _NONE_EVER,
    "amount_score_7d": _AMOUNT + _FEW.format("this customer's last 7 days"),
    "amount_score_30d": _AMOUNT + _FEW.format("this customer's last 30 days"),
    "amount_to_customer_mean_30d": _NONE_EVER,
    "amount_to_customer_max_30d": _NONE_EVER,
    "customer_max_1d_to_usual": "no purchase by this customer in the last day",
    "customer_max_3d_to_usual": "no purchase by this customer in the last 3 days",
    "customer_max_7d_to_usual": "no purchase by this customer in the last 7 days",
    "count_1d_to_usual": _NONE_EVER,
    "amount_1d_to_usual": "no purchase by this customer in the last 7 days",
    "usual_hours_share_30d": _NONE_EVER,
    "kilometres_from_last": "where this customer paid last is not known",
    "kilometres_per_second_from_last": "where this customer paid last is not known",
    "device_fraud_rate_30d": "fraud rate of this device is not known: no payments over 30 days" + _KNOWN,
    "customer_merchant_amount_mean_30d": "this customer's first payment at this merchant in 30 days",
    "customer_merchant_seconds_since_last": "this customer's first payment at this merchant in 30 days",
    "merchant_amount_mean_7d": "no payment at this merchant in the last 7 days",
    "merchant_amount_max_7d": "no payment at this merchant in the last 7 days",
    "merchant_amount_score_7d": _AMOUNT + _FEW.format("this merchant's last 7 days"),
    "merchant_fraud_rate_1d": "fraud rate of this merchant is not known: no payments over 1 day" + _KNOWN,
    "merchant_fraud_rate_3d": "fraud rate of this merchant is not known: no payments over 3 days" + _KNOWN,
    "merchant_fraud_rate_7d": "fraud rate of this merchant is not known: no payments over 7 days" + _KNOWN,
    "merchant_fraud_rate_14d": "fraud rate of this merchant is not known: no payments over 14 days" + _KNOWN,
    "merchant_fraud_rate_30d": "fraud rate of this merchant is not known: no payments over 30 days" + _KNOWN,
    "merchant_known_max_28d": "no payment at this merchant over 28 days" + _KNOWN,
    "customer_fraud_rate_30d": "fraud rate of this customer is not known: no payments over 30 days" + _KNOWN,
}
"""Where the value is missing though all that the transaction must give for it is there."""

COLUMNS: dict[str, str] = {
    "merchant_id": "the merchant",
    "card_id": "the card",
    "device_id": "the device",
    "merchant_country": "the merchant's country",
    "home_country": "the customer's home country",
    "channel": "how the payment was made",
    "latitude": "where the payment was made",
    "longitude": "where the payment was made",
    "home_latitude": "the place of the customer's home",
    "home_longitude": "the place of the customer's home",
}
"""What is not known where a transaction lacks the column."""

TOPICS: tuple[tuple[str, ...], ...] = (
    ("amount", "amount_log"),
    ("hour_sin", "hour_cos", "is_night", "is_online_at_night", "night_amount_log"),
    ("weekday_sin", "weekday_cos", "is_weekend"),
    ("is_foreign", "foreign_amount_log"),
    (
        *(f"customer_count_{span}" for span in ("1m", "10m", "1h", "1d")),
        *(f"card_count_{span}" for span in ("1m", "10m", "1h", "1d")),
        "count_1d_to_usual",
    ),
    ("customer_count_7d", "customer_count_30d"),
    ("customer_amount_sum_1h", "customer_amount_sum_1d", "card_amount_sum_1h", "amount_1d_to_usual"),
    ("customer_merchants_1d", "customer_merchants_30d", "card_merchants_1h"),
    (
        *(f"customer_amount_mean_{span}" for span in ("1d", "7d", "30d")),
        "customer_amount_deviation_30d",
        "customer_amount_min_30d",
        "customer_amount_max_7d",
        "customer_amount_max_30d",
    ),
    ("amount_score_7d", "amount_score_30d", "amount_to_customer_mean_30d", "amount_to_customer_max_30d"),
    tuple(f"customer_max_{span}_to_usual" for span in ("1d", "3d", "7d")),
    ("kilometres_from_last", "kilometres_per_second_from_last"),
    ("device_count_1h", "device_count_30d"),
    (
        "customer_merchant_count_30d",
        "is_new_merchant",
        "customer_merchant_amount_mean_30d",
        "customer_merchant_seconds_since_last",
    ),
    ("customer_country_count_30d", "is_new_country"),
    tuple(f"merchant_count_{span}" for span in ("1h", "1d", "7d", "30d")),
    ("merchant_amount_mean_7d", "merchant_amount_max_7d", "merchant_amount_score_7d", "merchant_known_max_28d"),
    (
        *(f"merchant_fraud_rate_{days}d" for days in (1, 3, 7, 14, 30)),
        "merchant_known_frauds_7d",
        "merchant_known_frauds_28d",
    ),
)
"""Features that speak of the same thing: together they are one reason, in the words of the one that weighs most."""
