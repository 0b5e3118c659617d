"""Columns of integers as bytes: every value comes back, in as few bytes as its column needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.features.fold import NULL
from fraud_platform.features.state_columns import put_column, take_column, width_of

LARGEST = 2**63 - 1
EDGES = [sign * (2 ** (8 * width - 1) + off) for width in range(1, 8) for off in (-1, 0, 1) for sign in (1, -1)]
values = st.sampled_from([NULL, 0, LARGEST, -LARGEST, *EDGES]) | st.integers(-LARGEST, LARGEST) | st.integers(-9, 9)


@given(column=st.lists(values, min_size=1, max_size=40), empty=st.sampled_from([0, NULL]), place=st.integers(0, 9))
def test_a_column_comes_back_from_any_place_and_nothing_around_it_is_touched(
    column: list[int], empty: int, place: int
) -> None:
    size = len(column)
    columns = np.full((3, size + 1), 77, np.int64)
    columns[1, :size] = column
    width = width_of(columns, 1, size, empty)
    buffer = np.full(place + 8 * size + 9, 99, np.uint8)
    end = put_column(columns, 1, size, width, buffer, place)
    assert end == place + width * size
    assert set(buffer[:place]) | set(buffer[end:]) == {99}
    back = np.full((3, size + 1), 77, np.int64)
    assert take_column(back, 1, size, width, empty, buffer, place) == end
    assert np.array_equal(back, columns)


@pytest.mark.parametrize(
    ("column", "empty", "width"),
    [
        ([0, 0], 0, 0),
        ([NULL, NULL], NULL, 0),
        ([NULL, 0], NULL, 1),
        ([0, 0], NULL, 1),
        ([127, -127], 0, 1),
        ([-128], 0, 2),
        ([128], 0, 2),
        ([2**31 - 1, NULL], NULL, 4),
        ([2**55], 0, 8),
        ([LARGEST, -LARGEST, NULL], NULL, 8),
    ],
)
def test_a_column_is_as_wide_as_its_widest_value(column: list[int], empty: int, width: int) -> None:
    assert width_of(np.array([column]), 0, len(column), empty) == width
