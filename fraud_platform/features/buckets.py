"""One key's past in memory: the plan of its aggregates, its buckets of time, and how these are found and merged."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.fold import MAX, MIN, NULL, overflows

Int64 = NDArray[np.int64]

LATEST, BUCKETS, WAITING, OVERFLOW = range(4)
"""Places in a state's header."""


class Plan(NamedTuple):
    """One entity's aggregates, as compiled code reads them.

    Attributes:
        slots: (s, 2): operation and input of what each bucket holds.
        lasts: (l,): inputs of `last`. distincts: (d,): inputs of `distinct`.
        reads: (r, 5): operation, position among slots, lasts or distincts; span, step, delay.
        unit: the finest step in microseconds, which divides the others.
        furthest: no window of an event at the latest instant, or after it, sees what lies so many microseconds
            before that instant.
        steps: (k, 2), in units: step and furthest reach of the windows that move by it, steps ascending.
    """

    slots: Int64
    lasts: Int64
    distincts: Int64
    reads: Int64
    unit: int
    furthest: int
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
        starts: (capacity,): where each bucket starts, in units of the plan, ascending.
        columns: (s + 1, capacity): what the buckets hold, a row a slot, so that a slot's values lie side by
            side and loops over them are vectorised. The last row is filled where a state is encoded.
        limits: (k + 1,): filled where buckets are merged, so that no memory is asked for.
    """

    header: Int64
    waiting: Int64
    waiting_lasts: Int64
    lasts: Int64
    seen: Int64
    seen_sizes: Int64
    waiting_seen: Int64
    waiting_sizes: Int64
    starts: Int64
    columns: Int64
    limits: Int64


@compiled_in_place
def reset(state: State) -> None:
    state.header[:] = 0
    state.header[LATEST] = NULL
    state.lasts[:] = NULL
    state.seen_sizes[:] = 0
    state.waiting_sizes[:] = 0


@compiled_in_place
def empty_of(operation: int) -> int:
    """What a slot of a bucket without events holds."""
    return NULL if operation in (MIN, MAX) else 0


@compiled_in_place
def joined(operation: int, one: Any, other: Any, header: Int64) -> Any:
    """What a slot holds of two sets of events."""
    if operation == MIN:
        return one if other == NULL or (one != NULL and one < other) else other
    if operation == MAX:
        return max(one, other)  # NULL is the least
    if overflows(one, other):
        header[OVERFLOW] = 1
        return one
    return one + other


@compiled_in_place
def place_of(starts: Int64, size: Any, bound: Any, unit: Any) -> int:
    """The place of the first of so many starts that is not below a bound; the starts count in units of the bound's."""
    if size == 0 or starts[size - 1] * unit < bound:
        return size
    low, rest = 0, size
    while rest > 1:
        half = rest >> 1
        if starts[low + half - 1] * unit < bound:
            low += half
        rest -= half
    return low


@compiled_in_place
def bucket_at(plan: Plan, state: State, time: Any) -> int:
    """The position of the bucket of this time, made where there is none."""
    if state.header[BUCKETS] == state.starts.size:
        compact(plan, state)
    starts, columns, size = state.starts, state.columns, state.header[BUCKETS]
    start = time // plan.unit
    place = place_of(starts, size, start, 1)
    if place < size and starts[place] == start:
        return place
    for moved in range(size, place, -1):
        starts[moved] = starts[moved - 1]
        for slot in range(plan.slots.shape[0]):
            columns[slot, moved] = columns[slot, moved - 1]
    starts[place] = start
    for slot in range(plan.slots.shape[0]):
        columns[slot, place] = empty_of(plan.slots[slot, 0])
    state.header[BUCKETS] += 1
    return place


@compiled_in_place
def compact(plan: Plan, state: State) -> None:
    """Merge the buckets that no future window can tell apart; drop those that none can see."""
    starts, columns, slots, steps = state.starts, state.columns, plan.slots, plan.steps
    limits = state.limits
    _find_limits(steps, state.header[LATEST] // plan.unit, limits)
    if _is_compact(starts, state.header[BUCKETS], steps, limits):
        return
    kept = 0
    for place in range(state.header[BUCKETS]):
        kind = steps.shape[0] - 1
        while kind > 0 and starts[place] >= limits[kind]:
            kind -= 1
        start = starts[place] // steps[kind, 0] * steps[kind, 0]
        if start + steps[kind, 0] <= limits[-1]:
            continue
        if kept > 0 and starts[kept - 1] == start:
            for slot in range(slots.shape[0]):
                one, other = columns[slot, kept - 1], columns[slot, place]
                columns[slot, kept - 1] = joined(slots[slot, 0], one, other, state.header)
        else:
            for slot in range(slots.shape[0]):
                columns[slot, kept] = columns[slot, place]
            starts[kept] = start
            kept += 1
    state.header[BUCKETS] = kept


@compiled_in_place
def _find_limits(steps: Int64, latest: Any, limits: Int64) -> None:
    """Fill in, in units: below limits[i] buckets are as coarse as step i; what lies below limits[k] is seen by none.

    No window that moves by one of the first i steps begins or ends below `clear` any more, so that whole
    buckets of the next step may be made there. Entry 0 has no meaning.
    """
    kinds = steps.shape[0]
    clear = np.iinfo(np.int64).max
    for kind in range(kinds):
        clear = min(clear, (latest - steps[kind, 1]) // steps[kind, 0] * steps[kind, 0])
        limits[kind + 1] = clear if kind + 1 == kinds else clear // steps[kind + 1, 0] * steps[kind + 1, 0]


@compiled_in_place
def _is_compact(starts: Int64, size: Any, steps: Int64, limits: Int64) -> bool:
    """Whether every bucket may be seen, and starts where a bucket of its age does: then no two are to be merged."""
    if size > 0 and starts[0] < limits[-1]:
        return False
    first = 0
    for kind in range(steps.shape[0] - 1, 0, -1):
        if first == size:
            break
        last = place_of(starts, size, limits[kind], 1)
        if not _are_multiples(starts, first, last, steps[kind, 0]):
            return False
        first = last
    return True


@compiled_in_place
def _are_multiples(starts: Int64, first: Any, last: Any, step: Any) -> bool:
    """Division of floats is vectorised; only a multiple comes back from the quotient, rounded to an integer."""
    others = 0
    for place in range(np.uint64(first), np.uint64(last)):
        start = np.float64(starts[place])
        others |= np.rint(start / step) * step != start
    return others == 0
