from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError
from fraud_platform.features.expressions import DAY, HOUR, MINUTE, Column, Operation, Rolling, step_of
from fraud_platform.features.fold import NULL, Groups
from fraud_platform_tests.features.naive import naive_rolling

START = 1_600_000_000_000_000


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int], list[int | None]]:
    """Few keys (-1 is null), times with ties, gaps and exact step boundaries, values with nulls."""
    gap = st.one_of(
        st.just(0), st.integers(1, 3), st.sampled_from([MINUTE, HOUR, DAY, 31 * DAY]), st.integers(0, 3 * DAY)
    )
    size = draw(st.integers(0, 40))
    times = np.cumsum([START // DAY * DAY, *draw(st.lists(gap, min_size=size, max_size=size))])[1:].tolist()
    keys = draw(st.lists(st.integers(-1, 2), min_size=size, max_size=size))
    values = draw(st.lists(st.none() | st.integers(-(10**9), 10**9), min_size=size, max_size=size))
    return keys, times, values


@pytest.mark.parametrize("operation", get_args(Operation))
@given(
    history=histories(),
    span=st.sampled_from([MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY]),
    delay=st.sampled_from([0, 7 * DAY]),
)
def test_fold_equals_the_naive_reference(
    operation: Operation, history: tuple[list[int], list[int], list[int | None]], span: int, delay: int
) -> None:
    keys, times, values = history
    rolling = Rolling(("key",), operation, None if operation == "count" else Column("value"), span)
    expected = naive_rolling(
        rolling, delay, [None if k < 0 else k for k in keys], times, [0] * len(keys) if operation == "count" else values
    )
    column = None if operation == "count" else np.array([NULL if v is None else v for v in values], np.int64)
    groups = Groups(np.array(keys, np.int64), np.array(times, np.int64))
    folded = groups.fold(operation, column, span, rolling.step_us, delay)
    assert [None if v == NULL else int(v) for v in folded] == expected


def test_events_at_the_same_instant_do_not_see_each_other() -> None:
    times = np.array([START, START, START + 1], np.int64)
    counts = Groups(np.zeros(3, np.int64), times).fold("count", None, HOUR, MINUTE, 0)
    assert counts.tolist() == [0, 0, 2]


def test_a_key_that_comes_back_after_the_longest_window_reads_empty() -> None:
    times = np.array([START, START + 40 * DAY], np.int64)
    groups = Groups(np.zeros(2, np.int64), times)
    assert groups.fold("count", None, 30 * DAY, 6 * HOUR, 0).tolist() == [0, 0]
    assert groups.fold("last", times, 30 * DAY, 6 * HOUR, 0).tolist() == [NULL, NULL]


@pytest.mark.parametrize(("operation", "value"), [("sum", 2**62), ("sum_squares", 2**32)])
def test_a_sum_out_of_range_is_an_error_and_not_a_wrap(operation: Operation, value: int) -> None:
    times = np.arange(START, START + 4, dtype=np.int64)
    with pytest.raises(CatalogError, match="range of int64"):
        Groups(np.zeros(4, np.int64), times).fold(operation, np.full(4, value, np.int64), HOUR, MINUTE, 0)


def test_each_step_divides_the_next_longer_one() -> None:
    steps = [step_of(span) for span in (MINUTE, 10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY)]
    assert all(longer % shorter == 0 for shorter, longer in pairwise(steps))
