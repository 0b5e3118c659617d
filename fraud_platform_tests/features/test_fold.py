"""The batch fold against the naive reference."""

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import CatalogError
from fraud_platform.features.expressions import DAY, DISTINCT_LIMIT, HOUR, MINUTE, Operation, Window, step_of
from fraud_platform.features.fold import NULL, Groups
from fraud_platform_tests.features.histories import START, gaps
from fraud_platform_tests.features.naive import naive_rolling

SPANS = (MINUTE, 10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY)
WINDOWS = [
    *(Window(span, step_of(span), 0) for span in SPANS),
    *(Window(span, step_of(span + 7 * DAY), 7 * DAY) for span in (DAY, 7 * DAY, 30 * DAY)),
]

histories = st.lists(st.tuples(gaps, st.integers(-1, 2), st.none() | st.integers(-(10**9), 10**9)), max_size=40)
"""Gap, key (-1 is null), and value of each event."""


def fold(
    operation: Operation, window: Window, times: list[int], keys: list[int], values: Sequence[int | None]
) -> list[int | None]:
    """What each event sees, None for nothing; distinct takes dense numbers as values."""
    groups = Groups(np.array(keys, np.int64), np.array(times, np.int64))
    missing = -1 if operation == "distinct" else NULL
    inputs = groups.sort(np.array([missing if value is None else value for value in values], np.int64))
    out = np.full(len(times), NULL, np.int64)
    groups.fold(operation, window, None if operation == "count" else inputs, out)
    return [None if value == NULL else int(value) for value in out]


@pytest.mark.parametrize("operation", get_args(Operation))
@given(history=histories, window=st.sampled_from(WINDOWS))
def test_fold_equals_the_naive_reference(
    operation: Operation, history: list[tuple[int, int, int | None]], window: Window
) -> None:
    times = (START + np.cumsum([gap for gap, _, _ in history], dtype=np.int64)).tolist()
    keys, values = [key for _, key, _ in history], [value for _, _, value in history]
    if operation == "count":
        values = [0] * len(values)
    elif operation == "distinct":
        values = [None if value is None else value % 5 for value in values]
    expected = naive_rolling(operation, window, [None if key < 0 else key for key in keys], times, values)
    assert fold(operation, window, times, keys, values) == expected


def test_events_at_the_same_instant_do_not_see_each_other() -> None:
    times = [START, START, START + 1]
    assert fold("count", Window(HOUR, MINUTE, 0), times, [0] * 3, [0] * 3) == [0, 0, 2]


def test_a_key_that_comes_back_after_the_longest_window_reads_empty() -> None:
    window, times = Window(30 * DAY, 6 * HOUR, 0), [START, START + 40 * DAY]
    assert fold("count", window, times, [0, 0], [0, 0]) == [0, 0]
    assert fold("last", window, times, [0, 0], [1, 2]) == [None, None]


def test_a_distinct_count_stops_at_its_limit() -> None:
    size = DISTINCT_LIMIT + 10
    times = [START + row for row in range(size)]
    assert fold("distinct", Window(HOUR, MINUTE, 0), times, [0] * size, range(size))[-1] == DISTINCT_LIMIT


@pytest.mark.parametrize(("operation", "value"), [("sum", 2**62), ("sum_squares", 2**32)])
def test_a_sum_out_of_range_is_an_error_and_not_a_wrap(operation: Operation, value: int) -> None:
    with pytest.raises(CatalogError, match="range of int64"):
        fold(operation, Window(HOUR, MINUTE, 0), [START + row for row in range(4)], [0] * 4, [value] * 4)


def test_each_step_divides_the_next_longer_one() -> None:
    steps = [step_of(span) for span in (MINUTE, 10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY)]
    assert all(longer % shorter == 0 for shorter, longer in pairwise(steps))
