"""The state of one key as bytes: a head of variable-length integers, then the buckets, column by column.

Times are ages, so that most integers of the head take a byte or two. Behind it stand, where there is any
bucket, the width of each column, a byte each, and the columns: the slots, and how many units each bucket
starts before the next one (the last: before the latest instant).
"""

from typing import Any

import numpy as np

from fraud_platform.features.buckets import BUCKETS, LATEST, OVERFLOW, Int64, Plan, State, compact, empty_of, reset
from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.expressions import DISTINCT_LIMIT
from fraud_platform.features.fold import NULL
from fraud_platform.features.state_columns import WIDEST, Bytes, put_column, take_column, width_of

FORMAT = 3
"""The version of the encoding, a byte in every state's header."""


def header_of(fingerprint: bytes) -> bytes:
    """What every encoded state of a catalog begins with, before what `encode` writes."""
    return fingerprint + bytes([FORMAT])


_WIDEST_GAP = 4
"""Bytes: more units than the longest window has."""
_FURTHEST = 1 << 62
"""Microseconds from 1970 to a latest instant, at most: what is reckoned from it stays in the range of int64."""


@compiled_in_place
def _put(buffer: Bytes, place: int, value: int) -> int:
    """Append a variable-length integer: NULL is 0, others one more than their zigzag code."""
    code = np.uint64(0)
    if value != NULL:
        code = np.uint64((value << 1) ^ (value >> 63)) + np.uint64(1)
    while code >= np.uint64(128):
        buffer[place] = np.uint8(code & np.uint64(127)) | np.uint8(128)
        code >>= np.uint64(7)
        place += 1
    buffer[place] = np.uint8(code)
    return place + 1


@compiled_in_place
def _take(buffer: Bytes, place: int) -> tuple[Any, int]:
    """The integer at a place and the place after it; beyond the end, NULL and a place past it."""
    code, shift = np.uint64(0), np.uint64(0)
    while place < buffer.size:
        part = np.uint64(buffer[place])
        code |= (part & np.uint64(127)) << shift
        shift += np.uint64(7)
        place += 1
        if part < np.uint64(128) or shift > np.uint64(63):
            if code == np.uint64(0):
                return NULL, place
            code -= np.uint64(1)
            return np.int64(code >> np.uint64(1)) ^ -np.int64(code & np.uint64(1)), place
    return NULL, buffer.size + 1


@compiled_in_place
def tidy(plan: Plan, state: State) -> None:
    """Let go what no future window sees. What is encoded is tidy, so a state that stays in memory is made so too."""
    compact(plan, state)
    for kind in range(plan.distincts.size):
        kept = 0
        for known in range(state.seen_sizes[kind]):
            if state.header[LATEST] - state.seen[kind, known, 1] <= plan.furthest:
                state.seen[kind, kept, 0] = state.seen[kind, known, 0]
                state.seen[kind, kept, 1] = state.seen[kind, known, 1]
                kept += 1
        state.seen_sizes[kind] = kept


@compiled_in_place
def encode(plan: Plan, state: State, buffer: Bytes, place: int) -> int:
    """Write a tidy state at a place of the buffer; returns the place after it."""
    header, latest = state.header, state.header[LATEST]
    for value in header[:OVERFLOW]:
        place = _put(buffer, place, value)
    for value in state.waiting:
        place = _put(buffer, place, value)
    for value in state.waiting_lasts:
        place = _put(buffer, place, value)
    for kind in range(plan.lasts.size):
        place = _put(buffer, place, state.lasts[kind, 0])
        place = _put(buffer, place, NULL if state.lasts[kind, 1] == NULL else latest - state.lasts[kind, 1])
    for kind in range(plan.distincts.size):
        place = _put(buffer, place, state.seen_sizes[kind])
        for known in range(state.seen_sizes[kind]):
            place = _put(buffer, place, state.seen[kind, known, 0])
            place = _put(buffer, place, latest - state.seen[kind, known, 1])
        place = _put(buffer, place, state.waiting_sizes[kind])
        for known in range(state.waiting_sizes[kind]):
            place = _put(buffer, place, state.waiting_seen[kind, known])
    if header[BUCKETS] == 0:
        return place
    return _put_buckets(plan.slots, state.starts, state.columns, header[BUCKETS], latest // plan.unit, buffer, place)


@compiled_in_place
def _put_buckets(
    slots: Int64, starts: Int64, columns: Int64, size: Any, latest: Any, buffer: Bytes, widths: int
) -> int:
    gaps = columns.shape[0] - 1
    for bucket in range(size - 1):
        columns[gaps, bucket] = starts[bucket + 1] - starts[bucket]
    columns[gaps, size - 1] = latest - starts[size - 1]
    place = widths + columns.shape[0]
    for column in range(columns.shape[0]):
        empty = 0 if column == gaps else empty_of(slots[column, 0])
        width = width_of(columns, column, size, empty)
        buffer[widths + column] = width
        place = put_column(columns, column, size, width, buffer, place)
    return place


@compiled_in_place
def decode(plan: Plan, state: State, buffer: Bytes) -> bool:
    """Fill the state; returns whether the bytes are a whole state of this plan."""
    reset(state)
    place = 0
    for entry in range(OVERFLOW):
        state.header[entry], place = _take(buffer, place)
    latest, buckets = state.header[LATEST], state.header[BUCKETS]
    if not 0 <= buckets <= state.starts.size or not -_FURTHEST < latest < _FURTHEST:
        return False
    for slot in range(plan.slots.shape[0]):
        state.waiting[slot], place = _take(buffer, place)
    for kind in range(plan.lasts.size):
        state.waiting_lasts[kind], place = _take(buffer, place)
    for kind in range(plan.lasts.size):
        state.lasts[kind, 0], place = _take(buffer, place)
        age, place = _take(buffer, place)
        state.lasts[kind, 1] = NULL if age == NULL else latest - age
    for kind in range(plan.distincts.size):
        size, place = _take(buffer, place)
        if not 0 <= size <= DISTINCT_LIMIT:
            return False
        state.seen_sizes[kind] = size
        for known in range(size):
            state.seen[kind, known, 0], place = _take(buffer, place)
            age, place = _take(buffer, place)
            state.seen[kind, known, 1] = latest - age
        size, place = _take(buffer, place)
        if not 0 <= size <= DISTINCT_LIMIT:
            return False
        state.waiting_sizes[kind] = size
        for known in range(size):
            state.waiting_seen[kind, known], place = _take(buffer, place)
    if buckets == 0:
        return place == buffer.size
    return _take_buckets(plan.slots, state.starts, state.columns, buckets, latest // plan.unit, buffer, place)


@compiled_in_place
def _take_buckets(
    slots: Int64, starts: Int64, columns: Int64, size: Any, latest: Any, buffer: Bytes, widths: int
) -> Any:
    """Whether exactly the buckets stand from here to the end; no column is read before that is known."""
    gaps, place = columns.shape[0] - 1, widths + columns.shape[0]
    if place > buffer.size or buffer[widths + gaps] > _WIDEST_GAP:
        return False
    total = 0
    for column in range(columns.shape[0]):
        total += buffer[widths + column]
        if buffer[widths + column] > WIDEST:
            return False
    if buffer.size - place != total * size:
        return False
    for column in range(columns.shape[0]):
        empty = 0 if column == gaps else empty_of(slots[column, 0])
        place = take_column(columns, column, size, buffer[widths + column], empty, buffer, place)
    # Buckets follow each other, none after the latest instant: else merging might not make room for the next one.
    start, in_order = latest - columns[gaps, size - 1], columns[gaps, size - 1] >= 0
    starts[size - 1] = start
    for bucket in range(size - 2, -1, -1):
        in_order &= columns[gaps, bucket] > 0
        start -= columns[gaps, bucket]
        starts[bucket] = start
    return in_order
