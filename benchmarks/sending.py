"""What is sent to a scoring service and judged afterwards: requests, when they are due, and what came of them."""

import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from load import Load, Scheduled
from numpy.typing import NDArray


@dataclass(frozen=True)
class Measured:
    """What came of a schedule.

    Attributes:
        sent: requests that became due.
        wrong: requests of the schedule without the right answer, those included that were never sent.
        seconds: from the start to the last answer.
        latencies_ms: of the right answers, from when they were due.
        busy: the share of that time in which the sending thread had work.
    """

    sent: int
    wrong: int
    seconds: float
    latencies_ms: NDArray[np.float64]
    busy: float

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms.size else float("inf")


Check = Callable[[bytes, bytes], bool]
"""Whether the body of an answer is one to the body of the request."""


def send(
    port: int,
    schedule: list[Scheduled],
    connections: int,
    check: Check,
    give_up_seconds: float = float("inf"),
) -> Measured:
    """Send a schedule whose requests are all there, and judge the answers afterwards."""
    load = Load(schedule, port, connections, give_up_seconds=give_up_seconds)
    gc.collect()
    gc.freeze()
    gc.disable()
    worked = time.thread_time()
    try:
        load.run()
        worked = time.thread_time() - worked
    finally:
        gc.enable()
        gc.unfreeze()
    done = [exchange for exchange in load.exchanges if exchange.status]
    right = [e for e in done if e.status == 200 and check(body_of(e.request), e.answer)]
    seconds = max((exchange.ended for exchange in done), default=0.0)
    return Measured(
        sent=len(load.exchanges),
        wrong=len(schedule) - len(right),
        seconds=seconds,
        latencies_ms=np.array([1e3 * (exchange.ended - exchange.due) for exchange in right]),
        busy=worked / seconds if seconds else 0.0,
    )


def post(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def body_of(request: bytes) -> bytes:
    """
    >>> body_of(post("/predict", b"{}"))
    b'{}'
    """
    return request.partition(b"\r\n\r\n")[2]


def poisson(requests: list[bytes], rate: float, seed: int) -> list[Scheduled]:
    """The requests as customers come, independent of each other: a Poisson process of `rate` a second.

    >>> [(round(due, 3), request) for due, request in poisson([b"a", b"b", b"c"], 2, seed=1)]
    [(0.216, b'a'), (0.768, b'b'), (1.426, b'c')]
    """
    # Given their number, the moments of a Poisson process are uniform: the rate is met exactly.
    moments = np.random.default_rng(seed).random(len(requests)) * (len(requests) / rate)
    return list(zip(np.sort(moments).tolist(), requests, strict=True))


def decides_on(body: bytes, answer: bytes) -> bool:
    """Whether the answer is a decision on each transaction of the request, in order.

    >>> decides_on(b'{"transaction_id": "a"}', b'{"transaction_id": "a", "action": "approve"}')
    True
    >>> decides_on(b'[{"transaction_id": "a"}]', b'[{"error": {"code": "unavailable"}}]')
    False
    """
    asked, answers = json.loads(body), json.loads(answer)
    if isinstance(asked, list):
        return len(asked) == len(answers) and all(map(_decides, asked, answers))
    return _decides(asked, answers)


def is_probability(_: bytes, answer: bytes) -> bool:
    """
    >>> is_probability(b"", b'{"fraud_probability": 0.25}')
    True
    """
    return 0 <= json.loads(answer)["fraud_probability"] <= 1


def _decides(asked: dict[str, Any], answer: dict[str, Any]) -> bool:
    return "action" in answer and answer.get("transaction_id") == asked["transaction_id"]


@contextmanager
def sender_on(core: int) -> Iterator[Callable[..., Measured]]:
    """`send`, in a process of its own on one core."""
    with ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, {core})) as pool:
        yield lambda *arguments, **named: pool.submit(send, *arguments, **named).result()
