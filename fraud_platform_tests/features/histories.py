"""Histories of events for property tests: few keys, ties, gaps, step boundaries, nulls."""

from typing import Any

import polars as pl
from hypothesis import strategies as st

from fraud_platform.features.expressions import DAY, HOUR, MINUTE
from fraud_platform.features.selection import build_catalog
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

START = 1_700_000_000_000_000 // DAY * DAY

CATALOG = build_catalog(TRANSACTION_COLUMNS, ["tenure"], 7 * DAY)
"""Every feature there is, and an attribute."""

gaps = st.one_of(
    st.just(0),
    st.integers(1, 3),
    st.sampled_from([MINUTE, HOUR, DAY, 7 * DAY, 31 * DAY]),
    st.integers(0, HOUR),
    st.integers(0, 9 * DAY),
)
"""Microseconds from one event to the next."""

event = st.fixed_dictionaries(
    {
        "gap": gaps,
        "customer_id": st.sampled_from(["ann", "bob"]),
        "card_id": st.sampled_from(["c1", "c2", None]),
        "device_id": st.sampled_from(["d1", "d2", None]),
        "merchant_id": st.sampled_from(["m1", "m2", "m3", None]),
        "merchant_country": st.sampled_from(["FR", "DE", None]),
        "home_country": st.sampled_from(["FR", None]),
        "channel": st.sampled_from(["online", "atm", None]),
        "amount_cents": st.integers(1, 10**12),
        "latitude": st.none() | st.floats(-90, 90),
        "longitude": st.none() | st.floats(-180, 180),
        "home_latitude": st.none() | st.floats(-90, 90),
        "home_longitude": st.none() | st.floats(-180, 180),
        "tenure": st.none() | st.floats(-5, 5),
        "known_fraud": st.integers(0, 1),
    }
)


def to_frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    """The events as the drivers take them, `event_us` from the gaps."""
    schema = {
        name: pl.Float64 if column.type == "float64" else pl.String for name, column in TRANSACTION_COLUMNS.items()
    }
    schema |= {"amount_cents": pl.Int64, "gap": pl.Int64, "tenure": pl.Float64, "known_fraud": pl.Int64}
    frame = pl.DataFrame(events, schema={name: schema[name] for name in (*events[0],)})
    names = pl.Series("transaction_id", [f"t{row:05}" for row in range(frame.height)])
    return frame.with_columns(names, event_us=START + pl.col("gap").cum_sum())
