"""The obviously correct reference: for each event, look at every other event, in plain Python."""

from collections.abc import Sequence

from fraud_platform.features.expressions import Rolling


def naive_rolling(
    rolling: Rolling, delay: int, keys: Sequence[object], times: Sequence[int], values: Sequence[int | None]
) -> list[int | None]:
    """The aggregate that each event sees; None where the key is null or the window has no value."""
    answers: list[int | None] = []
    for key, now in zip(keys, times, strict=True):
        start = (now - delay - rolling.span_us) // rolling.step_us * rolling.step_us
        end = now if delay == 0 else (now - delay) // rolling.step_us * rolling.step_us
        seen = [
            (t, v)
            for k, t, v in zip(keys, times, values, strict=True)
            if k == key and start <= t < end and v is not None
        ]
        answers.append(None if key is None else _aggregate(rolling.operation, seen))
    return answers


def _aggregate(operation: str, seen: list[tuple[int, int]]) -> int | None:
    if operation == "count":
        return len(seen)
    if operation == "sum":
        return sum(v for _, v in seen)
    if operation == "sum_squares":
        return sum(v * v for _, v in seen)
    if not seen:
        return None
    if operation == "min":
        return min(v for _, v in seen)
    if operation == "max":
        return max(v for _, v in seen)
    latest = max(t for t, _ in seen)
    return max(v for t, v in seen if t == latest)
