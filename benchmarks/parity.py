"""Every engine against the batch table, on a hundred thousand events and more.

    python benchmarks/parity.py [--source sources/handbook.yaml --data PATH] [--days 60]

Fills a warehouse, writes the feature table, and replays the last days event by event and label by label through
the scorer on LMDB and on a Redis server that it starts; the same days again in DuckDB by the oracle's SQL, and on
Spark. Prints one JSON line: {"events", "features", "mismatches", "engines", "late", "seconds": {engine: seconds}}.
"""

import json
import tempfile
import time
from pathlib import Path

from online import redis_server
from warehouses import filled_warehouse, source_arguments

EVENTS = 100_000


def main() -> None:
    parser = source_arguments(__doc__)
    parser.add_argument("--days", type=int, default=60, help="the last days that are replayed")
    arguments = parser.parse_args()
    with filled_warehouse(arguments.source, arguments.data, "transaction_features") as filled:
        from fraud_platform.monitoring.parity import Engine, check_parity

        engines: list[Engine] = ["duckdb", "spark", "online-lmdb", "online-redis"]
        seconds, reports = {}, []
        with tempfile.TemporaryDirectory(prefix="parity-benchmark-") as folder, redis_server(Path(folder)) as url:
            settings = filled.settings.model_copy(update={"online_store_url": url})
            for engine in engines:
                started = time.perf_counter()
                reports.append(check_parity(settings, filled.catalog, arguments.days, [engine]))
                seconds[engine] = round(time.perf_counter() - started, 1)
    if reports[0].events < EVENTS:
        raise SystemExit(f"{reports[0].events:,} events are less than {EVENTS:,}: ask for more days.")
    result = {
        "events": reports[0].events,
        "features": reports[0].features,
        "mismatches": sum(report.mismatches for report in reports),
        "engines": ["batch", *engines],
        "late": sum(comparison.late for report in reports for comparison in report.comparisons),
        "seconds": seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
