"""The bounded fold of one entity over many events at once: what Spark runs, and what a store is rebuilt with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.features.bucket_fold import add_event
from fraud_platform.features.buckets import OVERFLOW, Int64, Plan, State, reset
from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.expressions import Expression
from fraud_platform.features.fold import NULL
from fraud_platform.features.plans import Aggregate, most_bytes, plan_of, range_error, state_of
from fraud_platform.features.state_columns import Bytes
from fraud_platform.features.state_encoding import encode, header_of, tidy
from fraud_platform.features.window_reads import see


@compiled_in_place
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


@compiled_in_place
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
        tidy(plan, state)
        place = encode(plan, state, buffer, place)
        ends[group] = place
    return last


class Timeline:
    """The fold of one entity, and the memory that it works in: one at a time, one a thread.

    Args:
        aggregates: the entity's aggregates, in the order in which they are read.
        inputs: the formulas that are folded, in the order in which their values are given.
        fingerprint: of the catalog: every encoded state begins with it.
    """

    def __init__(self, aggregates: Sequence[Aggregate], inputs: Sequence[Expression], fingerprint: bytes) -> None:
        self._plan = plan_of(aggregates, inputs)
        self._state = state_of(self._plan)
        self._header = header_of(fingerprint)
        reset(self._state)

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
        out = np.empty((times.size, len(self._plan.reads)), np.int64)
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
        most = most_bytes(self._state)
        buffer = np.empty(max(min(room, (last - first) * most), most), np.uint8)
        ends = np.zeros(offsets.size, np.int64)
        reached = _encode_groups(
            self._plan, self._state, order, offsets, first, last, times, inputs, most, buffer, ends
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
            raise range_error()
