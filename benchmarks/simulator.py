"""Time and peak memory of simulating about N transactions: `python benchmarks/simulator.py --rows 1000000`.

The number of days is fixed, and the population and the daily transactions grow with the rows. Days are
written nowhere and dropped at once, as the raw asset does after writing each. Prints one JSON line.
"""

import argparse
import json
import resource
import time
from datetime import timedelta

from fraud_platform.transactions.simulator import SimulatorConfig, simulate_day


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="transactions, about (default: 1000000)")
    parser.add_argument("--days", type=int, default=60, help="days that they are spread over (default: 60)")
    arguments = parser.parse_args()
    per_day = arguments.rows / arguments.days
    config = SimulatorConfig(
        transactions_per_day=per_day, customers=max(50, int(per_day * 0.8)), merchants=max(50, int(per_day * 0.4))
    )
    started = time.perf_counter()
    rows = sum(len(simulate_day(config, config.first_day + timedelta(days=day))) for day in range(arguments.days))
    seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    print(json.dumps({"rows": rows, "seconds": round(seconds, 2), "peak_mb": round(peak_mb)}))


if __name__ == "__main__":
    main()
