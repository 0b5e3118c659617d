"""Scoring with an artefact, one payment at a time and in batches, beside XGBoost's own prediction.

    python benchmarks/score.py [--rows 1000000]

200 trees of depth 6 are trained on every input of the catalog over the simulator's 60 days, and saved; the artefact
is loaded and asked through `predict`, which checks the matrix, runs the graph and calibrates. Prints one JSON line:
{"inputs", "trees", "depth", "single_row_p50_us", "single_row_p99_us", "batch_threads", "batch_rows_per_s",
"batch_rows_per_s_one_thread", "xgboost_single_row_p50_us", "xgboost_single_row_p99_us"}. Single rows take one thread on
both sides, XGBoost by `inplace_predict`. A batch is the best of five; `batch_threads` threads of ours share it, each of
them with the same artefact, loaded for one thread, so that a score is the same bits as the service's.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from warehouses import Filled, filled_warehouse, source_arguments

if TYPE_CHECKING:
    from fraud_platform.models.algorithms import Matrix, Scores
    from fraud_platform.models.dataset import Snapshot
    from fraud_platform.models.training import TrainedModel

TREES, DEPTH, THREADS = 200, 6, 2
WARM_UP, SINGLE_ROWS, BATCHES = 1_000, 20_000, 5


def main() -> None:
    parser = source_arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of a batch")
    arguments = parser.parse_args()
    with (
        filled_warehouse(arguments.source, arguments.data, "transaction_features") as filled,
        tempfile.TemporaryDirectory(prefix="score-benchmark-") as folder,
    ):
        print(json.dumps(measure(filled, Path(folder), arguments)))


def measure(filled: Filled, folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    from fraud_platform.models.artefact import Artefact, save
    from fraud_platform.models.evaluation import evaluate_split
    from fraud_platform.models.training import input_matrix

    snapshot, trained = _trained(filled, folder)
    path = save(trained, evaluate_split(snapshot, trained, resamples=0), folder)
    inputs = input_matrix(snapshot.read("test"), trained.feature_columns)
    batch = np.ascontiguousarray(np.resize(inputs, (arguments.rows, inputs.shape[1])))
    predict = Artefact.load(path).predict
    model: Any = trained.model
    model.booster.set_param({"nthread": 1})
    p50, p99 = _single_rows(predict, inputs)
    xgboost_p50, xgboost_p99 = _single_rows(model.booster.inplace_predict, inputs)
    return {
        "inputs": inputs.shape[1],
        "trees": model.booster.num_boosted_rounds(),
        "depth": DEPTH,
        "single_row_p50_us": p50,
        "single_row_p99_us": p99,
        "batch_threads": THREADS,
        "batch_rows_per_s": _rows_per_s(predict, batch, THREADS),
        "batch_rows_per_s_one_thread": _rows_per_s(predict, batch, 1),
        "xgboost_single_row_p50_us": xgboost_p50,
        "xgboost_single_row_p99_us": xgboost_p99,
    }


def _trained(filled: Filled, folder: Path) -> "tuple[Snapshot, TrainedModel]":
    """A snapshot of the whole warehouse and a model of it."""
    from fraud_platform.models.algorithms.xgboost import XGBoost
    from fraud_platform.models.assembly import assemble_training_set
    from fraud_platform.models.training import train
    from fraud_platform.warehouse import connect

    settings, catalog = filled.settings, filled.catalog
    with connect(settings.database) as connection:
        snapshot = assemble_training_set(
            connection,
            settings.features,
            folder / "training_sets",
            catalog.label_delay_days,
            settings.validation_days,
            settings.test_days,
        )
    algorithm = XGBoost(max_depth=DEPTH, max_rounds=TREES, patience=0, min_child_weight=1.0)
    return snapshot, train(snapshot, algorithm, catalog.names, catalog.origin, settings.seed)


def _single_rows(predict: "Callable[[Matrix], Scores]", inputs: "Matrix") -> tuple[float, float]:
    """The median and the 99th percentile of predicting one row, microseconds."""
    micros = np.empty(WARM_UP + SINGLE_ROWS)
    for number in range(len(micros)):
        row = inputs[number % len(inputs)][np.newaxis, :]
        started = time.perf_counter_ns()
        predict(row)
        micros[number] = (time.perf_counter_ns() - started) / 1e3
    p50, p99 = np.percentile(micros[WARM_UP:], [50, 99])
    return round(float(p50), 1), round(float(p99), 1)


def _rows_per_s(predict: "Callable[[Matrix], Scores]", batch: "Matrix", threads: int) -> int:
    parts = np.array_split(batch, threads)
    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(BATCHES):
            started = time.perf_counter()
            np.concatenate(list(pool.map(predict, parts)))
            seconds.append(time.perf_counter() - started)
    return round(len(batch) / min(seconds))


if __name__ == "__main__":
    main()
