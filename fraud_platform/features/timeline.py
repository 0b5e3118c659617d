"""The bounded fold of one entity: what the online driver and Spark run, and what the online store keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError, StoreError
from fraud_platform.features.bucket_fold import add_event, amend
from fraud_platform.features.buckets import LATEST, OVERFLOW, Int64, Plan, State, reset
from fraud_platform.features.compilation import compiled
from fraud_platform.features.expressions import DISTINCT_LIMIT, Expression, Rolling, Window
from fraud_platform.features.fold import DISTINCT, LAST, NULL, OPERATIONS
from fraud_platform.features.state_columns import Bytes
from fraud_platform.features.state_encoding import FORMAT, decode, encode
from fraud_platform.features.window_reads import see

_DAMAGED = -1
_NOTHING = np.empty(0, np.uint8)


@compiled
def _step(
    plan: Plan, state: State, before: Bytes, time: int, inputs: Int64, out: Int64, buffer: Bytes, place: int
) -> int:
    if before.size == 0:
        reset(state)
    elif not decode(plan, state, before):
        return _DAMAGED
    see(plan, state, time, out)
    add_event(plan, state, time, inputs)
    return encode(plan, state, buffer, place)


@compiled
def _step_back(
    plan: Plan, state: State, before: Bytes, time: int, source: int, change: int, buffer: Bytes, place: int
) -> int:
    if not decode(plan, state, before):
        return _DAMAGED
    amend(plan, state, time, source, change)
    return encode(plan, state, buffer, place)


@compiled
def _observe_rows(plan: Plan, state: State, begins: Any, times: Int64, inputs: Int64, out: Int64) -> None:
    """One event after the other; where `begins` is 1 a key begins, where it is -1 the key is null."""
    for row in range(times.size):
        if begins[row] < 0:
            out[row] = NULL
            continue
        if begins[row]:
            reset(state)
        see(plan, state, times[row], out[row])
        add_event(plan, state, times[row], inputs[row])


@compiled
def _encode_groups(
    plan: Plan,
    state: State,
    order: Int64,
    offsets: Int64,
    first: int,
    last: int,
    times: Int64,
    inputs: Int64,
    most: int,
    buffer: Bytes,
    ends: Int64,
) -> int:
    """The states of the keys in [first, last) after all their events, until the buffer has no room for `most` bytes.

    Returns the first key that is not in the buffer; `ends` holds where each key's bytes end.
    """
    place = 0
    for group in range(first, last):
        if buffer.size - place < most:
            return group
        reset(state)
        for member in range(offsets[group], offsets[group + 1]):
            row = order[member]
            add_event(plan, state, times[row], inputs[row])
        place = encode(plan, state, buffer, place)
        ends[group] = place
    return last


@dataclass(frozen=True)
class Aggregate:
    """What one rolling aggregate needs of the fold: which formula it folds, and how far it looks."""

    rolling: Rolling
    window: Window


class Timeline:
    """The fold of one entity, and the memory that it works in: one at a time, one a thread.

    Args:
        aggregates: the entity's aggregates, in the order in which they are read.
        inputs: the formulas that are folded, in the order in which their values are given.
        header: what every encoded state begins with; a state that begins otherwise is refused.
    """

    def __init__(self, aggregates: Sequence[Aggregate], inputs: Sequence[Expression], header: bytes) -> None:
        self._plan = _plan_of(aggregates, inputs)
        self._state = _state_of(self._plan)
        self._header = header + bytes([FORMAT])
        self._out = np.empty(len(aggregates), np.int64)
        self._buffer = np.empty(self.most_bytes, np.uint8)
        self._buffer[: len(self._header)] = np.frombuffer(self._header, np.uint8)
        reset(self._state)

    @property
    def size(self) -> int:
        """The number of aggregates."""
        return self._out.size

    @property
    def most_bytes(self) -> int:
        """No encoded state is longer: ten bytes an integer."""
        return 10 * sum(array.size for array in self._state) + len(self._header)

    def step(self, state: bytes | None, time: int, inputs: Int64) -> tuple[Int64, int, bytes]:
        """What an event sees, int64 (r,), its key's latest instant, and its key's state with the event in it.

        An event before that instant came late.

        Args:
            state: the key's state; None for a key that was never seen.
            inputs: int64, the values that are folded, NULL where missing.

        Raises:
            StoreError: for a state of another catalog or another format, or one that is not whole.
            CatalogError: if a sum leaves the range of int64.
        """
        before = self._content(state)
        end = _step(self._plan, self._state, before, time, inputs, self._out, self._buffer, len(self._header))
        self._check(end)
        return self._out, int(self._state.header[LATEST]), self._buffer[:end].tobytes()

    def relabel(self, state: bytes, time: int, source: int, change: int) -> bytes:
        """The state after something became known about an event at this time.

        Args:
            source: the input whose sums change, by `change`.

        Raises:
            StoreError, CatalogError: as `step`.
        """
        before = self._content(state)
        end = _step_back(self._plan, self._state, before, time, source, change, self._buffer, len(self._header))
        self._check(end)
        return self._buffer[:end].tobytes()

    def _content(self, state: bytes | None) -> Bytes:
        """The encoded integers; none for a key that was never seen."""
        if state is None:
            return _NOTHING
        if not state.startswith(self._header):
            raise StoreError(
                "The online store holds the state of another catalog than this code's. "
                "Materialize `online_state` to rebuild it."
            )
        if len(state) == len(self._header):  # which would pass for a key that was never seen
            self._check(_DAMAGED)
        return np.frombuffer(state, np.uint8, offset=len(self._header))

    def _check(self, end: int) -> None:
        if end == _DAMAGED:
            raise StoreError("A state in the online store is damaged. Materialize `online_state` to rebuild it.")
        self._check_range()

    def observe_rows(self, begins: NDArray[np.int8], times: Int64, inputs: Int64) -> Int64:
        """What each of many events sees, keys one after the other, each key's events in order of time.

        The last key goes on with the next call.

        Args:
            begins: int8 (n,): 1 where a key begins, 0 where it goes on, -1 where the key is null.
            times: int64 (n,); inputs: int64 (n, i).

        Returns:
            int64 (n, r); NULL where the key is null.

        Raises:
            CatalogError: if a sum leaves the range of int64.
        """
        out = np.empty((times.size, self._out.size), np.int64)
        _observe_rows(self._plan, self._state, begins, times, inputs, out)
        self._check_range()
        return out

    def states_of(
        self, order: Int64, offsets: Int64, first: int, last: int, times: Int64, inputs: Int64, room: int
    ) -> tuple[list[bytes], int]:
        """The encoded states of the keys from `first` on that fit into `room` bytes, and the next key.

        Args:
            order, offsets: each key's events, as `group_rows` gives them.
            times: int64 (n,); inputs: int64 (n, i), NULL where missing.

        Raises:
            CatalogError: if a sum leaves the range of int64.
        """
        room = max(min(room, (last - first) * self.most_bytes), self.most_bytes)
        buffer = np.empty(room, np.uint8)
        ends = np.zeros(offsets.size, np.int64)
        reached = _encode_groups(
            self._plan, self._state, order, offsets, first, last, times, inputs, self.most_bytes, buffer, ends
        )
        self._check_range()
        encoded, begin = [], 0
        content = buffer[: ends[reached - 1]].tobytes()
        for group in range(first, reached):
            encoded.append(self._header + content[begin : ends[group]])
            begin = int(ends[group])
        return encoded, reached

    def _check_range(self) -> None:
        if self._state.header[OVERFLOW]:
            reset(self._state)
            raise CatalogError(
                "A rolling sum left the range of int64. Check the unit of the column, or cap it in the catalog."
            )


def _plan_of(aggregates: Sequence[Aggregate], inputs: Sequence[Expression]) -> Plan:
    slots: dict[tuple[int, int], int] = {}
    lasts: dict[int, int] = {}
    distincts: dict[int, int] = {}
    reads: list[tuple[int, int, int, int, int]] = []
    reaches: dict[int, int] = {}
    for aggregate in aggregates:
        rolling, window = aggregate.rolling, aggregate.window
        operation = OPERATIONS[rolling.operation]
        source = 0 if rolling.column is None else inputs.index(rolling.column)
        if window.delay_us and operation in (LAST, DISTINCT):
            raise CatalogError(f"{rolling.operation} cannot be delayed: {rolling}.")
        if operation == LAST:
            position = lasts.setdefault(source, len(lasts))
        elif operation == DISTINCT:
            position = distincts.setdefault(source, len(distincts))
        else:
            position = slots.setdefault((operation, source), len(slots))
        span, step, delay = window
        reads.append((operation, position, span, step, delay))
        reaches[step] = max(reaches.get(step, 0), window.reach_us)
    unit = min(reaches)
    return Plan(
        slots=np.array(list(slots), np.int64).reshape(-1, 2),
        lasts=np.array(list(lasts), np.int64),
        distincts=np.array(list(distincts), np.int64),
        reads=np.array(reads, np.int64),
        unit=unit,
        steps=np.array(sorted(reaches.items()), np.int64) // unit,
    )


def _state_of(plan: Plan) -> State:
    slots, lasts, distincts = len(plan.slots), len(plan.lasts), len(plan.distincts)
    # Twice what is left after merging, so that a long run of events merges now and then.
    capacity = 2 * _most_buckets(plan.steps)
    return State(
        header=np.zeros(4, np.int64),
        waiting=np.zeros(slots, np.int64),
        waiting_lasts=np.zeros(lasts, np.int64),
        lasts=np.zeros((lasts, 2), np.int64),
        seen=np.zeros((distincts, DISTINCT_LIMIT, 2), np.int64),
        seen_sizes=np.zeros(distincts, np.int64),
        waiting_seen=np.zeros((distincts, DISTINCT_LIMIT), np.int64),
        waiting_sizes=np.zeros(distincts, np.int64),
        starts=np.zeros(capacity, np.int64),
        columns=np.zeros((slots + 1, capacity), np.int64),
        limits=np.zeros(len(plan.steps) + 1, np.int64),
    )


def _most_buckets(steps: Int64) -> int:
    """What merging leaves at most: of each step, as many as its windows reach, and those of one coarser bucket."""
    coarser = [*steps[1:, 0], 0]
    return sum(
        (int(reach) + 2 * int(step) + int(next_)) // int(step) + 2
        for (step, reach), next_ in zip(steps, coarser, strict=True)
    )
