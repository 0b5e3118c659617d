"""What an event sees of one key's past: every aggregate, read from the buckets.

The buckets of a window lie side by side: two bisections find them, and one loop without branches folds
them, which the compiler vectorises. So a merchant with a bucket in every step costs hardly more than one
with few. Positions are unsigned, because signed ones might count from the end, and no loop over such
positions is vectorised.
"""

from typing import Any

import numpy as np

from fraud_platform.features.bucket_fold import settle
from fraud_platform.features.buckets import BUCKETS, LATEST, OVERFLOW, WAITING, Int64, Plan, State, place_of
from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.expressions import DISTINCT_LIMIT
from fraud_platform.features.fold import DISTINCT, LAST, MAX, MIN, NULL, window_of

_LARGEST = np.iinfo(np.int64).max
_HALF = 32
_LOW = (1 << _HALF) - 1
_SIGN = 1 << (_HALF - 1)


@compiled_in_place
def see(plan: Plan, state: State, time: Any, out: Any) -> None:
    """The aggregates that an event at this time sees. The event itself must be added next."""
    if state.header[WAITING] and time > state.header[LATEST]:
        settle(plan, state)
    starts, columns, size, unit = state.starts, state.columns, state.header[BUCKETS], plan.unit
    reads = plan.reads
    for read in range(reads.shape[0]):
        operation, position = reads[read, 0], reads[read, 1]
        start, end = window_of(time, reads[read, 2], reads[read, 3], reads[read, 4])
        if operation == LAST:
            out[read] = state.lasts[position, 0] if start <= state.lasts[position, 1] < end else NULL
        elif operation == DISTINCT:
            found = 0
            for place in range(state.seen_sizes[position]):
                found += start <= state.seen[position, place, 1] < end
            out[read] = min(found, DISTINCT_LIMIT)
        else:
            first, last = place_of(starts, size, start, unit), place_of(starts, size, end, unit)
            if operation == MAX:
                out[read] = _largest(columns, position, first, last)
            elif operation == MIN:
                out[read] = _least(columns, position, first, last)
            else:
                out[read] = _sum(columns, position, first, last, state.header)


@compiled_in_place
def _sum(columns: Int64, slot: int, first: Any, last: Any, header: Int64) -> Any:
    """The exact sum: upper and lower halves apart, which cannot overflow, and one look at the range at the end."""
    high = low = np.int64(0)
    for place in range(np.uint64(first), np.uint64(last)):
        high += columns[slot, place] >> _HALF
        low += columns[slot, place] & _LOW
    high += low >> _HALF
    low &= _LOW
    if not -_SIGN <= high < _SIGN or (high == -_SIGN and low == 0):  # what stands for NULL is no sum either
        header[OVERFLOW] = 1
        return 0
    return high << _HALF | low


@compiled_in_place
def _largest(columns: Int64, slot: int, first: Any, last: Any) -> int:
    largest = NULL  # which is the least
    for place in range(np.uint64(first), np.uint64(last)):
        largest = max(largest, columns[slot, place])
    return largest


@compiled_in_place
def _least(columns: Int64, slot: int, first: Any, last: Any) -> int:
    least, found = _LARGEST, 0
    for place in range(np.uint64(first), np.uint64(last)):
        value = columns[slot, place]
        found |= value != NULL
        least = min(least, _LARGEST if value == NULL else value)
    return least if found else NULL
