"""The bounded fold against the naive reference, with late events, ties, and states that travel as bytes."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError, StoreError
from fraud_platform.features.entity_folds import EntityFolds
from fraud_platform.features.expressions import (
    DAY,
    DISTINCT_LIMIT,
    HOUR,
    KNOWN_FRAUD,
    MINUTE,
    Column,
    Operation,
    Rolling,
    Window,
    step_of,
)
from fraud_platform.features.fold import NULL, group_rows
from fraud_platform.features.plans import Aggregate
from fraud_platform.features.timeline import Timeline
from fraud_platform_tests.features.histories import START, gaps
from fraud_platform_tests.features.naive import naive_rolling

INPUTS = VALUE, FRAUD = Column("value"), Column(KNOWN_FRAUD)
HEADER = bytes.fromhex("0123456789abcdef")
SPANS = (MINUTE, 10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY)


def aggregate(operation: Operation, span: int, delay: int = 0, column: Column | None = VALUE) -> Aggregate:
    rolling = Rolling(("key",), operation, None if operation == "count" else column, span, delayed=delay > 0)
    return Aggregate(rolling, Window(span, step_of(span + delay), delay))


ALL = [
    *(aggregate(operation, span) for operation in get_args(Operation) for span in SPANS),
    *(aggregate("count", span, 7 * DAY) for span in (DAY, 7 * DAY, 30 * DAY)),
    *(aggregate("sum", span, 7 * DAY, FRAUD) for span in (DAY, 7 * DAY, 30 * DAY)),
]


class Fold(Timeline):
    """One entity: its many events at once, and its single events as the online driver takes them."""

    def __init__(self, aggregates: list[Aggregate], fingerprint: bytes) -> None:
        super().__init__(aggregates, INPUTS, fingerprint)
        self._single = EntityFolds([aggregates], INPUTS, fingerprint)

    def step(self, state: bytes | None, time: int, inputs: np.ndarray) -> tuple[np.ndarray, int, bytes]:
        """What an event sees, its key's latest instant, and the key's state with the event in it."""
        taken = self._single.take([b"key"], {b"key": state}, np.array([time]), inputs[np.newaxis])
        return taken.seen[0], int(taken.latest[0]), taken.states[b"key"]

    def relabel(self, state: bytes, time: int, source: int, change: int) -> bytes:
        return self._single.relabel(0, state, time, source, change)


def timeline(aggregates: list[Aggregate] = ALL, header: bytes = HEADER) -> Fold:
    return Fold(aggregates, header)


def row(value: int | None, fraud: int = 0) -> np.ndarray:
    return np.array([NULL if value is None else value, fraud], np.int64)


def expected(read: Aggregate, times: list[int], values: list[int | None], frauds: list[int]) -> list[int | None]:
    inputs = frauds if read.rolling.column == FRAUD else values
    folded = [0] * len(times) if read.rolling.operation == "count" else inputs
    return naive_rolling(read.rolling.operation, read.window, ["k"] * len(times), times, folded)


histories = st.lists(st.tuples(gaps, st.none() | st.integers(-5, 5), st.integers(0, 1)), min_size=1, max_size=40)


@given(histories)
@settings(max_examples=150)
def test_every_event_sees_what_the_naive_reference_says(history: list[tuple[int, int | None, int]]) -> None:
    times = [START + int(t) for t in np.cumsum([gap for gap, _, _ in history])]
    values, frauds = [value for _, value, _ in history], [fraud for _, _, fraud in history]
    fold, state, seen = timeline(), None, []
    for time, value, fraud in zip(times, values, frauds, strict=True):
        out, latest, state = fold.step(state, time, row(value, fraud))
        assert latest == time
        seen.append([None if v == NULL else int(v) for v in out])
    for position, read in enumerate(ALL):
        assert [one[position] for one in seen] == expected(read, times, values, frauds), read


@given(history=histories, late=st.lists(st.tuples(st.integers(0, 40 * DAY), st.integers(-5, 5)), max_size=5))
@settings(max_examples=150)
def test_late_events_are_right_for_whoever_comes_after_them(
    history: list[tuple[int, int | None, int]], late: list[tuple[int, int]]
) -> None:
    times = [START + int(t) for t in np.cumsum([gap for gap, _, _ in history])]
    events = [(time, value, fraud) for time, (_, value, fraud) in zip(times, history, strict=True)]
    events += [(max(times[-1] - age, START), value, 1) for age, value in late]
    fold, state = timeline(), None
    for time, value, fraud in events:
        _, _, state = fold.step(state, time, row(value, fraud))
    now = times[-1] + 1
    out, _, _ = fold.step(state, now, row(None))
    columns = [list(column) for column in zip(*sorted(events, key=lambda e: e[0]), strict=True)]
    for position, read in enumerate(ALL):
        times_, values, frauds = ([*column, last] for column, last in zip(columns, (now, None, 0), strict=True))
        answer = expected(read, times_, values, frauds)[-1]
        assert (None if out[position] == NULL else int(out[position])) == answer, read


def test_a_late_event_sees_whole_buckets_before_it_and_nothing_last_or_distinct_from_after_it() -> None:
    reads = [aggregate("count", HOUR), aggregate("last", HOUR), aggregate("distinct", HOUR)]
    fold = timeline(reads)
    _, _, state = fold.step(None, START, row(1))
    _, _, state = fold.step(state, START + 10 * MINUTE, row(2))
    out, latest, _ = fold.step(state, START + 5 * MINUTE, row(3))
    assert latest == START + 10 * MINUTE
    assert out.tolist() == [1, 1, 1]


def test_a_clock_that_steps_back_loses_and_doubles_nothing() -> None:
    fold, state = timeline([aggregate("count", HOUR)]), None
    for second in (0, 10, 5, 3, 20):
        _, _, state = fold.step(state, START + second * 1_000_000, row(1))
    out, _, _ = fold.step(state, START + 21 * 1_000_000, row(1))
    assert out.tolist() == [5]


@given(
    history=st.lists(st.tuples(st.integers(0, 2 * DAY), st.booleans()), min_size=1, max_size=40),
    gap=st.integers(1, 20 * DAY),
)
def test_a_label_that_comes_later_gives_what_one_known_at_once_gives(history: list[tuple[int, bool]], gap: int) -> None:
    times = [START + int(t) for t in np.cumsum([gap for gap, _ in history])]
    frauds = [int(fraud) for _, fraud in history]
    fold, told, amended = timeline(), None, None
    for time, fraud in zip(times, frauds, strict=True):
        _, _, told = fold.step(told, time, row(1, fraud))
        _, _, amended = fold.step(amended, time, row(1))
    for time, fraud in zip(times, frauds, strict=True):
        if fraud:
            amended = fold.relabel(amended, time, 1, 1)
    now = times[-1] + gap
    at_once, later = (fold.step(state, now, row(1))[0].tolist() for state in (told, amended))
    assert later == at_once


def test_a_label_taken_back_leaves_nothing() -> None:
    fold = timeline([aggregate("sum", 7 * DAY, 7 * DAY, FRAUD)])
    _, _, state = fold.step(None, START, row(1))
    assert fold.relabel(fold.relabel(state, START, 1, 1), START, 1, -1) == state


def test_the_state_of_a_busy_key_stays_bounded() -> None:
    """Thirty days in, the state has every bucket that a key can have; more events only make numbers longer."""
    times = START + np.sort(np.random.default_rng(1).integers(0, 60 * DAY, 300_000))
    sizes = []
    for count in (30_000, 150_000, 300_000):
        order, offsets = np.arange(count), np.array([0, count])
        inputs = np.tile(row(7), (count, 1))
        ((state,), _) = timeline().states_of(order, offsets, 0, 1, times[:count], inputs, room=1)
        sizes.append(len(state))
    assert sizes[2] < 1.2 * sizes[1] < 8_000


def test_a_million_values_of_one_key_count_up_to_the_limit() -> None:
    fold, state = timeline([aggregate("distinct", HOUR)]), None
    for number in range(3 * DISTINCT_LIMIT):
        out, _, state = fold.step(state, START + number, row(number))
        assert out.tolist() == [min(number, DISTINCT_LIMIT)]
    out, _, _ = fold.step(state, START + 2 * HOUR, row(1))
    assert out.tolist() == [0]


def test_a_key_that_comes_back_after_the_longest_window_reads_empty() -> None:
    fold = timeline()
    _, _, state = fold.step(None, START, row(5))
    out, _, state = fold.step(state, START + 40 * DAY, row(5))
    assert {int(v) for v in out} == {0, NULL}
    assert len(state) < 80


@pytest.mark.parametrize(("operation", "value"), [("sum", 2**62), ("sum_squares", 2**32), ("sum", 2**63 - 1)])
def test_a_sum_out_of_range_is_an_error_and_leaves_the_fold_usable(operation: Operation, value: int) -> None:
    fold = timeline([aggregate(operation, HOUR)])
    times, inputs = START + np.arange(4), np.tile(row(value), (4, 1))
    with pytest.raises(CatalogError, match="range of int64"):
        fold.observe_rows(np.array([1, 0, 0, 0], np.int8), times, inputs)
    assert fold.step(None, START, row(1))[0].tolist() == [0]


def test_the_largest_and_smallest_values_survive_the_encoding() -> None:
    reads = [aggregate("min", HOUR), aggregate("max", HOUR), aggregate("last", HOUR)]
    fold, state = timeline(reads), None
    for second, value in enumerate((2**63 - 1, -(2**63) + 1, 0)):
        _, _, state = fold.step(state, START + second, row(value))
    assert fold.step(state, START + 9, row(None))[0].tolist() == [-(2**63) + 1, 2**63 - 1, 0]


def test_a_state_of_another_catalog_is_refused() -> None:
    _, _, state = timeline().step(None, START, row(1))
    with pytest.raises(StoreError, match="another catalog"):
        timeline(header=bytes(8)).step(state, START + 1, row(1))


@given(cut=st.integers(1, 200), flipped=st.integers(0, 200))
def test_a_damaged_state_is_refused_and_never_read_beyond_its_end(cut: int, flipped: int) -> None:
    fold = timeline()
    state = None
    for second in range(20):
        _, _, state = fold.step(state, START + second * HOUR, row(second))
    assert state is not None
    with pytest.raises(StoreError, match=r"damaged|another catalog"):
        fold.step(state[:-cut], START + 30 * HOUR, row(1))
    with pytest.raises(StoreError, match="damaged"):
        fold.step(state + bytes([flipped]), START + 30 * HOUR, row(1))


@pytest.fixture(scope="module")
def whole() -> bytes:
    """A state with buckets of every step, values that are missing, negative and wide, and events that wait."""
    fold, state = timeline(), None
    ages = [*range(36, 1, -5), 1, 0.5, 0.1, 0.04, 0.01, 0.0003, 0]
    for number, age in enumerate(ages):
        value = None if number % 4 == 1 else (-3) ** number
        _, _, state = fold.step(state, START + 40 * DAY - int(age * DAY), row(value, number % 2))
    assert state is not None
    return state


def test_a_state_cut_anywhere_is_refused(whole: bytes) -> None:
    fold = timeline()
    for end in range(len(whole)):
        with pytest.raises(StoreError, match=r"damaged|another catalog"):
            fold.step(whole[:end], START + 41 * DAY, row(1))


def test_a_state_with_any_byte_changed_is_refused_or_read_as_another_and_leaves_the_fold_usable(whole: bytes) -> None:
    fold, now = timeline(), START + 41 * DAY
    intact = fold.step(whole, now, row(1))[0].tolist()
    for place in range(len(HEADER) + 1, len(whole)):
        for change in (1, 2, 64, 128, 255):
            damaged = bytearray(whole)
            damaged[place] ^= change
            try:
                _, _, state = fold.step(bytes(damaged), now, row(1))
                fold.step(state, now + DAY, row(1))
            except (StoreError, CatalogError):
                continue
    assert fold.step(whole, now, row(1))[0].tolist() == intact


def test_a_sum_is_exact_where_parts_of_it_leave_the_range() -> None:
    fold, state = timeline([aggregate("sum", HOUR)]), None
    for minute, value in enumerate((-(2**62), -(2**62) + 1, 2**62, 2**62, 2**62 - 1)):
        _, _, state = fold.step(state, START + minute * MINUTE, row(value))
    out, _, _ = fold.step(state, START + 5 * MINUTE, row(1))
    assert out.tolist() == [2**62]


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_reach_to_the_ends_of_the_range_and_no_further(sign: int) -> None:
    fold, state = timeline([aggregate("sum", HOUR)]), None
    for minute, value in enumerate((2**62, 2**62 - 1)):
        _, _, state = fold.step(state, START + minute * MINUTE, row(sign * value))
    seen, _, state = fold.step(state, START + 2 * MINUTE, row(sign))
    assert seen.tolist() == [sign * (2**63 - 1)]
    with pytest.raises(CatalogError, match="range of int64"):
        fold.step(state, START + 3 * MINUTE, row(1))


def test_late_events_of_one_time_make_one_bucket_however_many_instants_they_are_of() -> None:
    fold, state = timeline([aggregate("count", MINUTE), aggregate("count", 30 * DAY)]), None
    for day in range(20):
        _, _, state = fold.step(state, START + day * DAY, row(1))
    assert state is not None
    before = len(state)
    for second in range(100):
        _, _, state = fold.step(state, START + 10 * DAY + second * 1_000_000, row(1))
    assert len(state) <= before + 20
    assert fold.step(state, START + 20 * DAY, row(1))[0].tolist() == [0, 120]


def test_many_rows_at_once_give_what_single_steps_give_and_go_on_between_calls() -> None:
    random = np.random.default_rng(3)
    keys = np.sort(random.integers(0, 5, 300))
    times = START + random.integers(0, 40 * DAY, 300)
    times = times[np.lexsort((times, keys))]
    inputs = random.integers(-5, 5, (300, 2))
    single, states = [], dict.fromkeys(range(5))
    stepper = timeline()
    for key, time, values in zip(keys, times, inputs, strict=True):
        out, _, states[key] = stepper.step(states[key], int(time), values)
        single.append(out.copy())
    begins = np.r_[1, np.diff(keys) != 0].astype(np.int8)
    fold = timeline()
    pieces = [fold.observe_rows(begins[a:b], times[a:b], inputs[a:b]) for a, b in ((0, 100), (100, 101), (101, 300))]
    assert np.array_equal(np.concatenate(pieces), np.array(single))
    order, offsets = group_rows(keys)
    rebuilt, first = [], 0
    while first < 5:
        more, first = fold.states_of(order, offsets, first, 5, times, inputs, room=1)
        rebuilt += more
    assert rebuilt == list(states.values())


def test_rows_without_a_key_see_nothing_and_leave_no_trace() -> None:
    fold = timeline([aggregate("count", HOUR)])
    begins = np.array([1, -1, 0], np.int8)
    times = np.array([START, START + 1, START + 2])
    assert fold.observe_rows(begins, times, np.tile(row(1), (3, 1)))[:, 0].tolist() == [0, NULL, 1]
