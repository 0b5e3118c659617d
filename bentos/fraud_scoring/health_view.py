"""What the console shows of how the service is doing: its parts, its latency, its outbox and drift.

Latency and counts are read from the text that GET /metrics gives, so that they are those of all workers.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import msgspec
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from bentos.fraud_scoring.console.needs import Health
from fraud_platform.features.stores import Store

ORDER = ("fraud_decision_seconds", "fraud_stage_seconds", "fraud_http_request_seconds")
STAGES = ("read", "features", "model", "rules", "reasons", "commit")
QUANTILES = (0.5, 0.95, 0.99)
DRIFT_FILE = "drift.json"
Labels = tuple[tuple[str, str], ...]


class Latency(msgspec.Struct, frozen=True):
    """A histogram of durations since the workers started. `quantiles` in seconds, None without observations."""

    name: str
    labels: Labels
    count: int
    mean: float | None
    quantiles: tuple[float | None, ...]


class Drift(msgspec.Struct, frozen=True):
    """What the asset `data_drift_report` found last; `drifted` has the PSI of each drifted input, the greatest first.

    `warning` and `critical` are the limits of `share_drifted`; `decided` is False where there were too few rows.
    """

    share_drifted: float
    drifted: tuple[tuple[str, float], ...]
    inputs: int
    score_psi: float | None
    score_drifted: bool
    decided: bool
    psi_limit: float
    warning: float
    critical: float
    first_day: str
    last_day: str
    model_version: str
    written_at: datetime

    @property
    def level(self) -> str:
        """ok, warning or critical."""
        reached = (self.share_drifted >= self.warning) + (self.share_drifted >= self.critical)
        return ("ok", "warning", "critical")[reached]


class HealthView(msgspec.Struct, frozen=True):
    """How the service is doing.

    Attributes:
        latencies: of decisions, their stages and the routes of programs; `pages` those of this console's pages.
        shadow: transactions that a challenger scored in shadow; `shadow_differs` of them otherwise than was decided.
        drift_problem: why there is no `drift`, where a file should have told.
    """

    status: str
    parts: tuple[tuple[str, bool, str], ...]
    latencies: tuple[Latency, ...]
    pages: tuple[Latency, ...]
    actions: Mapping[str, int]
    degraded: int
    shadow: int
    shadow_differs: int
    refusals: Mapping[str, int]
    server_errors: int
    requests: int
    outbox_depth: int
    last_sequence: int
    waiting: int
    drift: Drift | None
    drift_problem: str | None


def health_view(health: Health, store: Store, metrics_text: str, reports: Path) -> HealthView:
    """
    Args:
        metrics_text: in the Prometheus text format, over all workers.
        reports: the folder that the drift report lies in.

    Raises:
        StoreError: if the store cannot be read.
    """
    histograms, counters = read_metrics(metrics_text)
    drift, problem = read_drift(reports / DRIFT_FILE)
    requests = counters.get("fraud_http_requests", {})
    agrees = _by(counters.get("fraud_shadow", {}), "agrees")
    last = store.last_sequence()
    return HealthView(
        status=health.status,
        parts=tuple((part.name, part.ok, part.detail) for part in health.parts),
        latencies=tuple(one for one in histograms if not _is_page(one)),
        pages=tuple(filter(_is_page, histograms)),
        actions=_by(counters.get("fraud_decisions", {}), "action"),
        degraded=int(sum(counters.get("fraud_decisions_degraded", {}).values())),
        shadow=sum(agrees.values()),
        shadow_differs=agrees.get("false", 0),
        refusals=_by(counters.get("fraud_refusals", {}), "code"),
        server_errors=sum(count for status, count in _by(requests, "status").items() if status.startswith("5")),
        requests=int(sum(requests.values())),
        outbox_depth=max(last - store.acknowledged(), 0),
        last_sequence=last,
        waiting=store.waiting(),
        drift=drift,
        drift_problem=problem,
    )


def read_metrics(text: str) -> tuple[list[Latency], dict[str, dict[Labels, float]]]:
    """The histograms `fraud_*_seconds` with observations, and the counters `fraud_*` by name and labels."""
    histograms: list[Latency] = []
    counters: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("fraud_") and family.type == "counter":
            counters[family.name] = {
                tuple(sorted(sample.labels.items())): sample.value
                for sample in family.samples
                if sample.name.endswith("_total")
            }
        elif family.name.startswith("fraud_") and family.name.endswith("_seconds") and family.type == "histogram":
            histograms += _latencies(family)
    return sorted(histograms, key=_place), counters


def _latencies(family: Metric) -> list[Latency]:
    buckets: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    sums: dict[Labels, float] = {}
    for sample in family.samples:
        labels = dict(sample.labels)
        bound = labels.pop("le", None)
        key = tuple(sorted(labels.items()))
        if bound is not None:
            buckets[key].append((float(bound), sample.value))
        elif sample.name.endswith("_sum"):
            sums[key] = sample.value
    found: list[Latency] = []
    for key, cumulative in sorted(buckets.items()):
        cumulative.sort()
        count = int(cumulative[-1][1])
        if count:
            quantiles = tuple(quantile(cumulative, share) for share in QUANTILES)
            found.append(Latency(family.name, key, count, sums.get(key, 0.0) / count, quantiles))
    return found


def _place(latency: Latency) -> tuple[int, int, Labels]:
    """Decisions first, their stages in the order in which they are run through, then routes."""
    stage = dict(latency.labels).get("stage", "")
    name = ORDER.index(latency.name) if latency.name in ORDER else len(ORDER)
    return name, STAGES.index(stage) if stage in STAGES else len(STAGES), latency.labels


def _is_page(latency: Latency) -> bool:
    route = dict(latency.labels).get("route", "")
    return route == "/" or route.startswith("/console")


def quantile(cumulative: list[tuple[float, float]], share: float) -> float | None:
    """The value below which a share of the observations lies, by straight lines within the buckets.

    Args:
        cumulative: (upper bound, observations at or below), rising, the last bound infinite.

    Returns:
        The largest finite bound where the quantile lies above it; None without observations.
    """
    total = cumulative[-1][1] if cumulative else 0
    if not total:
        return None
    wanted = share * total
    for (lower, below), (upper, until) in pairwise([(0.0, 0.0), *cumulative]):
        if until >= wanted:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * ((wanted - below) / (until - below) if until > below else 1.0)
    return cumulative[-1][0]


def read_drift(file: Path) -> tuple[Drift | None, str | None]:
    """What the file says, or why it says nothing."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Drift), None
    except FileNotFoundError:
        return None, None
    except (OSError, msgspec.DecodeError) as error:
        return None, f"{file} cannot be read: {error}. Materialize `data_drift_report` again."


def _by(counter: Mapping[Labels, float], label: str) -> dict[str, int]:
    """The counter summed over all labels but one, the greatest first."""
    sums: dict[str, float] = defaultdict(float)
    for labels, value in counter.items():
        sums[dict(labels).get(label, "")] += value
    return {name: int(value) for name, value in sorted(sums.items(), key=lambda item: (-item[1], item[0])) if value}
