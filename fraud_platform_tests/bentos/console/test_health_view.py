"""Latency, counts and drift, from the texts that hold them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from bentos.fraud_scoring.health_view import Drift, health_view, quantile, read_drift, read_metrics
from fraud_platform_tests.bentos.console.fakes import FakeHealth
from fraud_platform_tests.bentos.console.memory_store import MemoryStore

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.1)


def exposed(*seconds: float) -> str:
    registry = CollectorRegistry()
    stages = Histogram("fraud_stage_seconds", "…", ["stage"], buckets=BUCKETS, registry=registry)
    Histogram("fraud_idle_seconds", "…", buckets=BUCKETS, registry=registry)
    Histogram("others_seconds", "…", registry=registry).observe(1)
    decisions = Counter("fraud_decisions", "…", ["action", "risk_level"], registry=registry)
    requests = Counter("fraud_http_requests", "…", ["route", "status"], registry=registry)
    durations = Histogram("fraud_http_request_seconds", "…", ["route"], buckets=BUCKETS, registry=registry)
    shadow = Counter("fraud_shadow", "…", ["model_version", "agrees"], registry=registry)
    for of in seconds:
        for stage in ("commit", "read"):
            stages.labels(stage).observe(of)
        for route in ("/predict", "/", "/console/queue"):
            durations.labels(route).observe(of)
    for version, agrees, times in (("4", "true", 6), ("4", "false", 2), ("5", "false", 1)):
        shadow.labels(version, agrees).inc(times)
    for action, risk, times in (("approve", "low", 5), ("approve", "medium", 2), ("block", "high", 1)):
        decisions.labels(action, risk).inc(times)
    for route, status, times in (("/predict", "200", 8), ("/predict", "503", 1), ("other", "404", 4)):
        requests.labels(route, status).inc(times)
    return generate_latest(registry).decode()


def test_histograms_with_observations_are_read_with_their_labels() -> None:
    found, _ = read_metrics(exposed(0.0015, 0.0015, 0.004, 0.05))
    assert {one.name for one in found} == {"fraud_stage_seconds", "fraud_http_request_seconds"}
    assert {one.count for one in found} == {4}
    assert found[0].mean == pytest.approx(0.01425)
    assert found[0].quantiles[0] == pytest.approx(0.002)


def test_stages_are_in_the_order_of_a_decision_and_pages_apart() -> None:
    found = health_view(FakeHealth(), MemoryStore(), exposed(0.001), Path("nowhere"))
    assert [one.labels[0][1] for one in found.latencies] == ["read", "commit", "/predict"]
    assert [one.labels[0][1] for one in found.pages] == ["/", "/console/queue"]


def test_what_a_challenger_would_have_decided_otherwise_is_counted() -> None:
    found = health_view(FakeHealth(), MemoryStore(), exposed(0.001), Path("nowhere"))
    assert (found.shadow, found.shadow_differs) == (9, 3)


def test_counters_are_summed_by_one_label() -> None:
    found = health_view(FakeHealth(), MemoryStore(), exposed(0.001), Path("nowhere"))
    assert found.actions == {"approve": 7, "block": 1}
    assert (found.requests, found.server_errors, found.refusals) == (13, 1, {})


def test_without_metrics_there_is_nothing_and_no_error() -> None:
    found = health_view(FakeHealth(), MemoryStore(), "", Path("nowhere"))
    assert (found.latencies, found.actions, found.drift, found.drift_problem) == ((), {}, None, None)


@given(st.lists(st.floats(0.0001, 0.0999), min_size=1, max_size=200), st.sampled_from((0.5, 0.95, 0.99)))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(seconds: list[float], share: float) -> None:
    cumulative = [(bound, float(sum(of <= bound for of in seconds))) for bound in (*BUCKETS, float("inf"))]
    found = quantile(cumulative, share)
    exact = float(np.quantile(seconds, share, method="inverted_cdf"))
    upper = next(bound for bound in BUCKETS if exact <= bound)
    lower = max((bound for bound in BUCKETS if bound < exact), default=0.0)
    assert found is not None and lower <= found <= upper


def test_a_quantile_above_all_buckets_is_the_largest_bound() -> None:
    assert quantile([(0.1, 0.0), (float("inf"), 3.0)], 0.5) == 0.1
    assert quantile([(0.1, 0.0), (float("inf"), 0.0)], 0.5) is None
    assert quantile([], 0.5) is None


@pytest.mark.parametrize(("share", "level"), [(0.1, "ok"), (0.15, "warning"), (0.19, "warning"), (0.2, "critical")])
def test_drift_has_a_level(tmp_path: Path, share: float, level: str) -> None:
    file = tmp_path / "drift.json"
    file.write_text(
        f'{{"share_drifted": {share}, "drifted": [["amount", 0.4]], "inputs": 83, "score_psi": null,'
        '"score_drifted": false, "decided": true, "psi_limit": 0.1, "warning": 0.15, "critical": 0.2,'
        '"first_day": "2026-01-01", "last_day": "2026-01-07", "model_version": "3",'
        '"written_at": "2026-01-08T00:00:00Z"}'
    )
    found, problem = read_drift(file)
    assert isinstance(found, Drift) and problem is None
    assert (found.level, found.drifted) == (level, (("amount", 0.4),))
