import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError
from fraud_platform.features.batch import compute_aggregates, compute_features, key_codes
from fraud_platform.features.columns import dense_codes, to_matrix
from fraud_platform.features.derive import Derivation
from fraud_platform.features.expressions import DAY, HOUR
from fraud_platform.features.fold import NULL
from fraud_platform.features.selection import build_catalog
from fraud_platform_tests.features.histories import CATALOG, START, event, to_frame
from fraud_platform_tests.features.naive import naive_rolling


@given(st.lists(event, min_size=1, max_size=20))
@settings(max_examples=30)
def test_every_aggregate_of_the_catalog_is_what_the_naive_reference_says(events: list[dict[str, object]]) -> None:
    frame = to_frame(events)
    aggregates = compute_aggregates(frame, CATALOG, threads=1)
    times = frame["event_us"].to_list()
    for found, rolling in zip(aggregates, CATALOG.all_rollings, strict=True):
        parts = [frame[name].to_list() for name in rolling.entity]
        keys = [None if None in key else key for key in zip(*parts, strict=True)]
        values: list[int | None] = [0] * frame.height
        if rolling.column is not None:
            names = list(CATALOG.input_columns)
            (column,) = Derivation([rolling.column], names, []).to_integers(to_matrix(frame, names))
            values = [None if v == NULL else int(v) for v in column]
        expected = naive_rolling(rolling.operation, CATALOG.window(rolling), keys, times, values)
        assert [None if v == NULL else int(v) for v in found] == expected, rolling


@given(events=st.lists(event, min_size=2, max_size=30), data=st.data())
@settings(max_examples=30)
def test_history_before_the_wanted_rows_is_seen_and_gets_no_features(
    events: list[dict[str, object]], data: st.DataObject
) -> None:
    frame = to_frame(events)
    skip = data.draw(st.integers(0, frame.height))
    np.testing.assert_array_equal(compute_features(frame, CATALOG, skip), compute_features(frame, CATALOG)[skip:])


def test_events_out_of_order_are_refused() -> None:
    frame = pl.DataFrame({"event_us": [2, 1], "customer_id": ["a", "a"], "amount_cents": [1, 1], "known_fraud": [0, 0]})
    with pytest.raises(CatalogError, match="ascending"):
        compute_features(frame, build_catalog({"customer_id", "amount_cents"}, [], 0))


def test_a_sum_at_the_edge_of_int64_is_an_error() -> None:
    frame = pl.DataFrame(
        {
            "event_us": [START, START + 1, START + 2],
            "customer_id": ["a"] * 3,
            "amount_cents": [2**62] * 3,
            "known_fraud": [0] * 3,
        }
    )
    with pytest.raises(CatalogError, match="range of int64"):
        compute_features(frame, build_catalog({"customer_id", "amount_cents"}, [], 0))


def test_the_formulas_of_a_small_history_are_what_their_names_say() -> None:
    catalog = build_catalog({"customer_id", "amount_cents", "merchant_id"}, [], 7 * DAY)
    frame = pl.DataFrame(
        {
            "event_us": [START, START + HOUR // 2, START + HOUR // 2, START + 10 * DAY],
            "customer_id": ["ann"] * 4,
            "merchant_id": ["m", "n", "m", "m"],
            "amount_cents": [100, 300, 500, 600],
            "known_fraud": [1, 0, 0, 0],
        }
    )
    matrix = compute_features(frame, catalog)
    rows = [dict(zip(catalog.names, row.tolist(), strict=True)) for row in matrix]
    assert [row["customer_count_1h"] for row in rows] == [0, 1, 1, 0]
    assert [row["customer_amount_sum_1h"] for row in rows] == [0, 100, 100, 0]
    assert [row["customer_merchants_30d"] for row in rows] == [0, 1, 1, 2]
    assert [row["is_new_merchant"] for row in rows] == [1, 1, 0, 0]
    assert rows[3]["customer_amount_mean_30d"] == 300
    assert rows[3]["customer_amount_deviation_30d"] == pytest.approx(np.std([100, 300, 500]))
    assert rows[3]["amount_to_customer_max_30d"] == pytest.approx(600 / 500)
    assert rows[3]["customer_seconds_since_last"] == pytest.approx((10 * DAY - HOUR // 2) / 1e6)
    assert rows[3]["usual_hours_share_30d"] == 1
    assert rows[3]["merchant_fraud_rate_7d"] == pytest.approx(1 / 2)
    assert np.isnan(rows[1]["merchant_fraud_rate_7d"])


def test_a_key_with_a_null_part_is_no_key() -> None:
    frame = pl.DataFrame({"a": ["x", None, "x", "y"], "b": ["1", "1", None, "1"]})
    assert key_codes([dense_codes(frame["a"]), dense_codes(frame["b"])]).tolist() == [0, -1, -1, 1]
