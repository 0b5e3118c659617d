"""Several entities folded in one call, against each of them folded on its own."""

import numpy as np

from fraud_platform.features.entity_folds import EntityFolds
from fraud_platform.features.expressions import DAY, HOUR, MINUTE, Column, Operation, Rolling, Window, step_of
from fraud_platform.features.fold import NULL
from fraud_platform.features.plans import Aggregate
from fraud_platform.features.timeline import Timeline
from fraud_platform_tests.features.histories import START

INPUTS = VALUE, OTHER = Column("value"), Column("other")
FINGERPRINT = bytes(8)


def aggregate(operation: Operation, span: int, column: Column) -> Aggregate:
    rolling = Rolling(("key",), operation, None if operation == "count" else column, span)
    return Aggregate(rolling, Window(span, step_of(span), 0))


ENTITIES = [
    [aggregate("count", MINUTE, VALUE)],
    [aggregate("distinct", DAY, OTHER), aggregate("last", HOUR, VALUE), aggregate("sum", 30 * DAY, OTHER)],
    [aggregate("max", HOUR, VALUE), aggregate("min", HOUR, OTHER)],
]


def test_entities_folded_together_see_what_each_sees_alone() -> None:
    random = np.random.default_rng(4)
    size = 500
    times = START + np.sort(random.integers(0, 60 * DAY, size))
    inputs = random.integers(-50, 50, (size, 2))
    codes = random.integers(-1, 6, (len(ENTITIES), size))
    keys = [None if code < 0 else bytes([entity, code]) for entity, row in enumerate(codes) for code in row]
    states = {key: None for key in keys if key is not None}
    taken = EntityFolds(ENTITIES, INPUTS, FINGERPRINT).take(keys, states, times, inputs)
    assert taken.states.keys() == states.keys() and taken.latest.tolist() == times.tolist()
    column = 0
    for aggregates, row in zip(ENTITIES, codes, strict=True):
        expected = np.full((size, len(aggregates)), NULL)
        for code in range(6):
            (events,) = np.nonzero(row == code)
            begins = np.eye(1, events.size, dtype=np.int8)[0]
            seen = Timeline(aggregates, INPUTS, FINGERPRINT).observe_rows(begins, times[events], inputs[events])
            expected[events] = seen
        assert np.array_equal(taken.seen[:, column : column + len(aggregates)], expected)
        column += len(aggregates)


def test_more_states_than_there_is_room_for_are_written_all_the_same() -> None:
    size = 5000
    keys = [number.to_bytes(8, "big") for number in range(size)]
    folds = EntityFolds(ENTITIES, INPUTS, FINGERPRINT)
    times, inputs = START + np.arange(size), np.full((size, 2), 7)
    taken = folds.take(keys + 2 * size * [None], dict.fromkeys(keys), times, inputs)
    single = folds.take([b"one", None, None], {b"one": None}, times[-1:], inputs[-1:])
    assert len(taken.states) == size and taken.states[keys[-1]] == single.states[b"one"]
    assert (taken.seen[:, 0] == 0).all() and (taken.seen[:, 1:] == NULL).all()
