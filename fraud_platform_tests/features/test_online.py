"""Events one by one, through states as bytes, give what batch gives for all of them at once."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError, StoreError
from fraud_platform.features.batch import compute_features
from fraud_platform.features.expressions import DAY
from fraud_platform.features.online import Batch, Features, OnlineFeatures, states_of
from fraud_platform.features.selection import build_catalog
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
from fraud_platform_tests.features.histories import CATALOG, START, event, to_frame


class Replay:
    """An online driver over a dictionary in place of a store."""

    def __init__(self, states: dict[bytes, bytes] | None = None) -> None:
        self.online = OnlineFeatures(CATALOG)
        self.states = states or {}

    def see(self, row: dict[str, Any]) -> Features:
        keys = self.online.keys(row)
        features = self.online.compute(row, keys, {key: self.states.get(key) for key in keys.values()})
        self.states |= features.states
        return features

    def see_all(self, rows: list[dict[str, Any]]) -> Batch:
        keys = [self.online.keys(row) for row in rows]
        batch = self.online.compute_all(rows, keys, {key: self.states.get(key) for one in keys for key in one.values()})
        self.states |= batch.states
        return batch


@given(st.lists(event, min_size=1, max_size=25))
@settings(max_examples=60)
def test_events_replayed_one_by_one_give_the_batch_features_to_the_last_bit(events: list[dict[str, Any]]) -> None:
    frame = to_frame(events)
    replay = Replay()
    online = np.array([replay.see(row).vector for row in frame.to_dicts()])
    np.testing.assert_array_equal(online, compute_features(frame, CATALOG))


@given(events=st.lists(event, min_size=2, max_size=25), data=st.data())
@settings(max_examples=40)
def test_states_rebuilt_from_history_go_on_as_if_they_had_seen_every_event(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    frame = to_frame(events)
    half = data.draw(st.integers(1, frame.height - 1))
    rebuilt = list(states_of(frame.head(half), CATALOG, threads=data.draw(st.sampled_from([1, 2]))))
    assert max(latest for _, latest, _ in rebuilt) == frame["event_us"][half - 1]
    replay = Replay({key: state for key, _, state in rebuilt})
    online = np.array([replay.see(row).vector for row in frame[half:].to_dicts()])
    np.testing.assert_array_equal(online, compute_features(frame, CATALOG)[half:])


@given(rows=st.lists(st.tuples(event, st.just(0) | st.integers(0, 40 * DAY)), min_size=1, max_size=25), data=st.data())
@settings(max_examples=100)
def test_events_at_once_give_to_the_last_bit_what_each_gives_in_turn(
    rows: list[tuple[dict[str, Any], int]], data: st.DataObject
) -> None:
    """Whatever keys they share, whichever are missing or late, from whatever states, in sequences of any length."""
    events = to_frame([row for row, _ in rows]).to_dicts()
    events = [row | {"event_us": row["event_us"] - late} for row, (_, late) in zip(events, rows, strict=True)]
    alone, together, place = Replay(), Replay(), 0
    while place < len(events):
        some = events[place : place + data.draw(st.integers(1, len(events) - place))]
        place += len(some)
        single = [alone.see(row) for row in some]
        batch = together.see_all(some)
        assert batch.vectors.tobytes() == np.array([features.vector for features in single]).tobytes()
        assert batch.latest_us.tolist() == [features.latest_us for features in single]
        assert together.states == alone.states


def test_no_events_give_no_features_and_leave_no_states() -> None:
    batch = Replay().see_all([])
    assert batch.vectors.shape == (0, len(CATALOG.features)) and batch.latest_us.shape == (0,) and not batch.states


def test_a_sum_out_of_range_in_a_sequence_changes_nothing_and_leaves_the_driver_usable() -> None:
    row = {"event_us": START, "known_fraud": 0, "customer_id": "ann", "amount_cents": 5 * 2**60}
    replay = Replay()
    replay.see_all([row, row | {"customer_id": "bob"}])
    before = dict(replay.states)
    with pytest.raises(CatalogError, match="range of int64"):
        replay.see_all([row | {"event_us": START + 1, "customer_id": who} for who in ("bob", "cid", "ann", "ann")])
    assert replay.states == before
    after = replay.see_all(
        [row | {"event_us": START + 1, "customer_id": who, "amount_cents": 1} for who in ("bob", "cid")]
    )
    assert after.vectors[:, CATALOG.names.index("customer_count_1d")].tolist() == [1, 0]


def test_a_damaged_state_in_a_sequence_is_refused(history: pl.DataFrame) -> None:
    replay, rows = Replay(), history.to_dicts()
    replay.see_all(rows[:-2])
    key = replay.online.keys(rows[-1])[("merchant_id",)]
    replay.states[key] = replay.states[key][:-1]
    with pytest.raises(StoreError, match="damaged"):
        replay.see_all(rows[-2:])


def test_a_late_event_is_seen_by_those_after_it_and_says_so() -> None:
    row = to_frame(
        [dict.fromkeys(TRANSACTION_COLUMNS) | {"gap": 0, "customer_id": "ann", "amount_cents": 5}]
    ).to_dicts()[0]
    replay = Replay()
    latest = [replay.see({**row, "event_us": START + second, "known_fraud": 0}).latest_us for second in (10, 5, 20)]
    assert [late - START for late in latest] == [10, 10, 20]
    counts = replay.see({**row, "event_us": START + 21, "known_fraud": 0})
    assert counts.vector[CATALOG.names.index("customer_count_1d")] == 3


def test_a_key_of_ten_kilobytes_is_a_key_like_any_other() -> None:
    long = {"event_us": START, "known_fraud": 0, "amount_cents": 1, "merchant_id": "m"}
    replay = Replay()
    for number, customer in enumerate(("k" * 10_240, "k" * 10_240, "k" * 10_239 + "j")):
        seen = replay.see({**long, "customer_id": customer, "event_us": START + number})
        assert seen.vector[CATALOG.names.index("customer_count_1d")] == (1 if number == 1 else 0)
    assert {len(key) for key in replay.states} == {16}


def test_parts_of_a_key_do_not_run_together() -> None:
    online = OnlineFeatures(CATALOG)
    pairs = [("a", "bc"), ("ab", "c")]
    keys = [online.keys({"customer_id": c, "merchant_id": m})[("customer_id", "merchant_id")] for c, m in pairs]
    assert keys[0] != keys[1]


def test_a_state_of_another_catalog_is_refused(history: pl.DataFrame) -> None:
    other = build_catalog(TRANSACTION_COLUMNS, [], 8 * DAY)
    states = {key: state for key, _, state in states_of(history, other)}
    row = history.to_dicts()[-1]
    with pytest.raises(StoreError, match="another catalog"):
        Replay(states).see(row)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    random = np.random.default_rng(5)
    size = 50
    frame = {
        **{name: ["x"] * size for name in TRANSACTION_COLUMNS if name != "event_time"},
        "amount_cents": random.integers(1, 100_000, size),
        **{
            name: random.uniform(-90, 90, size) for name in ("latitude", "longitude", "home_latitude", "home_longitude")
        },
        "event_us": START + np.arange(size) * DAY // 10,
        "known_fraud": np.zeros(size, np.int64),
        "tenure": np.ones(size),
    }
    return pl.DataFrame(frame)
