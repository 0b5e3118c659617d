"""A hundred million simulated payments through the batch engine in one process.

    python benchmarks/scale.py [--rows 100000000] [--days 365] [--folder PATH]

A first process simulates the payments with the labels that were reported, day by day, into a warehouse's
validated tables. Then this one writes the feature table of all days. Prints one JSON line: {"rows", "days",
"features", "aggregates", "fill_seconds", "seconds", "rows_per_s", "peak_mb"}; `peak_mb` is the largest resident
set of the process that computes, DuckDB and imports included. Needs some 40 GB of disk for the default size.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

FIRST = date(2025, 1, 1)
DUCKDB_MEMORY = "3GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--folder", type=Path, help="where to work; default: the folder of temporary files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-", dir=arguments.folder) as folder:
        started = time.perf_counter()
        filling = multiprocessing.get_context("spawn").Process(
            target=fill, args=(Path(folder), arguments.rows, arguments.days)
        )
        filling.start()
        filling.join()
        if filling.exitcode:
            raise SystemExit(f"The simulation failed (exit {filling.exitcode}).")
        filled = time.perf_counter() - started
        print(json.dumps({"fill_seconds": round(filled), **measure(Path(folder), arguments.days)}))


def fill(folder: Path, rows: int, days: int) -> None:
    """Simulate the days into `validated_transactions` and `validated_labels`."""
    import polars as pl

    from fraud_platform.transactions.simulator import SimulatorConfig, simulate_day
    from fraud_platform.warehouse import connect

    per_day = rows // days
    config = SimulatorConfig(
        first_day=FIRST, customers=per_day, merchants=max(per_day // 10, 100), transactions_per_day=per_day
    )
    with connect(folder / "fraud.duckdb") as connection:
        connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'")
        for number in range(days):
            day = simulate_day(config, FIRST + timedelta(days=number)).with_columns(
                day=pl.col("event_time").dt.date(), event_us=pl.col("event_time").dt.epoch("us")
            )
            labels = day.filter(pl.col("reported_at").is_not_null()).select(
                "transaction_id", "day", "is_fraud", "reported_at"
            )
            for table, frame in (
                ("validated_transactions", day.drop("is_fraud", "fraud_type", "reported_at")),
                ("validated_labels", labels),
            ):
                connection.register("frame", frame.to_arrow())
                new = "INSERT INTO {0} SELECT * FROM frame" if number else "CREATE TABLE {0} AS SELECT * FROM frame"
                connection.execute(new.format(table))
                connection.unregister("frame")


def measure(folder: Path, days: int) -> dict[str, object]:
    from fraud_platform.features.expressions import DAY
    from fraud_platform.features.selection import build_catalog
    from fraud_platform.features.table import materialize_features
    from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
    from fraud_platform.warehouse import connect

    catalog = build_catalog(TRANSACTION_COLUMNS, [], 7 * DAY)
    started = time.perf_counter()
    with connect(folder / "fraud.duckdb") as connection:
        connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'")
        last = FIRST + timedelta(days=days - 1)
        written = materialize_features(connection, catalog, folder / "features", FIRST, last)
    seconds = time.perf_counter() - started
    rows = sum(written.values())
    return {
        "rows": rows,
        "days": len(written),
        "features": len(catalog.features),
        "aggregates": len(catalog.all_rollings),
        "seconds": round(seconds),
        "rows_per_s": round(rows / seconds),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
