"""Loading the Dagster definitions in a fresh process, interpreter start included.

Prints one JSON line: {"seconds", "slowest", "dagster_seconds"}, medians of five; `dagster_seconds` is
`import dagster` alone, in the same run.
"""

import json
import statistics
import subprocess
import sys
import time

RUNS = 5


def main() -> None:
    platform = [seconds_of("import fraud_platform.definitions") for _ in range(RUNS)]
    dagster = [seconds_of("import dagster") for _ in range(RUNS)]
    figures = {
        "seconds": round(statistics.median(platform), 2),
        "slowest": round(max(platform), 2),
        "dagster_seconds": round(statistics.median(dagster), 2),
    }
    print(json.dumps(figures))


def seconds_of(code: str) -> float:
    """Wall time of a Python process that runs the code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
