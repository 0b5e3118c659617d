"""The service as a client meets it: HTTP, the whole catalog, rules, and a commit that waits for the disk.

    python benchmarks/serving.py [--workers 1] [--rate 500] [--seconds 20] [--store lmdb|redis] [--warehouse PATH]

Serves the latest Bento that `make demo` built, on a copy of its installation, one core to a worker; a process on
another core sends the transactions of the days after the history. They come as a Poisson process of the rate, with a
seed, over 64 connections, and a latency runs from the moment a request is due to its answer's last byte (see
`load.py`). A right answer is a decision on the transaction that was sent; anything else is an error. Then: the
highest rate, to 5 %, at which requests of some seconds are all answered rightly with a 99th percentile of 20 ms; the
batch route with 1,000 transactions a request, two requests at a time; and on the same core, when the service has
ended, the highest rate of an application that only runs the model of the same Bento (`bare.py`).

With LMDB an answer waits for the disk (FRAUD_ONLINE_STORE_DURABLE), the one that TMPDIR is on; Redis brings its log to
the disk every second, and its server takes the cores that are left. Prints one JSON line: {"workers", "rate", "rps",
"p50_ms", "p99_ms", "errors", "max_rps", "batch_per_s", "worker_mb", "ratio_to_bare"}. `errors` are those of the load at
the rate and of the batches; `worker_mb` is the largest resident set of a worker after all that, without the pages of
LMDB's file: those are the system's cache, which it takes back when it needs them. What each step gave goes to standard
error.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import psutil
from installations import (
    Installation,
    copied_installation,
    installation_arguments,
    started_on,
    workers_of_service,
)
from sending import Check, Measured, decides_on, is_probability, poisson, post, sender_on

CONNECTIONS, SEED = 64, 1
P99_MS = 20.0
GIVE_UP_SECONDS = 1.0
"""A step of the search in which a request waits so long has failed."""
RESOLUTION = 1.05
LOWEST_RATE, FIRST_RATE, HIGHEST_RATE = 25, 500, 32_000
BATCH, BATCHES_AT_ONCE = 1_000, 2


def main() -> None:
    parser = installation_arguments(__doc__)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=int, default=500, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the load at that rate")
    parser.add_argument("--store", choices=["lmdb", "redis"], default="lmdb")
    parser.add_argument("--step-seconds", type=float, default=5.0, help="of each step of the search")
    parser.add_argument("--batches", type=int, default=60, help=f"of {BATCH:,} transactions")
    arguments = parser.parse_args()
    *cores, sender_core = sorted(os.sched_getaffinity(0))
    if len(cores) < arguments.workers:
        raise SystemExit(f"{arguments.workers} workers and the sender need a core each; there are {len(cores) + 1}.")
    with (
        copied_installation(arguments.warehouse, arguments.store) as installation,
        sender_on(sender_core) as send,
    ):
        print(json.dumps(measure(installation, set(cores[: arguments.workers]), send, arguments)))


def measure(
    installation: Installation, cores: set[int], send: Callable[..., Measured], arguments: argparse.Namespace
) -> dict[str, object]:
    """The service first, and then the bare application on the same cores."""
    durable = {"FRAUD_ONLINE_STORE_DURABLE": "true"}
    folder = installation.settings.warehouse.parent / "service"
    with installation.served(folder, arguments.workers, durable, cores) as client:
        assert client.base_url.port is not None
        found = measure_service(installation, client.base_url.port, send, arguments)
    with bare_application(installation.artefact, cores) as port:
        target = Target(send, port, vectors(installation), is_probability)
        target.at(FIRST_RATE, arguments.step_seconds)
        bare = target.highest_rate(arguments.step_seconds)
    ratio = round(found["max_rps"] / bare, 3) if bare else None
    return {"workers": arguments.workers, "rate": arguments.rate, **found, "ratio_to_bare": ratio}


def measure_service(
    installation: Installation, port: int, send: Callable[..., Measured], arguments: argparse.Namespace
) -> dict[str, Any]:
    fresh = installation.transactions()
    target = Target(send, port, (post("/predict", body) for body in fresh), decides_on)
    target.at(arguments.rate, arguments.seconds / 4)
    run = target.at(arguments.rate, arguments.seconds)
    highest = target.highest_rate(arguments.step_seconds)
    batches = (post("/predict/batch", b"[" + b",".join(islice(fresh, BATCH)) + b"]") for _ in count())
    target = Target(send, port, batches, decides_on)
    target.at_once(2)
    batched = target.at_once(arguments.batches)
    return {
        "rps": round(len(run.latencies_ms) / run.seconds, 1),
        "p50_ms": round(run.percentile_ms(50), 2),
        "p99_ms": round(run.percentile_ms(99), 2),
        "errors": run.wrong + batched.wrong,
        "max_rps": highest,
        "batch_per_s": round(BATCH * len(batched.latencies_ms) / batched.seconds),
        "worker_mb": max(resident_mb(worker) for worker in workers_of_service()),
    }


@dataclass(frozen=True)
class Target:
    """What is measured.

    Attributes:
        send: `load.send`, on a core of its own.
        requests: drawn from, so that none is sent twice; without end.
        check: what a right answer is.
    """

    send: Callable[..., Measured]
    port: int
    requests: Iterator[bytes]
    check: Check

    def at(self, rate: int, seconds: float, give_up_seconds: float = float("inf")) -> Measured:
        """Requests at a rate, a second, whatever becomes of them."""
        schedule = poisson(list(islice(self.requests, round(rate * seconds))), rate, SEED)
        run = self.send(self.port, schedule, CONNECTIONS, self.check, give_up_seconds)
        _report(f"{rate}/s", run)
        return run

    def at_once(self, number: int) -> Measured:
        """So many requests, BATCHES_AT_ONCE at a time."""
        run = self.send(self.port, [(0.0, one) for one in islice(self.requests, number)], BATCHES_AT_ONCE, self.check)
        _report(f"{number} batches", run)
        return run

    def highest_rate(self, seconds: float) -> int:
        """The highest at which all is answered rightly with a 99th percentile of P99_MS."""

        def passes(rate: int) -> bool:
            run = self.at(rate, seconds, GIVE_UP_SECONDS)
            return run.wrong == 0 and run.percentile_ms(99) <= P99_MS

        return highest(passes, LOWEST_RATE, FIRST_RATE, HIGHEST_RATE)


def highest(passes: Callable[[int], bool], least: int, first: int, most: int) -> int:
    """The highest whole number that passes, to RESOLUTION: doubled or halved from the first, then bisected.

    >>> [highest(lambda rate: rate <= limit, 25, 500, 4000) for limit in (1234, 70, 24, 9000)]
    [1189, 68, 0, 4000]
    """
    low, high = 0, first
    while high <= most and passes(high):
        low, high = high, 2 * high
    if high > most:
        return low
    while not low and high // 2 >= least:
        low, high = (high // 2, high) if passes(high // 2) else (0, high // 2)
    while low and high / low > RESOLUTION:
        middle = round((low * high) ** 0.5)
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


@contextmanager
def bare_application(artefact: Path, cores: set[int]) -> Iterator[int]:
    """`bare.py` with the model of an artefact's directory; gives the port."""
    command = [sys.executable, str(Path(__file__).with_name("bare.py")), str(artefact)]
    with started_on(cores):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(command)} ended with exit {process.wait()} before it listened.")
        yield int(line)
    finally:
        process.terminate()
        process.wait(30)


def vectors(installation: Installation) -> Iterator[bytes]:
    """Requests with the features of the history's last day, over and over."""
    from fraud_platform.features.table import read_features

    last = installation.last_day()
    table = read_features(installation.original.features, last, last)
    rows = table.select(installation.catalog.names).to_numpy().astype("<f4")
    return cycle(post("/", row.tobytes(), "application/octet-stream") for row in rows)


def resident_mb(process: psutil.Process) -> int:
    """The resident set without the pages of LMDB's file, MB."""
    maps = process.memory_maps(grouped=True)
    total, cached = sum(one.rss for one in maps), sum(one.rss for one in maps if one.path.endswith("/data.mdb"))
    print(f"worker {process.pid}: {total >> 20} MB, {cached >> 20} of them LMDB's file", file=sys.stderr)
    return (total - cached) >> 20


def _report(what: str, run: Measured) -> None:
    print(
        f"{what}: {len(run.latencies_ms)} of {run.sent} in {run.seconds:.1f} s, p50 {run.percentile_ms(50):.2f} ms, "
        f"p99 {run.percentile_ms(99):.2f} ms, {run.wrong} wrong or unanswered, sender {run.busy:.0%} busy",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
