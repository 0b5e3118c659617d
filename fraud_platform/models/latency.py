"""How long a model takes for one row, as the service asks it."""

import time
from dataclasses import dataclass

import numpy as np

from fraud_platform.models.algorithms import Matrix
from fraud_platform.models.artefact import Artefact

WARM_UP, ROWS = 100, 2_000


@dataclass(frozen=True)
class Latency:
    """Microseconds."""

    p50_us: float
    p99_us: float


def single_row_latency(artefact: Artefact, inputs: Matrix) -> Latency:
    """Predict `inputs` (n, d) one row at a time, 2,000 times."""
    micros = np.empty(WARM_UP + ROWS)
    for number in range(len(micros)):
        row = inputs[number % len(inputs)][np.newaxis, :]
        started = time.perf_counter_ns()
        artefact.predict(row)
        micros[number] = (time.perf_counter_ns() - started) / 1e3
    p50, p99 = np.percentile(micros[WARM_UP:], [50, 99])
    return Latency(float(p50), float(p99))
