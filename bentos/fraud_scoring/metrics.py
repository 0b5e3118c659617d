"""What the service counts, and `GET /metrics` over all of its workers.

BentoML's own request metrics are switched off in `service`: they keep a series for every path that
anybody asks for, so that a scan of unknown paths would fill the disk and slow each scrape.
"""

import os
from pathlib import Path

import psutil
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from fraud_platform.decisions.journal import Decided
from fraud_platform.decisions.router import Router

SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

DECISIONS = Counter("fraud_decisions", "Transactions decided on.", ["action", "risk_level"])
SERVED_BY = Counter(
    "fraud_decisions_served_by", "Decisions by what decided: champion, challenger, fallback, rules.", ["served_by"]
)
DEGRADED = Counter("fraud_decisions_degraded", "Decisions that the model that should have decided did not make.")
REPEATED = Counter("fraud_decisions_repeated", "Requests answered with the decision of an earlier request.")
LATE = Counter("fraud_decisions_late", "Decisions on a transaction older than what its keys had seen.")
PROBABILITY = Histogram(
    "fraud_probability",
    "Fraud probabilities answered.",
    ["model_version"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
RULE_HITS = Counter("fraud_rule_hits", "Transactions that a rule or a list matched.", ["rule", "mode"])
SHADOW = Counter("fraud_shadow", "Transactions that a challenger scored in shadow.", ["model_version", "agrees"])
SHADOW_DIFFERENCE = Histogram(
    "fraud_shadow_difference",
    "How far the challenger's probability in shadow is from the one answered.",
    ["model_version"],
    buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
LABELS = Counter("fraud_labels", "Labels reported.", ["source", "is_fraud", "news"])
REFUSALS = Counter("fraud_refusals", "Requests and batch items refused.", ["code"])
REQUESTS = Counter("fraud_http_requests", "HTTP requests answered; unknown paths are `other`.", ["route", "status"])
STAGE_SECONDS = Histogram(
    "fraud_stage_seconds",
    "A stage of deciding on what was gathered: read, features, model, rules and reasons, commit.",
    ["stage"],
    buckets=SECONDS,
)
DECISION_SECONDS = Histogram(
    "fraud_decision_seconds", "From a transaction that was sent alone to the committed decision.", buckets=SECONDS
)
REQUEST_SECONDS = Histogram(
    "fraud_http_request_seconds", "From the head of a request to its answer.", ["route"], buckets=(*SECONDS, 10.0, 30.0)
)
MODELS = Gauge(
    "fraud_model_workers", "Workers that have a model loaded.", ["role", "model_version"], multiprocess_mode="livesum"
)
MODEL_LOADED = Gauge(
    "fraud_model_loaded_timestamp_seconds", "When the champion was loaded.", multiprocess_mode="livemostrecent"
)
MODEL_TRAINED = Gauge(
    "fraud_model_data_until_timestamp_seconds",
    "The end of the period that the champion learnt from.",
    multiprocess_mode="livemostrecent",
)
BROKEN = Gauge(
    "fraud_configuration_broken",
    "Workers that go on with what they had, because models, rules or keys as they are now cannot be used.",
    ["what"],
    multiprocess_mode="livesum",
)
OUTBOX = Gauge("fraud_outbox_entries", "Entries that the warehouse does not have yet.", multiprocess_mode="mostrecent")
QUEUE = Gauge("fraud_review_queue", "Decisions that wait for a review.", multiprocess_mode="mostrecent")

_stages = {
    stage: STAGE_SECONDS.labels(stage).observe for stage in ("read", "features", "model", "rules and reasons", "commit")
}
_shown: set[tuple[str, str]] = set()


def observe_stage(stage: str, seconds: float) -> None:
    """The scorer's observer."""
    _stages[stage](seconds)


def count_decision(decided: Decided, new: bool) -> None:
    """One transaction answered."""
    decision = decided.decision
    if not new:
        REPEATED.inc()
        return
    DECISIONS.labels(decision.action, decision.risk_level).inc()
    SERVED_BY.labels(decided.served_by).inc()
    if decision.degraded:
        DEGRADED.inc()
    if decision.late:
        LATE.inc()
    if decision.fraud_probability is not None:
        PROBABILITY.labels(decision.model_version).observe(decision.fraud_probability)
    for name in decision.matched_rules:
        RULE_HITS.labels(name, "live").inc()
    for name in decided.shadow_rules:
        RULE_HITS.labels(name, "shadow").inc()
    if decided.shadow is not None:
        version, agrees = decided.shadow.model_version, decided.shadow.action == decision.action
        SHADOW.labels(version, str(agrees).lower()).inc()
        if decision.fraud_probability is not None:
            difference = abs(decided.shadow.fraud_probability - decision.fraud_probability)
            SHADOW_DIFFERENCE.labels(version).observe(difference)


def show_models(router: Router) -> None:
    """What this worker has loaded now."""
    roles = {"champion": router.champion, "challenger": router.challenger, "fallback": router.fallback}
    now = {(role, candidate.version) for role, candidate in roles.items() if candidate is not None}
    for gone in _shown - now:
        MODELS.labels(*gone).set(0)
    for present in now:
        MODELS.labels(*present).set(1)
    if router.champion is not None and ("champion", router.champion.version) not in _shown:
        MODEL_LOADED.set_to_current_time()
        MODEL_TRAINED.set(router.champion.learnt_until)
    _shown.clear()
    _shown.update(now)


def render() -> tuple[bytes, str]:
    """The sums over all workers in the Prometheus text format, and its media type.

    BentoML gives its workers a common folder in PROMETHEUS_MULTIPROC_DIR; without one this process
    is the only one.
    """
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _forget_the_dead(folder: Path) -> None:
    """A worker that was killed no longer has anything loaded; what it counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        if not psutil.pid_exists(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)
