"""What the service counts, and `GET /metrics` over all of its workers.

BentoML's own request metrics are switched off in `service`: they keep a series for every path that
anybody asks for, so that a scan of unknown paths would fill the disk and slow each scrape.
"""

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

DECISIONS = Counter("fraud_decisions", "Decisions answered.", ["action", "risk_level"])
REFUSALS = Counter("fraud_refusals", "Requests and batch items refused.", ["code"])
REQUESTS = Counter("fraud_http_requests", "HTTP requests answered; unknown paths are `other`.", ["route", "status"])
DECISION_SECONDS = Histogram(
    "fraud_decision_seconds",
    "From the body of one transaction to the committed decision.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
REQUEST_SECONDS = Histogram(
    "fraud_http_request_seconds",
    "From the head of a request to its answer.",
    ["route"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)


def render() -> tuple[bytes, str]:
    """The sums over all workers in the Prometheus text format, and its media type.

    BentoML gives its workers a common folder in PROMETHEUS_MULTIPROC_DIR; without one this process
    is the only one.
    """
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST
