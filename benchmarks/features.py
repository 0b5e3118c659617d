"""The whole catalog over all events of a source, beside the same aggregates in DuckDB's SQL.

    python benchmarks/features.py [--source sources/handbook.yaml --data PATH]

Prints one JSON line: {"rows", "features", "aggregates", "seconds", "rows_per_s", "peak_mb", "first_seconds",
"duckdb_seconds", "ratio_vs_duckdb"}. `seconds` is the best of three runs from columns in memory to the
feature matrix, aggregates and row step; `first_seconds` is the first run of this process, which compiles the
kernels where no earlier one did; `peak_mb` is the largest resident set before DuckDB began, events
included; `duckdb_seconds` is one run of the oracle's SQL for the aggregates alone.
"""

import json
import resource
import time
from collections.abc import Callable

from warehouses import Filled, filled_warehouse, source_arguments


def main() -> None:
    arguments = source_arguments(__doc__).parse_args()
    with filled_warehouse(arguments.source, arguments.data, "validated_transactions") as filled:
        print(json.dumps(measure(filled)))


def measure(filled: Filled) -> dict[str, object]:
    from datetime import timedelta

    import numpy as np

    from fraud_platform.features.batch import compute_aggregates, compute_features
    from fraud_platform.features.events import read_events
    from fraud_platform.features.fold import NULL
    from fraud_platform.features.sql import aggregate_names, aggregates_sql
    from fraud_platform.warehouse import connect, last_day

    catalog = filled.catalog
    with connect(filled.settings.database) as connection:
        last = last_day(connection, "validated_transactions")
        ((first,),) = connection.execute("SELECT min(day) FROM validated_transactions").fetchall()
        events = read_events(connection, catalog, first, last)
        seconds = [_timed(lambda: compute_features(events, catalog)) for _ in range(4)]
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        connection.register("events", events.to_arrow())
        connection.execute("SET memory_limit = '14GB'")
        sql = f"CREATE TEMP TABLE oracle AS {aggregates_sql(catalog, 'duckdb', 'events')}"
        duckdb_seconds = _timed(lambda: connection.execute(sql))
        names = aggregate_names(catalog)
        ordered = "SELECT o.* FROM oracle o JOIN events e USING (transaction_id) ORDER BY e.event_us, e.transaction_id"
        oracle = connection.sql(ordered).pl()
    for rolling, ours in zip(catalog.all_rollings, compute_aggregates(events, catalog), strict=True):
        theirs = oracle[names[rolling]].fill_null(NULL).to_numpy()
        if not np.array_equal(ours, theirs):
            raise SystemExit(f"{names[rolling]} differs in {int((ours != theirs).sum())} rows.")
    best = min(seconds[1:])
    return {
        "rows": events.height,
        "days": (last - first + timedelta(days=1)).days,
        "features": len(catalog.features),
        "aggregates": len(catalog.all_rollings),
        "seconds": round(best, 2),
        "rows_per_s": round(events.height / best),
        "peak_mb": peak_mb,
        "first_seconds": round(seconds[0], 1),
        "duckdb_seconds": round(duckdb_seconds, 1),
        "ratio_vs_duckdb": round(duckdb_seconds / best, 1),
    }


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
