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

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_platform.features.compilation import compiled
from fraud_platform.features.expressions import DISTINCT_LIMIT
from fraud_platform.features.fold import (
    COUNT,
    DISTINCT,
    LAST,
    MAX,
    MIN,
    NULL,
    SUM,
    SUM_SQUARES,
    overflows,
    squares_overflow,
    window_of,
)

Int64 = NDArray[np.int64]

LATEST, BUCKETS, WAITING, OVERFLOW = range(4)
"""Places in a state's header."""


class Plan(NamedTuple):
    """One entity's aggregates, as compiled code reads them.

    Attributes:
        slots: (s, 2): operation and input of what each bucket holds.
        lasts: (l,): inputs of `last`. distincts: (d,): inputs of `distinct`.
        reads: (r, 5): operation, position among slots, lasts or distincts; span, step, delay.
        steps: (k, 2): step and furthest reach of the windows that move by it, steps ascending.
    """

    slots: Int64
    lasts: Int64
    distincts: Int64
    reads: Int64
    steps: Int64


class State(NamedTuple):
    """One key's past, in arrays that are used for one key after the other.

    Attributes:
        header: latest instant (NULL: no event yet), number of buckets, whether events of that instant
            wait, whether a sum left the range of int64.
        waiting: (s,) and waiting_lasts (l,): the events of the latest instant, aggregated.
        lasts: (l, 2): value and time before that instant.
        seen: (d, DISTINCT_LIMIT, 2): values and when each was seen last before that instant;
            seen_sizes (d,). waiting_seen (d, DISTINCT_LIMIT), waiting_sizes (d,): those of that instant.
        buckets: (capacity, 1 + s): start and slots, starts ascending.
    """

    header: Int64
    waiting: Int64
    waiting_lasts: Int64
    lasts: Int64
    seen: Int64
    seen_sizes: Int64
    waiting_seen: Int64
    waiting_sizes: Int64
    buckets: Int64


@compiled
def reset(state: State) -> None:
    state.header[:] = 0
    state.header[LATEST] = NULL
    state.lasts[:] = NULL
    state.seen_sizes[:] = 0
    state.waiting_sizes[:] = 0


@compiled
def _add_slot(operation: int, target: Int64, place: int, value: Any, header: Int64) -> None:
    if operation == MIN:
        if value != NULL and (target[place] == NULL or value < target[place]):
            target[place] = value
    elif operation == MAX:
        target[place] = max(target[place], value)  # NULL is the least
    else:
        if overflows(target[place], value):
            header[OVERFLOW] = 1
        else:
            target[place] += value


@compiled
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


@compiled
def _bucket_at(plan: Plan, state: State, time: Any) -> int:
    """The position of the bucket of this time, made where there is none."""
    if state.header[BUCKETS] == state.buckets.shape[0]:
        compact(plan, state)
    start = time // plan.steps[0, 0] * plan.steps[0, 0]
    buckets, place = state.buckets, state.header[BUCKETS]
    while place > 0 and buckets[place - 1, 0] > start:
        place -= 1
    if place > 0 and buckets[place - 1, 0] == start:
        return place - 1
    for moved in range(state.header[BUCKETS], place, -1):
        buckets[moved] = buckets[moved - 1]
    buckets[place, 0] = start
    for slot in range(plan.slots.shape[0]):
        operation = plan.slots[slot, 0]
        buckets[place, 1 + slot] = NULL if operation in (MIN, MAX) else 0
    state.header[BUCKETS] += 1
    return place


@compiled
def compact(plan: Plan, state: State) -> None:
    """Merge the buckets that no future window can tell apart; drop those that none can see."""
    steps, buckets, latest = plan.steps, state.buckets, state.header[LATEST]
    kinds = steps.shape[0]
    # No window that moves by one of the first k steps begins or ends below `clear` any more, so that whole buckets of
    # the next step may be made below limits[k]; what lies below limits[-1] is seen by none.
    limits = np.empty(kinds + 1, np.int64)
    clear = np.iinfo(np.int64).max
    for kind in range(kinds):
        clear = min(clear, (latest - steps[kind, 1]) // steps[kind, 0] * steps[kind, 0])
        limits[kind + 1] = clear if kind + 1 == kinds else clear // steps[kind + 1, 0] * steps[kind + 1, 0]
    kept = 0
    for place in range(state.header[BUCKETS]):
        start = buckets[place, 0]
        step = steps[0, 0]
        if start >= limits[1] and kept == place:  # this and all after it stay as they are
            kept = state.header[BUCKETS]
            break
        for kind in range(kinds - 1, 0, -1):
            if start < limits[kind]:
                step = steps[kind, 0]
                start = start // step * step
                break
        if start + step <= limits[kinds]:
            continue
        if kept > 0 and buckets[kept - 1, 0] == start:
            for slot in range(plan.slots.shape[0]):
                value = buckets[place, 1 + slot]
                _add_slot(plan.slots[slot, 0], buckets[kept - 1], 1 + slot, value, state.header)
        else:
            if kept < place:
                buckets[kept] = buckets[place]
            buckets[kept, 0] = start
            kept += 1
    state.header[BUCKETS] = kept


@compiled
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


@compiled
def _note_last(state: State, kind: int, value: Any, time: Any) -> None:
    if time > state.lasts[kind, 1] or (time == state.lasts[kind, 1] and value > state.lasts[kind, 0]):
        state.lasts[kind, 0], state.lasts[kind, 1] = value, time


@compiled
def _settle(plan: Plan, state: State) -> None:
    """Move what waits at the latest instant into the past."""
    latest = state.header[LATEST]
    place = _bucket_at(plan, state, latest)
    for slot in range(plan.slots.shape[0]):
        _add_slot(plan.slots[slot, 0], state.buckets[place], 1 + slot, state.waiting[slot], state.header)
    for kind in range(plan.lasts.size):
        if state.waiting_lasts[kind] != NULL:
            _note_last(state, kind, state.waiting_lasts[kind], latest)
    for kind in range(plan.distincts.size):
        for waiting in range(state.waiting_sizes[kind]):
            _remember(state, kind, state.waiting_seen[kind, waiting], latest)
        state.waiting_sizes[kind] = 0
    state.header[WAITING] = 0


@compiled
def add_event(plan: Plan, state: State, time: Any, inputs: Int64) -> None:
    """Take one event in."""
    header = state.header
    if time < header[LATEST]:
        place = _bucket_at(plan, state, time)
        for slot in range(plan.slots.shape[0]):
            operation = plan.slots[slot, 0]
            value = _lift(operation, inputs[plan.slots[slot, 1]], header)
            _add_slot(operation, state.buckets[place], 1 + slot, value, header)
        for kind in range(plan.lasts.size):
            if inputs[plan.lasts[kind]] != NULL:
                _note_last(state, kind, inputs[plan.lasts[kind]], time)
        for kind in range(plan.distincts.size):
            if inputs[plan.distincts[kind]] != NULL:
                _remember(state, kind, inputs[plan.distincts[kind]], time)
        return
    if time > header[LATEST]:
        if header[WAITING]:
            _settle(plan, state)
        header[LATEST], header[WAITING] = time, 1
        for slot in range(plan.slots.shape[0]):
            operation = plan.slots[slot, 0]
            state.waiting[slot] = NULL if operation in (MIN, MAX) else 0
        state.waiting_lasts[:] = NULL
    for slot in range(plan.slots.shape[0]):
        operation = plan.slots[slot, 0]
        _add_slot(operation, state.waiting, slot, _lift(operation, inputs[plan.slots[slot, 1]], header), header)
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


@compiled
def amend(plan: Plan, state: State, time: Any, source: int, change: int) -> None:
    """Change the sums of an input by what became known about an event of the past."""
    header = state.header
    if time > header[LATEST]:
        return
    waits = time == header[LATEST] and header[WAITING]
    place = -1 if waits else _bucket_at(plan, state, time)
    for slot in range(plan.slots.shape[0]):
        if plan.slots[slot, 0] == SUM and plan.slots[slot, 1] == source:
            if waits:
                _add_slot(SUM, state.waiting, slot, change, header)
            else:
                _add_slot(SUM, state.buckets[place], 1 + slot, change, header)


@compiled
def see(plan: Plan, state: State, time: Any, out: Any) -> None:
    """The aggregates that an event at this time sees. The event itself must be added next."""
    if state.header[WAITING] and time > state.header[LATEST]:
        _settle(plan, state)
    buckets, size = state.buckets, state.header[BUCKETS]
    for read in range(plan.reads.shape[0]):
        operation, position, span, step, delay = plan.reads[read]
        start, end = window_of(time, span, step, delay)
        if operation == LAST:
            value, when = state.lasts[position]
            out[read] = value if start <= when < end else NULL
        elif operation == DISTINCT:
            found = 0
            for place in range(state.seen_sizes[position]):
                found += start <= state.seen[position, place, 1] < end
            out[read] = min(found, DISTINCT_LIMIT)
        elif operation in (MIN, MAX):
            extreme = NULL
            place = size - 1
            while place >= 0 and buckets[place, 0] >= start:
                value = buckets[place, 1 + position]
                if buckets[place, 0] < end and value != NULL:
                    better = value > extreme if operation == MAX else value < extreme
                    if extreme == NULL or better:
                        extreme = value
                place -= 1
            out[read] = extreme
        else:
            total = np.int64(0)
            place = size - 1
            while place >= 0 and buckets[place, 0] >= start:
                if buckets[place, 0] < end:
                    if overflows(total, buckets[place, 1 + position]):
                        state.header[OVERFLOW] = 1
                        break
                    total += buckets[place, 1 + position]
                place -= 1
            out[read] = total
