"""The state of one key as bytes: variable-length integers, times as ages, so that most take a byte or two."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.features.bucket_fold import BUCKETS, LATEST, OVERFLOW, Plan, State, compact, reset
from fraud_platform.features.compilation import compiled
from fraud_platform.features.expressions import DISTINCT_LIMIT
from fraud_platform.features.fold import NULL

Bytes = NDArray[np.uint8]

FORMAT = 2
"""The version of the encoding, a byte in every state's header."""


@compiled
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


@compiled
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


@compiled
def encode(plan: Plan, state: State, buffer: Bytes, place: int) -> int:
    """Write the state at a place of the buffer; returns the place after it."""
    compact(plan, state)
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
    furthest = plan.steps[-1, 0] + plan.steps[:, 1].max()
    for kind in range(plan.distincts.size):
        kept = 0
        for known in range(state.seen_sizes[kind]):
            if latest - state.seen[kind, known, 1] <= furthest:
                state.seen[kind, kept] = state.seen[kind, known]
                kept += 1
        state.seen_sizes[kind] = kept
        place = _put(buffer, place, kept)
        for known in range(kept):
            place = _put(buffer, place, state.seen[kind, known, 0])
            place = _put(buffer, place, latest - state.seen[kind, known, 1])
        place = _put(buffer, place, state.waiting_sizes[kind])
        for known in range(state.waiting_sizes[kind]):
            place = _put(buffer, place, state.waiting_seen[kind, known])
    before = latest // plan.steps[0, 0]
    for bucket in range(header[BUCKETS] - 1, -1, -1):
        start = state.buckets[bucket, 0] // plan.steps[0, 0]
        place = _put(buffer, place, before - start)
        before = start
        for slot in range(plan.slots.shape[0]):
            place = _put(buffer, place, state.buckets[bucket, 1 + slot])
    return place


@compiled
def decode(plan: Plan, state: State, buffer: Bytes) -> bool:
    """Fill the state; returns whether the bytes are a whole state of this plan."""
    reset(state)
    place = 0
    for entry in range(OVERFLOW):
        state.header[entry], place = _take(buffer, place)
    latest, buckets = state.header[LATEST], state.header[BUCKETS]
    if not 0 <= buckets <= state.buckets.shape[0] or latest == NULL:
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
    before = latest // plan.steps[0, 0]
    for bucket in range(buckets - 1, -1, -1):
        age, place = _take(buffer, place)
        before -= age
        state.buckets[bucket, 0] = before * plan.steps[0, 0]
        for slot in range(plan.slots.shape[0]):
            state.buckets[bucket, 1 + slot], place = _take(buffer, place)
    return place == buffer.size
