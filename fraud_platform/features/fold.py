"""The rolling operations of the batch driver, compiled: two pointers over each key's events in order of time.

Window semantics, for an event at t (integer microseconds throughout):
the window starts at the last step boundary at or before t - delay - span; it ends, exclusively,
at t where the delay is 0, else at the last step boundary at or before t - delay. So an event sees
neither itself nor anything at its own instant.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError
from fraud_platform.features.compilation import compiled, compiled_in_place
from fraud_platform.features.expressions import DISTINCT_LIMIT, Operation, Window

Int64 = NDArray[np.int64]

NULL = np.iinfo(np.int64).min
"""Stands for a missing value in every int64 array of this package."""

_LARGEST = np.iinfo(np.int64).max
_LARGEST_ROOT = 3_037_000_499
"""The largest integer whose square fits int64."""


OPERATIONS: dict[Operation, int] = {
    "count": 0,
    "sum": 1,
    "sum_squares": 2,
    "min": 3,
    "max": 4,
    "last": 5,
    "distinct": 6,
}
"""The number of each operation in compiled code."""

COUNT, SUM, SUM_SQUARES, MIN, MAX, LAST, DISTINCT = range(7)


@compiled_in_place
def sort_groups(codes: Int64, order: Int64, offsets: Int64) -> None:
    """A stable counting sort: fill in the row numbers sorted by code, and where each code's rows start.

    Args:
        codes: (n,), from 0 on; code -1 is left out. order: (n,), filled up to the last of `offsets`.
        offsets: (codes + 1,).
    """
    offsets[:] = 0
    for code in codes:
        if code >= 0:
            offsets[code] += 1
    for group in range(1, offsets.size):
        offsets[group] += offsets[group - 1]
    for row in range(codes.size - 1, -1, -1):
        code = codes[row]
        if code >= 0:
            offsets[code] -= 1
            order[offsets[code]] = row


@compiled
def window_of(t: int, span: int, step: int, delay: int) -> tuple[int, int]:
    """Where the window of an event at t starts (inclusive) and ends (exclusive)."""
    start = (t - delay - span) // step * step
    end = t if delay == 0 else (t - delay) // step * step
    return start, end


@compiled
def overflows(total: Any, value: Any) -> Any:
    """Asked before the addition: compiled code may assume that signed sums never wrap."""
    return total > _LARGEST - value if value > 0 else total < -_LARGEST - value


@compiled
def squares_overflow(value: Any) -> Any:
    """Asked before the square is taken."""
    return value > _LARGEST_ROOT or value < -_LARGEST_ROOT


@compiled
def _fold_counts(
    order: Int64, offsets: Int64, times: Int64, span: int, step: int, delay: int, skip: int, out: Int64
) -> None:
    for group in range(offsets.size - 1):
        last = offsets[group + 1]
        low = high = offsets[group]
        for place in range(offsets[group], last):
            row = order[place] - skip
            if row < 0:
                continue
            start, end = window_of(times[place], span, step, delay)
            while high < last and times[high] < end:
                high += 1
            while low < high and times[low] < start:
                low += 1
            out[row] = high - low


@compiled
def _fold_sums(
    squared: bool,
    order: Int64,
    offsets: Int64,
    times: Int64,
    values: Int64,
    span: int,
    step: int,
    delay: int,
    skip: int,
    out: Int64,
) -> Any:
    """Fills `out`; returns whether a sum left the range of int64."""
    overflow = False
    for group in range(offsets.size - 1):
        last = offsets[group + 1]
        low = high = offsets[group]
        total = np.int64(0)
        for place in range(offsets[group], last):
            row = order[place] - skip
            if row < 0:
                continue
            start, end = window_of(times[place], span, step, delay)
            # What left before it was looked at is not added: only sums that a window has may overflow.
            while low < last and times[low] < start:
                value = values[low]
                if low < high and value != NULL:
                    total -= value * value if squared else value
                low += 1
            high = max(high, low)
            while high < last and times[high] < end:
                value = values[high]
                if value != NULL:
                    if squared:
                        overflow |= squares_overflow(value)
                        value *= value
                    overflow |= overflows(total, value)
                    total += value
                high += 1
            out[row] = total
    return overflow


@compiled
def _fold_extremes(
    sign: int,
    order: Int64,
    offsets: Int64,
    times: Int64,
    values: Int64,
    span: int,
    step: int,
    delay: int,
    skip: int,
    out: Int64,
) -> None:
    """The maximum of sign * value, by a queue whose values fall from front to back."""
    longest = np.max(offsets[1:] - offsets[:-1]) if offsets.size > 1 else 0
    queue = np.empty(longest, np.int64)
    for group in range(offsets.size - 1):
        last = offsets[group + 1]
        front = back = 0
        high = offsets[group]
        for place in range(offsets[group], last):
            row = order[place] - skip
            if row < 0:
                continue
            start, end = window_of(times[place], span, step, delay)
            while high < last and times[high] < end:
                if values[high] != NULL:
                    while back > front and sign * values[queue[back - 1]] <= sign * values[high]:
                        back -= 1
                    queue[back] = high
                    back += 1
                high += 1
            while front < back and times[queue[front]] < start:
                front += 1
            out[row] = values[queue[front]] if front < back else NULL


@compiled
def _fold_last(
    order: Int64,
    offsets: Int64,
    times: Int64,
    values: Int64,
    span: int,
    step: int,
    delay: int,
    skip: int,
    out: Int64,
) -> None:
    """The latest value; of several at the same instant the largest, because ties have no order."""
    for group in range(offsets.size - 1):
        last = offsets[group + 1]
        high = offsets[group]
        latest, latest_time = NULL, NULL
        for place in range(offsets[group], last):
            row = order[place] - skip
            if row < 0:
                continue
            start, end = window_of(times[place], span, step, delay)
            while high < last and times[high] < end:
                if values[high] != NULL:
                    if times[high] > latest_time or values[high] > latest:
                        latest = values[high]
                    latest_time = times[high]
                high += 1
            out[row] = latest if latest_time >= start else NULL


@compiled
def _fold_distinct(
    kinds: int,
    order: Int64,
    offsets: Int64,
    times: Int64,
    values: Int64,
    span: int,
    step: int,
    delay: int,
    skip: int,
    out: Int64,
) -> None:
    """`values` are dense numbers below `kinds`, -1 where missing."""
    present = np.zeros(kinds, np.int32)
    for group in range(offsets.size - 1):
        last = offsets[group + 1]
        low = high = offsets[group]
        distinct = 0
        for place in range(offsets[group], last):
            row = order[place] - skip
            if row < 0:
                continue
            start, end = window_of(times[place], span, step, delay)
            while high < last and times[high] < end:
                value = values[high]
                if value >= 0:
                    distinct += present[value] == 0
                    present[value] += 1
                high += 1
            while low < high and times[low] < start:
                value = values[low]
                if value >= 0:
                    present[value] -= 1
                    distinct -= present[value] == 0
                low += 1
            out[row] = min(distinct, DISTINCT_LIMIT)
        for place in range(low, high):
            if values[place] >= 0:
                present[values[place]] = 0


def group_rows(codes: Int64) -> tuple[Int64, Int64]:
    """Row numbers sorted by code, stable, and where each code's rows start; code -1 (null) is left out."""
    order, offsets = np.empty(codes.size, np.int64), np.empty(int(codes.max(initial=-1)) + 2, np.int64)
    sort_groups(codes, order, offsets)
    return order[: offsets[-1]], offsets


class Groups:
    """The events of one entity, sorted by key and time; several aggregates share one sorting.

    Args:
        codes: int64 (n,), the key of each event as a dense number, -1 for a null key.
        times: int64 (n,), event times in microseconds, ascending.
        skip: the events before this row are history: they are seen, and get no aggregates themselves.
    """

    def __init__(self, codes: Int64, times: Int64, skip: int = 0) -> None:
        self._skip = skip
        self._order, self._offsets = group_rows(codes)
        self._times = times[self._order]

    def sort(self, values: Int64) -> Int64:
        """The values in the order in which `fold` reads them."""
        return values[self._order]

    def fold(self, operation: Operation, window: Window, values: Int64 | None, out: Int64) -> None:
        """The aggregate that each event sees.

        Args:
            values: int64, sorted by `sort`, NULL where missing; for distinct dense numbers, -1 where
                missing; None for count.
            out: int64 (n - skip,), filled where the key is not null: NULL for min, max and last where
                the window has no value.

        Raises:
            CatalogError: if a sum leaves the range of int64.
        """
        code = OPERATIONS[operation]
        column = self._times if values is None else values
        span, step, delay = window
        groups, rest = (self._order, self._offsets, self._times), (span, step, delay, self._skip, out)
        if code == COUNT:
            _fold_counts(*groups, *rest)
        elif code == LAST:
            _fold_last(*groups, column, *rest)
        elif code == DISTINCT:
            _fold_distinct(int(column.max(initial=-1)) + 1, *groups, column, *rest)
        elif code in (MIN, MAX):
            _fold_extremes(1 if code == MAX else -1, *groups, column, *rest)
        elif _fold_sums(code == SUM_SQUARES, *groups, column, *rest):
            raise overflow_error(operation, window)


def overflow_error(operation: Operation, window: Window) -> CatalogError:
    """The error for a sum that int64 cannot hold."""
    return CatalogError(
        f"A rolling {operation} over {window.span_us} µs left the range of int64. "
        "Check the unit of the column, or cap it in the catalog."
    )
