"""The obviously correct reference: for each event, look at every other event, in plain Python."""

from collections.abc import Sequence

from fraud_platform.features.expressions import DISTINCT_LIMIT, Operation, Window


def naive_rolling(
    operation: Operation,
    window: Window,
    keys: Sequence[object],
    times: Sequence[int],
    values: Sequence[int | None],
) -> list[int | None]:
    """The aggregate that each event sees; None where the key is null or the window has no value."""
    span, step, delay = window
    answers: list[int | None] = []
    for key, now in zip(keys, times, strict=True):
        start = (now - delay - span) // step * step
        end = now if delay == 0 else (now - delay) // step * step
        seen = [
            (t, v)
            for k, t, v in zip(keys, times, values, strict=True)
            if k == key and start <= t < end and v is not None
        ]
        answers.append(None if key is None else _aggregate(operation, seen))
    return answers


def _aggregate(operation: Operation, seen: list[tuple[int, int]]) -> int | None:
    if operation == "count":
        return len(seen)
    if operation == "sum":
        return sum(v for _, v in seen)
    if operation == "sum_squares":
        return sum(v * v for _, v in seen)
    if operation == "distinct":
        return min(len({v for _, v in seen}), DISTINCT_LIMIT)
    if not seen:
        return None
    if operation == "min":
        return min(v for _, v in seen)
    if operation == "max":
        return max(v for _, v in seen)
    latest = max(t for t, _ in seen)
    return max(v for t, v in seen if t == latest)
