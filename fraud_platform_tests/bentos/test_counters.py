"""The shared counters against a dictionary, and from several processes at once."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from limits import RateLimitItemPerSecond
from limits.strategies import FixedWindowRateLimiter

from bentos.fraud_scoring import counters as module
from bentos.fraud_scoring.counters import PROBES, SLOTS, SharedCounters
from fraud_platform.errors import AccessError

NOW = 1_780_000_000.0


class Naive:
    """The same in a dictionary."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, float]] = {}

    def incr(self, key: str, expiry: float, amount: int, now: float) -> int:
        count, end = self.counts.get(key, (0, 0.0))
        count, end = (count, end) if now < end <= now + expiry else (0, now + expiry)
        self.counts[key] = count + amount, end
        return count + amount

    def get(self, key: str, now: float) -> int:
        count, end = self.counts.get(key, (0, 0.0))
        return count if now < end else 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [NOW]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    return now


@pytest.fixture
def counters(tmp_path: Path) -> SharedCounters:
    return SharedCounters(tmp_path / "guard" / "requests")


STEPS = st.tuples(st.sampled_from(["a", "b", "ä", ""]), st.floats(0, 3), st.integers(0, 100), st.sampled_from([1, 60]))


@given(st.lists(STEPS, max_size=30))
def test_they_count_as_a_dictionary_does(tmp_path_factory: pytest.TempPathFactory, steps: list[Any]) -> None:
    counters, naive, now = SharedCounters(tmp_path_factory.mktemp("c") / "c"), Naive(), NOW
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, "time", lambda: now)
        for key, pause, amount, expiry in steps:
            now += pause
            assert counters.incr(key, expiry, amount) == naive.incr(key, expiry, amount, now)
            assert [counters.get(name) for name in ("a", "b", "ä", "")] == [
                naive.get(name, now) for name in ("a", "b", "ä", "")
            ]


def test_a_counter_ends_and_starts_anew(counters: SharedCounters, clock: list[float]) -> None:
    counters.incr("a", 60)
    clock[0] += 59
    assert (counters.incr("a", 60), counters.get_expiry("a")) == (2, NOW + 60)
    clock[0] += 1.5
    assert (counters.get("a"), counters.get_expiry("a")) == (0, clock[0])
    assert counters.incr("a", 60) == 1


def test_a_clock_that_was_put_back_does_not_freeze_a_counter(counters: SharedCounters, clock: list[float]) -> None:
    counters.incr("a", 1, 1000)
    clock[0] -= 3600
    assert counters.incr("a", 1) == 1


def test_a_full_table_gives_up_the_counter_that_ends_first(
    counters: SharedCounters, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_digest", lambda key: int(key) * SLOTS + 7)
    for number in range(1, PROBES + 1):
        counters.incr(str(number), 100 - number)
    counters.incr(str(PROBES + 1), 60)
    assert [counters.get(str(number)) for number in range(1, PROBES + 2)] == [1] * (PROBES - 1) + [0, 1]


def test_counters_outlive_the_process(counters: SharedCounters, tmp_path: Path) -> None:
    counters.incr("a", 60, 5)
    assert SharedCounters(tmp_path / "guard" / "requests").get("a") == 5


def test_clear_drops_one_and_reset_all(counters: SharedCounters) -> None:
    for key in "abc":
        counters.incr(key, 60)
    counters.clear("a")
    counters.clear("never counted")
    assert [counters.get(key) for key in "abc"] == [0, 1, 1]
    counters.reset()
    assert [counters.get(key) for key in "abc"] == [0, 0, 0]


@given(st.binary(min_size=1, max_size=24), st.integers(0, SLOTS * 24))
@example(b"\xff", SLOTS * 24)  # every end is NaN
def test_a_damaged_file_counts_on(tmp_path_factory: pytest.TempPathFactory, pattern: bytes, size: int) -> None:
    path = tmp_path_factory.mktemp("c") / "c"
    path.write_bytes((pattern * size)[:size])
    counters = SharedCounters(path)
    assert (counters.incr("a", 60), counters.incr("a", 60)) == (1, 2)


def test_they_serve_the_library(counters: SharedCounters, clock: list[float]) -> None:
    limiter, limit = FixedWindowRateLimiter(counters), RateLimitItemPerSecond(3)
    assert [limiter.hit(limit, "a") for _ in range(4)] == [True, True, True, False]
    assert limiter.get_window_stats(limit, "a").reset_time == NOW + 1
    assert counters.check()


def test_where_the_file_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError, match="give the service's user access"):
        SharedCounters(tmp_path / "file" / "requests")


def count(path: Path, times: int) -> None:
    counters = SharedCounters(path)
    for number in range(times):
        counters.incr("shared", 3600)
        counters.incr(f"other {number}", 3600)


def test_processes_that_count_at_once_lose_nothing(tmp_path: Path) -> None:
    path, spawn = tmp_path / "c", multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=count, args=(path, 500)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert SharedCounters(path).get("shared") == 1500
