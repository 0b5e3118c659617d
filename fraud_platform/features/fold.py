"""The rolling operations, compiled: one pass over each key's events in order of time.

Window semantics, for an event at t (integer microseconds throughout):
the window starts at the last step boundary at or before t - delay - span; it ends, exclusively,
at t where the delay is 0, else at the last step boundary at or before t - delay. So an event sees
neither itself nor anything at its own instant.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError
from fraud_platform.features.expressions import Operation

Int64 = NDArray[np.int64]

NULL = np.iinfo(np.int64).min
"""Stands for a missing value in every int64 array of this package."""

_LARGEST = np.iinfo(np.int64).max
_LARGEST_ROOT = 3_037_000_499
"""The largest integer whose square fits int64."""

_OPERATIONS: dict[Operation, int] = {"count": 0, "sum": 1, "sum_squares": 2, "min": 3, "max": 4, "last": 5}
_COUNT, _SUM, _SUM_SQUARES, _MIN, _MAX, _LAST = range(6)


@njit(cache=True, nogil=True)
def _group(codes: Int64, groups: int) -> tuple[Int64, Int64]:
    """A stable counting sort."""
    offsets = np.zeros(groups + 1, np.int64)
    for code in codes:
        if code >= 0:
            offsets[code + 1] += 1
    for group in range(groups):
        offsets[group + 1] += offsets[group]
    place = offsets[:-1].copy()
    order = np.empty(offsets[groups], np.int64)
    for row in range(codes.size):
        code = codes[row]
        if code >= 0:
            order[place[code]] = row
            place[code] += 1
    return order, offsets


@njit(cache=True, nogil=True)
def _window(t: int, span: int, step: int, delay: int) -> tuple[int, int]:
    start = (t - delay - span) // step * step
    end = t if delay == 0 else (t - delay) // step * step
    return start, end


@njit(cache=True, nogil=True)
def _overflows(total: Any, value: Any) -> Any:
    """Asked before the addition: compiled code may assume that signed sums never wrap."""
    return total > _LARGEST - value if value > 0 else total < -_LARGEST - value


@njit(cache=True, nogil=True)
def _fold_sums(
    operation: int, offsets: Int64, times: Int64, values: Int64, span: int, step: int, delay: int, out: Int64
) -> Any:
    """Fills `out`; returns whether a sum left the range of int64."""
    overflow = False
    for group in range(offsets.size - 1):
        first, last = offsets[group], offsets[group + 1]
        low = high = first
        total = np.int64(0)
        for row in range(first, last):
            start, end = _window(times[row], span, step, delay)
            while high < last and times[high] < end:
                value = np.int64(1) if operation == _COUNT else values[high]
                if value != NULL:
                    if operation == _SUM_SQUARES:
                        overflow |= value > _LARGEST_ROOT or value < -_LARGEST_ROOT
                        value *= value
                    overflow |= _overflows(total, value)
                    total += value
                high += 1
            while low < high and times[low] < start:
                value = np.int64(1) if operation == _COUNT else values[low]
                if value != NULL:
                    total -= value * value if operation == _SUM_SQUARES else value
                low += 1
            out[row] = total
    return overflow


@njit(cache=True, nogil=True)
def _fold_extremes(
    sign: int, offsets: Int64, times: Int64, values: Int64, span: int, step: int, delay: int, out: Int64
) -> None:
    """The maximum of sign * value, by a queue whose values fall from front to back."""
    longest = np.max(offsets[1:] - offsets[:-1]) if offsets.size > 1 else 0
    queue = np.empty(longest, np.int64)
    for group in range(offsets.size - 1):
        first, last = offsets[group], offsets[group + 1]
        front = back = 0
        high = first
        for row in range(first, last):
            start, end = _window(times[row], span, step, delay)
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


@njit(cache=True, nogil=True)
def _fold_last(offsets: Int64, times: Int64, values: Int64, span: int, step: int, delay: int, out: Int64) -> None:
    """The latest value; of several at the same instant the largest, because ties have no order."""
    for group in range(offsets.size - 1):
        first, last = offsets[group], offsets[group + 1]
        high = first
        latest, latest_time = NULL, NULL
        for row in range(first, last):
            start, end = _window(times[row], span, step, delay)
            while high < last and times[high] < end:
                if values[high] != NULL:
                    if times[high] > latest_time or values[high] > latest:
                        latest = values[high]
                    latest_time = times[high]
                high += 1
            out[row] = latest if latest_time >= start else NULL


def group_rows(codes: Int64) -> tuple[Int64, Int64]:
    """Row numbers sorted by code, stable, and where each code's rows start; code -1 (null) is left out."""
    return _group(codes, int(codes.max(initial=-1)) + 1)


class Groups:
    """The events of one entity, sorted by key and time; several aggregates share one sorting.

    Args:
        codes: int64 (n,), the key of each event as a dense number, -1 for a null key.
        times: int64 (n,), event times in microseconds, ascending.
    """

    def __init__(self, codes: Int64, times: Int64) -> None:
        self._rows = codes.size
        self._order, self._offsets = group_rows(codes)
        self._times = times[self._order]

    def fold(self, operation: Operation, values: Int64 | None, span_us: int, step_us: int, delay_us: int) -> Int64:
        """The aggregate that each event sees.

        Args:
            values: int64 (n,) in the order of `codes`, NULL where missing; None for count.

        Returns:
            int64 (n,) in the order of `codes`; NULL where the key is null, and for min, max and
            last where the window has no value.

        Raises:
            CatalogError: if a sum leaves the range of int64.
        """
        code = _OPERATIONS[operation]
        column = self._times if values is None else values[self._order]
        folded = np.empty(self._order.size, np.int64)
        arguments = (self._offsets, self._times, column, span_us, step_us, delay_us, folded)
        if code == _LAST:
            _fold_last(*arguments)
        elif code in (_MIN, _MAX):
            _fold_extremes(1 if code == _MAX else -1, *arguments)
        elif _fold_sums(code, *arguments):
            raise CatalogError(
                f"A rolling {operation} over {span_us} µs left the range of int64. "
                "Check the unit of the column, or cap it in the catalog."
            )
        result = np.full(self._rows, NULL, np.int64)
        result[self._order] = folded
        return result
