"""Batch, online and the naive reference give the same features."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError, StoreError
from fraud_platform.features.batch import compute_features
from fraud_platform.features.catalog import Catalog, build_catalog
from fraud_platform.features.expressions import DAY, HOUR, Rolling
from fraud_platform.features.online import OnlineFeatures
from fraud_platform.features.stores import StoredDecision
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

CATALOG = build_catalog(TRANSACTION_COLUMNS, ["tenure"], 7 * DAY)
START = 1_700_000_000_000_000

event = st.fixed_dictionaries(
    {
        "gap": st.one_of(st.just(0), st.integers(0, HOUR), st.integers(0, 9 * DAY), st.just(31 * DAY)),
        "customer_id": st.sampled_from(["ann", "bob"]),
        "card_id": st.sampled_from(["c1", "c2", None]),
        "device_id": st.sampled_from(["d1", None]),
        "merchant_id": st.sampled_from(["m1", "m2", None]),
        "merchant_country": st.sampled_from(["FR", "DE", None]),
        "home_country": st.sampled_from(["FR", None]),
        "channel": st.sampled_from(["online", "atm", None]),
        "amount_cents": st.integers(1, 10**12),
        "latitude": st.none() | st.floats(-90, 90),
        "longitude": st.none() | st.floats(-180, 180),
        "home_latitude": st.none() | st.floats(-90, 90),
        "home_longitude": st.none() | st.floats(-180, 180),
        "tenure": st.none() | st.floats(-5, 5),
    }
)


def to_frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {
        name: pl.Float64 if column.type == "float64" else pl.String for name, column in TRANSACTION_COLUMNS.items()
    }
    schema |= {"amount_cents": pl.Int64, "gap": pl.Int64, "tenure": pl.Float64}
    frame = pl.DataFrame(events, schema={name: schema[name] for name in (*events[0],)})
    return frame.with_columns(event_us=START + pl.col("gap").cum_sum(), known_fraud=pl.lit(0, pl.Int64))


@given(st.lists(event, min_size=1, max_size=25))
@settings(max_examples=60)
def test_events_replayed_one_by_one_give_the_batch_features_to_the_last_bit(events: list[dict[str, Any]]) -> None:
    frame = to_frame(events)
    batch = compute_features(frame, CATALOG)
    online = OnlineFeatures(CATALOG)
    states: dict[bytes, bytes] = {}
    for position, row in enumerate(frame.to_dicts()):
        keys = online.keys(row)
        features = online.compute(row, keys, {key: states.get(key) for key in keys.values()})
        np.testing.assert_array_equal(features.vector, batch[position])
        states |= features.states


def test_a_store_rebuilt_from_history_continues_as_if_it_had_seen_every_event(history: pl.DataFrame) -> None:
    batch = compute_features(history, CATALOG)
    online = OnlineFeatures(CATALOG)
    half = history.height // 2
    states = dict(online.states_of(history.head(half)))
    for position, row in enumerate(history.tail(-half).to_dicts(), half):
        keys = online.keys(row)
        features = online.compute(row, keys, {key: states.get(key) for key in keys.values()})
        np.testing.assert_array_equal(features.vector, batch[position])
        states |= features.states


def test_a_state_of_another_catalog_is_refused(history: pl.DataFrame) -> None:
    states = dict(OnlineFeatures(build_catalog(TRANSACTION_COLUMNS, [], 8 * DAY)).states_of(history))
    online = OnlineFeatures(CATALOG)
    row = history.to_dicts()[-1]
    with pytest.raises(StoreError, match="another catalog"):
        online.compute(row, online.keys(row), states)


def test_events_out_of_order_are_refused(history: pl.DataFrame) -> None:
    with pytest.raises(CatalogError, match="ascending"):
        compute_features(history.reverse(), CATALOG)


def test_the_formulas_of_a_small_history_are_what_their_names_say() -> None:
    catalog = build_catalog({"customer_id", "amount_cents", "merchant_id"}, [], 7 * DAY)
    frame = pl.DataFrame(
        {
            "event_us": [START, START + HOUR // 2, START + HOUR // 2, START + 10 * DAY],
            "customer_id": ["ann"] * 4,
            "merchant_id": ["m"] * 4,
            "amount_cents": [100, 300, 500, 600],
            "known_fraud": [1, 0, 0, 0],
        }
    )
    matrix = compute_features(frame, catalog)
    rows = [dict(zip(catalog.names, row.tolist(), strict=True)) for row in matrix]
    assert [row["customer_count_1h"] for row in rows] == [0, 1, 1, 0]
    assert [row["customer_amount_sum_1h"] for row in rows] == [0, 100, 100, 0]
    assert rows[3]["customer_amount_mean_30d"] == 300
    assert rows[3]["customer_amount_deviation_30d"] == pytest.approx(np.std([100, 300, 500]))
    assert rows[3]["amount_to_customer_max_30d"] == pytest.approx(600 / 500)
    assert rows[3]["customer_seconds_since_last"] == pytest.approx((10 * DAY - HOUR // 2) / 1e6)
    assert rows[3]["merchant_fraud_rate_7d"] == pytest.approx(1 / 3)
    assert np.isnan(rows[1]["merchant_fraud_rate_7d"])


def test_every_rolling_aggregate_is_sorted_by_entity_once() -> None:
    rollings = [r for group in CATALOG.rollings.values() for r in group]
    assert len(rollings) == len(set(rollings)) and all(isinstance(r, Rolling) for r in rollings)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    random = np.random.default_rng(5)
    size = 400
    frame = {
        "gap": random.integers(0, 6 * HOUR, size),
        "customer_id": random.choice(["ann", "bob", "cid"], size),
        "card_id": random.choice(["c1", "c2"], size),
        "device_id": random.choice(["d1", "d2"], size),
        "merchant_id": random.choice(["m1", "m2", "m3"], size),
        "merchant_country": random.choice(["FR", "DE"], size),
        "home_country": ["FR"] * size,
        "channel": random.choice(["online", "atm"], size),
        "amount_cents": random.integers(1, 100_000, size),
        "latitude": random.uniform(-90, 90, size),
        "longitude": random.uniform(-180, 180, size),
        "home_latitude": random.uniform(-90, 90, size),
        "home_longitude": random.uniform(-180, 180, size),
        "tenure": random.uniform(0, 1, size),
    }
    return pl.DataFrame(frame).with_columns(event_us=START + pl.col("gap").cum_sum(), known_fraud=pl.lit(0, pl.Int64))


class TestCatalog:
    def test_a_feature_drops_out_with_the_columns_that_the_source_lacks(self) -> None:
        catalog = build_catalog({"customer_id", "amount_cents"}, [], 7 * DAY)
        assert catalog.dropped["merchant_count_1d"] == ("merchant_id",)
        assert "merchant_count_1d" not in catalog.names
        assert "customer_count_1d" in catalog.names

    def test_the_fingerprint_changes_with_the_delay_and_the_features(self) -> None:
        catalogs = [
            CATALOG,
            build_catalog(TRANSACTION_COLUMNS, ["tenure"], 8 * DAY),
            build_catalog(TRANSACTION_COLUMNS, [], 7 * DAY),
        ]
        assert len({catalog.fingerprint for catalog in catalogs}) == 3

    def test_an_attribute_may_not_take_the_name_of_a_feature(self) -> None:
        with pytest.raises(CatalogError, match="amount_log"):
            build_catalog(TRANSACTION_COLUMNS, ["amount_log"], 7 * DAY)

    def test_names_are_unique(self) -> None:
        assert len(set(CATALOG.names)) == len(CATALOG.names)

    def test_the_look_back_reaches_the_oldest_event_of_any_window(self) -> None:
        assert isinstance(CATALOG, Catalog)
        spans = [r.span_us + r.step_us + CATALOG.delay_us(r) for group in CATALOG.rollings.values() for r in group]
        assert CATALOG.look_back_us >= max(spans)


class TestLmdbStore:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[LmdbStore]:
        store = LmdbStore(tmp_path / "store", map_bytes=1 << 24)
        yield store
        store.close()

    def test_a_commit_writes_states_and_decision_together(self, store: LmdbStore) -> None:
        decision = StoredDecision(b"d" * 32, b"approved")
        assert store.commit("t1", decision, {b"k": None}, {b"k": b"v"}) == "committed"
        assert store.read([b"k", b"other"]) == [b"v", None]
        assert store.decision("t1") == decision

    def test_a_changed_state_refuses_the_commit_and_writes_nothing(self, store: LmdbStore) -> None:
        store.commit("t1", StoredDecision(b"d" * 32, b"a"), {b"k": None}, {b"k": b"v"})
        assert store.commit("t2", StoredDecision(b"d" * 32, b"b"), {b"k": None}, {b"k": b"w"}) == "changed"
        assert store.read([b"k"]) == [b"v"] and store.decision("t2") is None

    def test_a_second_decision_on_the_same_transaction_is_refused(self, store: LmdbStore) -> None:
        store.commit("t1", StoredDecision(b"d" * 32, b"a"), {}, {b"k": b"v"})
        assert store.commit("t1", StoredDecision(b"e" * 32, b"b"), {}, {b"k": b"w"}) == "exists"
        assert store.read([b"k"]) == [b"v"]

    def test_a_rebuild_replaces_every_state_and_keeps_decisions(self, store: LmdbStore) -> None:
        store.commit("t1", StoredDecision(b"d" * 32, b"a"), {}, {b"k": b"v"})
        assert store.rebuild("0123", iter([(b"n", b"1")])) == 1
        assert store.read([b"k", b"n"]) == [None, b"1"]
        assert store.fingerprint() == "0123" and store.decision("t1") is not None
