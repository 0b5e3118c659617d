"""From a catalog's aggregates to the arrays that the bounded fold works in, of one entity or of many in one memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fraud_platform.errors import CatalogError
from fraud_platform.features.buckets import Int64, Plan, State
from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.expressions import DISTINCT_LIMIT, Expression, Rolling, Window
from fraud_platform.features.fold import DISTINCT, LAST, OPERATIONS


@dataclass(frozen=True)
class Aggregate:
    """What one rolling aggregate needs of the fold: which formula it folds, and how far it looks."""

    rolling: Rolling
    window: Window


def plan_of(aggregates: Sequence[Aggregate], inputs: Sequence[Expression]) -> Plan:
    """How one entity's aggregates are folded and read, in the order in which they are given.

    Args:
        inputs: the formulas that are folded, in the order in which their values are given.

    Raises:
        CatalogError: for a `last` or a `distinct` that is delayed.
    """
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
        furthest=max(reaches) + max(reaches.values()),
        steps=np.array(sorted(reaches.items()), np.int64) // unit,
    )


def state_of(plan: Plan) -> State:
    """Arrays for the past of one key, large enough for any; `reset` empties them."""
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


def most_bytes(state: State) -> int:
    """What `encode` writes of a state in these arrays is not longer: ten bytes an integer."""
    return 10 * sum(array.size for array in state)


def range_error() -> CatalogError:
    """The error for a sum that int64 cannot hold."""
    return CatalogError(
        "A rolling sum left the range of int64. Check the unit of the column, or cap it in the catalog."
    )


def _most_buckets(steps: Int64) -> int:
    """What merging leaves at most: of each step, as many as its windows reach, and those of one coarser bucket."""
    coarser = [*steps[1:, 0], 0]
    return sum(
        (int(reach) + 2 * int(step) + int(next_)) // int(step) + 2
        for (step, reach), next_ in zip(steps, coarser, strict=True)
    )


def pack(folds: Sequence[tuple[Plan, State]]) -> tuple[Int64, Int64]:
    """The arrays of many entities, one after the other in one memory, which compiled code takes in one go.

    Returns:
        int64 (m,), the memory; int64 (entities, f + 1): where in it each of the f fields of an entity's plan
        and state begins, and where the last one ends.
    """
    arrays, bounds, end = [], [], 0
    for plan, state in folds:
        fields = [np.ravel(field) for field in (*plan, *state)]
        bounds.append(end + np.cumsum([0, *(field.size for field in fields)]))
        arrays += fields
        end = bounds[-1][-1]
    return np.concatenate(arrays), np.array(bounds, np.int64)


@compiled_in_place
def unpack(memory: Int64, at: Int64) -> tuple[Plan, State]:
    """One entity's plan and state, as views of the memory. `at` (f + 1,) are its bounds."""
    plan = Plan(
        slots=memory[at[0] : at[1]].reshape(-1, 2),
        lasts=memory[at[1] : at[2]],
        distincts=memory[at[2] : at[3]],
        reads=memory[at[3] : at[4]].reshape(-1, 5),
        unit=int(memory[at[4]]),
        furthest=int(memory[at[5]]),
        steps=memory[at[6] : at[7]].reshape(-1, 2),
    )
    state = State(
        header=memory[at[7] : at[8]],
        waiting=memory[at[8] : at[9]],
        waiting_lasts=memory[at[9] : at[10]],
        lasts=memory[at[10] : at[11]].reshape(-1, 2),
        seen=memory[at[11] : at[12]].reshape(-1, DISTINCT_LIMIT, 2),
        seen_sizes=memory[at[12] : at[13]],
        waiting_seen=memory[at[13] : at[14]].reshape(-1, DISTINCT_LIMIT),
        waiting_sizes=memory[at[14] : at[15]],
        starts=memory[at[15] : at[16]],
        columns=memory[at[16] : at[17]].reshape(-1, at[16] - at[15]),
        limits=memory[at[17] : at[18]],
    )
    return plan, state
