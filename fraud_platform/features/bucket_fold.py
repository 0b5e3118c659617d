"""The fold over bounded state, compiled: one key's past as buckets of time whose grain coarsens with age.

It is what the online driver and Spark run, one event after the other. An event falls into a bucket of
the entity's finest step; once no window that moves by a finer step can begin or end inside a coarser
one, the buckets in it are merged. So a key has some hundred buckets at most, however busy it is, and
every window still begins and ends between two buckets. What happened at the key's latest instant
waits outside the buckets, because events at one instant do not see each other.

A late event (before the key's latest instant) is added to the bucket of its own time, so that every
event after it is right. What it sees itself is whole buckets that begin before it, and no `last` or
`distinct` value that was seen at its instant or later.
"""

from typing import Any

from fraud_platform.features.buckets import (
    LATEST,
    OVERFLOW,
    WAITING,
    Int64,
    Plan,
    State,
    bucket_at,
    empty_of,
    joined,
)
from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.expressions import DISTINCT_LIMIT
from fraud_platform.features.fold import COUNT, MAX, MIN, NULL, SUM, SUM_SQUARES, squares_overflow


@compiled_in_place
def _lift(operation: int, value: Any, header: Int64) -> int:
    """What one event adds to a slot."""
    if operation == COUNT:
        return 1
    if operation in (MIN, MAX):
        return value
    if value == NULL:
        return 0
    if operation == SUM_SQUARES:
        if squares_overflow(value):
            header[OVERFLOW] = 1
            return 0
        return value * value
    return value


@compiled_in_place
def _remember(state: State, kind: int, value: Any, time: Any) -> None:
    """Note when a value was seen; of too many, the one unseen for longest is forgotten."""
    seen, size = state.seen[kind], state.seen_sizes[kind]
    oldest = 0
    for place in range(size):
        if seen[place, 0] == value:
            seen[place, 1] = max(seen[place, 1], time)
            return
        if seen[place, 1] < seen[oldest, 1]:
            oldest = place
    if size < DISTINCT_LIMIT:
        seen[size, 0], seen[size, 1] = value, time
        state.seen_sizes[kind] += 1
    elif seen[oldest, 1] < time:
        seen[oldest, 0], seen[oldest, 1] = value, time


@compiled_in_place
def _note_last(state: State, kind: int, value: Any, time: Any) -> None:
    if time > state.lasts[kind, 1] or (time == state.lasts[kind, 1] and value > state.lasts[kind, 0]):
        state.lasts[kind, 0], state.lasts[kind, 1] = value, time


@compiled_in_place
def settle(plan: Plan, state: State) -> None:
    """Move what waits at the latest instant into the past."""
    latest = state.header[LATEST]
    place = bucket_at(plan, state, latest)
    for slot in range(plan.slots.shape[0]):
        before, waiting = state.columns[slot, place], state.waiting[slot]
        state.columns[slot, place] = joined(plan.slots[slot, 0], before, waiting, state.header)
    for kind in range(plan.lasts.size):
        if state.waiting_lasts[kind] != NULL:
            _note_last(state, kind, state.waiting_lasts[kind], latest)
    for kind in range(plan.distincts.size):
        for waiting in range(state.waiting_sizes[kind]):
            _remember(state, kind, state.waiting_seen[kind, waiting], latest)
        state.waiting_sizes[kind] = 0
    state.header[WAITING] = 0


@compiled_in_place
def add_event(plan: Plan, state: State, time: Any, inputs: Int64) -> None:
    """Take one event in."""
    header = state.header
    if time < header[LATEST]:
        place = bucket_at(plan, state, time)
        for slot in range(plan.slots.shape[0]):
            operation = plan.slots[slot, 0]
            value = _lift(operation, inputs[plan.slots[slot, 1]], header)
            state.columns[slot, place] = joined(operation, state.columns[slot, place], value, header)
        for kind in range(plan.lasts.size):
            if inputs[plan.lasts[kind]] != NULL:
                _note_last(state, kind, inputs[plan.lasts[kind]], time)
        for kind in range(plan.distincts.size):
            if inputs[plan.distincts[kind]] != NULL:
                _remember(state, kind, inputs[plan.distincts[kind]], time)
        return
    if time > header[LATEST]:
        if header[WAITING]:
            settle(plan, state)
        header[LATEST], header[WAITING] = time, 1
        for slot in range(plan.slots.shape[0]):
            state.waiting[slot] = empty_of(plan.slots[slot, 0])
        state.waiting_lasts[:] = NULL
    for slot in range(plan.slots.shape[0]):
        operation = plan.slots[slot, 0]
        value = _lift(operation, inputs[plan.slots[slot, 1]], header)
        state.waiting[slot] = joined(operation, state.waiting[slot], value, header)
    for kind in range(plan.lasts.size):
        state.waiting_lasts[kind] = max(state.waiting_lasts[kind], inputs[plan.lasts[kind]])
    for kind in range(plan.distincts.size):
        value, size = inputs[plan.distincts[kind]], state.waiting_sizes[kind]
        if value == NULL or size == DISTINCT_LIMIT:
            continue
        known = False
        for place in range(size):
            known |= state.waiting_seen[kind, place] == value
        if not known:
            state.waiting_seen[kind, size] = value
            state.waiting_sizes[kind] += 1


@compiled_in_place
def amend(plan: Plan, state: State, time: Any, source: int, change: int) -> None:
    """Change the sums of an input by what became known about an event of the past."""
    header = state.header
    if time > header[LATEST]:
        return
    waits = time == header[LATEST] and header[WAITING]
    place = -1 if waits else bucket_at(plan, state, time)
    for slot in range(plan.slots.shape[0]):
        if plan.slots[slot, 0] == SUM and plan.slots[slot, 1] == source:
            if waits:
                state.waiting[slot] = joined(SUM, state.waiting[slot], change, header)
            else:
                state.columns[slot, place] = joined(SUM, state.columns[slot, place], change, header)
