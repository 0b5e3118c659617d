"""Fitting each algorithm on 1.75 million payments, each in a process of its own.

    python benchmarks/training.py [--data PATH] [--rows 1750000]

With `--data` the payments are the handbook's transactions.parquet, otherwise simulated ones with every column of the
contract, over 183 days. The last week of them stops the fit, the others are fitted on, with the defaults. Prints one
JSON line: {"rows", "inputs", "frauds", "algorithms": {name: {"seconds", "rows_per_s", "peak_mb", facts of the fit}}}.
`rows_per_s` counts all rows; `peak_mb` is the largest resident set of the process that fits, the inputs and imports
included. A random forest fits each tree on 50,000 rows, and an isolation forest on 1,024.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from handbook import read_payments

if TYPE_CHECKING:
    from fraud_platform.models.algorithms import Labels, Matrix

DAYS, STOPPING_DAYS = 183, 7
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the handbook's transactions.parquet")
    parser.add_argument("--rows", type=int, default=1_750_000, help="of simulated payments, about")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="training-benchmark-") as folder:
        print(json.dumps(measure(Path(folder), arguments.data, arguments.rows)))


def measure(folder: Path, data: str | None, rows: int) -> dict[str, object]:
    from fraud_platform.models.algorithms import candidates

    # A process begins with the largest resident set that its parent had: this one stays small.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as processes:
        facts = processes.submit(write_inputs, folder, data, rows).result()
        return {**facts, "algorithms": {name: processes.submit(fit, folder, name).result() for name in candidates()}}


def write_inputs(folder: Path, data: str | None, rows: int) -> dict[str, int]:
    """Put the inputs and labels where each process reads them."""
    if data is None:
        inputs, labels = simulated(rows)
    else:
        payments = read_payments(data).all
        inputs, labels = payments.inputs, payments.labels
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "labels.npy", labels)
    return {"rows": len(labels), "inputs": inputs.shape[1], "frauds": int(labels.sum())}


def simulated(rows: int) -> "tuple[Matrix, Labels]":
    """Inputs and labels of payments whose frauds are all known after the label delay."""
    import polars as pl

    from fraud_platform.features.batch import compute_features
    from fraud_platform.features.expressions import DAY
    from fraud_platform.features.selection import build_catalog
    from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
    from fraud_platform.transactions.simulator import SimulatorConfig, simulate

    first, per_day = date(2025, 1, 1), rows // DAYS
    config = SimulatorConfig(first_day=first, customers=per_day, merchants=per_day, transactions_per_day=per_day)
    events = simulate(config, first, first + timedelta(days=DAYS - 1)).with_columns(
        event_us=pl.col("event_time").dt.epoch("us"), known_fraud=pl.col("is_fraud").cast(pl.Int64)
    )
    inputs = compute_features(events, build_catalog(TRANSACTION_COLUMNS, [], 7 * DAY))
    return inputs, events["is_fraud"].to_numpy()


def fit(folder: Path, name: str) -> dict[str, float]:
    """Fit one algorithm in this process."""
    from fraud_platform.models.algorithms import Sample, candidates

    inputs, labels = np.load(folder / "inputs.npy"), np.load(folder / "labels.npy")
    rows = len(labels)
    end = rows - rows * STOPPING_DAYS // DAYS
    train, stopping = Sample(inputs[:end], labels[:end]), Sample(inputs[end:], labels[end:])
    started = time.perf_counter()
    model = candidates()[name].fit(train, stopping, SEED)
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 1),
        "rows_per_s": round(rows / seconds),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **{fact: value for fact, value in model.facts.items() if isinstance(value, int)},
    }


if __name__ == "__main__":
    main()
