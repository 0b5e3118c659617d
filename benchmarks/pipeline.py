"""From raw data to batch scores, each stage as a Dagster run in a warehouse of its own.

    python benchmarks/pipeline.py [--source sources/handbook.yaml --data PATH]

Prints one JSON line: {"rows", "seconds", "stages": {asset: seconds}, "peak_mb"}. `seconds` is the sum
of the stages; `peak_mb` is the largest resident set of this process, imports included.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAST = "batch_scores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=ROOT / "sources" / "simulator.yaml")
    parser.add_argument("--data", help="in place of the source's own path")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pipeline-benchmark-") as folder:
        print(json.dumps(measure(arguments.source, arguments.data, Path(folder))))


def measure(source_file: Path, data: str | None, folder: Path) -> dict[str, object]:
    """Run every stage up to the batch scores in `folder`."""
    shutil.copy(ROOT / "dagster.yaml", folder / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["DAGSTER_STORAGE"] = str(folder / "dagster")

    import dagster as dg

    from fraud_platform.definitions import build_definitions
    from fraud_platform.defs.demo import STAGES, run_stage
    from fraud_platform.settings import Settings
    from fraud_platform.transactions.sources import load_source

    settings = Settings(source=source_file, data=data, warehouse=folder / "warehouse")  # type: ignore[call-arg]
    source = load_source(settings.source, settings.data)
    definitions = build_definitions(settings)
    stages: dict[str, float] = {}
    rows = 0
    with dg.DagsterInstance.get() as instance:
        for stage in STAGES[: next(n for n, names in enumerate(STAGES) if LAST in names) + 1]:
            started = time.perf_counter()
            found = run_stage(definitions, instance, source, stage)
            stages[stage[0]] = round(time.perf_counter() - started, 1)
            rows = found.get(LAST, {}).get("dagster/row_count", rows)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"rows": rows, "seconds": round(sum(stages.values()), 1), "stages": stages, "peak_mb": peak_mb}


if __name__ == "__main__":
    main()
