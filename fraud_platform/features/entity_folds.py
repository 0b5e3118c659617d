"""The bounded folds of all entities over a sequence of events: what the online driver runs, in one compiled call.

Keys are taken one after the other. A key's state is decoded once, takes the key's events in their order and
is encoded once; between two events it is made as tidy as if it had been encoded and decoded in between.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from fraud_platform.errors import StoreError
from fraud_platform.features.bucket_fold import add_event, amend
from fraud_platform.features.buckets import LATEST, OVERFLOW, Int64, Plan, State, reset
from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.expressions import Expression
from fraud_platform.features.fold import NULL, sort_groups
from fraud_platform.features.plans import Aggregate, most_bytes, pack, plan_of, range_error, state_of, unpack
from fraud_platform.features.state_columns import Bytes
from fraud_platform.features.state_encoding import decode, encode, header_of, tidy
from fraud_platform.features.window_reads import see

_DAMAGED, _FOREIGN, _OUT_OF_RANGE, _NO_ROOM = -1, -2, -3, -4
"""Why there is no state, in place of the place in the buffer where it would end."""
_NO_KEY = -1
"""In place of the number of an event's key."""
_NEVER_SEEN = -1
"""In place of the length of a key's state."""


class Taken(NamedTuple):
    """What a sequence of events saw and left.

    Attributes:
        seen: int64 (n, aggregates), entity by entity; NULL for an entity that an event does not have.
        latest: int64 (n,), the latest instant of any of an event's keys, the event included, microseconds.
        states: of every key after all events.
    """

    seen: Int64
    latest: Int64
    states: dict[bytes, bytes]


class EntityFolds:
    """The folds of a catalog's entities, and the memory that they work in: one at a time, one a thread.

    Args:
        entities: the aggregates of each entity, in the order in which they are read.
        inputs: the formulas that are folded, in the order in which their values are given.
        fingerprint: of the catalog: a state that does not begin with it is refused.
    """

    def __init__(
        self, entities: Sequence[Sequence[Aggregate]], inputs: Sequence[Expression], fingerprint: bytes
    ) -> None:
        plans = [plan_of(aggregates, inputs) for aggregates in entities]
        folds = [(plan, state_of(plan)) for plan in plans]
        self._memory, self._bounds = pack(folds)
        self._header = np.frombuffer(header_of(fingerprint), np.uint8)
        self._most = self._header.size + max((most_bytes(state) for _, state in folds), default=0)
        self._aggregates = sum(len(plan.reads) for plan in plans)
        self._buffer = np.empty(self._most * len(folds), np.uint8)

    def take(
        self,
        keys: Iterable[bytes | None],
        states: Mapping[bytes, bytes | None],
        times: Int64,
        inputs: Int64,
    ) -> Taken:
        """Take events in, one after the other.

        Args:
            keys: of each event, first those for the first entity, then those for the second …; None for none.
            states: of every key; None for a key that was never seen.
            times: int64 (n,), microseconds; inputs: int64 (n, i), the values that are folded, NULL where missing.

        Raises:
            StoreError: for a state of another catalog or another format, or one that is not whole.
            CatalogError: if a sum leaves the range of int64.
        """
        numbers: dict[bytes, int] = {}
        codes = [_NO_KEY if key is None else numbers.setdefault(key, len(numbers)) for key in keys]
        known = [states[key] for key in numbers]
        lengths = [_NEVER_SEEN if state is None else len(state) for state in known]
        taken = Taken(np.empty((times.size, self._aggregates), np.int64), times.copy(), {})
        ends = np.empty(len(numbers), np.int64)
        given = (
            *(self._memory, self._bounds, self._header, self._most),
            *(np.array(codes, np.int64), np.empty(len(codes), np.int64), np.empty(len(numbers) + 1, np.int64)),
            *(np.frombuffer(b"".join(filter(None, known)), np.uint8), np.array(lengths, np.int64)),
            *(times, inputs, taken.seen, taken.latest, ends),
        )
        while (end := _take(*given, self._buffer)) == _NO_ROOM:
            self._buffer = np.empty(2 * self._buffer.size, np.uint8)
        content, begin = self._encoded(end), 0
        for key, end in zip(numbers, ends.tolist(), strict=True):
            taken.states[key] = content[begin:end]
            begin = end
        return taken

    def relabel(self, entity: int, state: bytes, time: int, source: int, change: int) -> bytes:
        """The state after something became known about an event at this time.

        Args:
            source: the input whose sums change, by `change`.

        Raises:
            StoreError, CatalogError: as `take`.
        """
        before, bounds = np.frombuffer(state, np.uint8), self._bounds[entity]
        end = _relabel(self._memory, bounds, self._header, before, time, source, change, self._buffer)
        return self._encoded(end)

    def _encoded(self, end: int) -> bytes:
        """What was written into the buffer."""
        if end < 0:
            _fail(end)
        return self._buffer[:end].tobytes()


def _fail(why: int) -> NoReturn:
    if why == _OUT_OF_RANGE:
        raise range_error()
    what = "holds the state of another catalog than this code's" if why == _FOREIGN else "holds a damaged state"
    raise StoreError(f"The online store {what}. Materialize `online_state` to rebuild it.")


@compiled_in_place
def _take(
    memory: Int64,
    bounds: Int64,
    header: Bytes,
    most: int,
    codes: Int64,
    order: Int64,
    offsets: Int64,
    before: Bytes,
    lengths: Int64,
    times: Int64,
    inputs: Int64,
    seen: Int64,
    latest: Int64,
    ends: Int64,
    buffer: Bytes,
) -> int:
    """Write the keys' states one after the other; returns where the last one ends, or why there is none.

    Args:
        codes: (entities * n,): the number of each event's key, entity by entity. order, offsets: room for sorting.
        before: the keys' states, as long as `lengths` (keys,) says. latest: (n,), the events' own times at first.
        ends: (keys,), filled: where each key's state ends in the buffer.
    """
    seen[:] = NULL
    sort_groups(codes, order, offsets)
    key = byte = read = place = 0
    for entity in range(bounds.shape[0]):
        plan, state = unpack(memory, bounds[entity])
        reads, first = plan.reads.shape[0], entity * times.size
        while key < ends.size and order[offsets[key]] < first + times.size:
            if lengths[key] == _NEVER_SEEN:
                reset(state)
            else:
                problem = _read(plan, state, header, before[byte : byte + lengths[key]])
                if problem:
                    return problem
                byte += lengths[key]
            for member in range(offsets[key], offsets[key + 1]):
                row = order[member] - first
                see(plan, state, times[row], seen[row, read : read + reads])
                add_event(plan, state, times[row], inputs[row])
                tidy(plan, state)
                latest[row] = max(latest[row], state.header[LATEST])
            place = _write(plan, state, header, most, buffer, place)
            if place < 0:
                return place
            ends[key] = place
            key += 1
        read += reads
    return place


@compiled_in_place
def _relabel(
    memory: Int64, bounds: Int64, header: Bytes, before: Bytes, time: int, source: int, change: int, buffer: Bytes
) -> int:
    plan, state = unpack(memory, bounds)
    problem = _read(plan, state, header, before)
    if problem:
        return problem
    amend(plan, state, time, source, change)
    tidy(plan, state)
    return _write(plan, state, header, 0, buffer, 0)


@compiled_in_place
def _read(plan: Plan, state: State, header: Bytes, before: Bytes) -> int:
    """Fill the state from its bytes; returns 0, or what is wrong with them."""
    if before.size < header.size:
        return _FOREIGN
    for place in range(header.size):
        if before[place] != header[place]:
            return _FOREIGN
    return 0 if decode(plan, state, before[header.size :]) else _DAMAGED


@compiled_in_place
def _write(plan: Plan, state: State, header: Bytes, most: int, buffer: Bytes, place: int) -> int:
    """Write a tidy state at a place of the buffer; returns the place after it, or why it is not there."""
    if state.header[OVERFLOW]:
        return _OUT_OF_RANGE
    if buffer.size - place < most:
        return _NO_ROOM
    for byte in range(header.size):
        buffer[place + byte] = header[byte]
    return encode(plan, state, buffer, place + header.size)
