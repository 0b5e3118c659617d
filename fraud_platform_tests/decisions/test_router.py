"""Which model decides: champion, challenger, fallback, or none."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.decisions.router import SLOW_IN_A_ROW, Candidate, Guard, Router, in_experiment
from fraud_platform.models.costs import CostMatrix, Thresholds

CARD: Any = SimpleNamespace(
    catalog=SimpleNamespace(fingerprint="f"), thresholds=Thresholds(0.5, 0.9), costs=CostMatrix()
)
ROWS = np.zeros((3, 2), np.float32)
CUSTOMERS = ["ann", "bob", "cy"]


@dataclass
class Stub:
    """Gives one probability to all, unless it is broken; its time passes on a clock of the test."""

    gives: float
    card: Any = field(default_factory=lambda: CARD)
    breaks: Exception | None = None
    takes: float = 0.0
    clock: "Clock | None" = None
    calls: int = field(default=0)

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.clock:
            self.clock.now += self.takes
        if self.breaks:
            raise self.breaks
        return np.full(len(matrix), self.gives)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def candidate(version: str, stub: Stub, **guard: Any) -> Candidate:
    return Candidate(version, stub, guard=Guard(**guard))


def test_the_champion_decides() -> None:
    found = Router(candidate("1", Stub(0.25))).route(ROWS, CUSTOMERS)
    assert [(one.served_by, one.probability, one.degraded) for one in found] == [("champion", 0.25, False)] * 3


def test_a_champion_that_fails_leaves_the_fallback_to_decide_and_says_so() -> None:
    router = Router(candidate("2", Stub(0.1, breaks=ValueError("no"))), fallback=candidate("1", Stub(0.7)))
    found = router.route(ROWS, CUSTOMERS)
    assert [(one.served_by, one.probability, one.degraded) for one in found] == [("fallback", 0.7, True)] * 3


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf")])
def test_a_probability_that_is_no_number_is_a_failure(nonsense: float) -> None:
    found = Router(candidate("2", Stub(nonsense)), fallback=candidate("1", Stub(0.7))).route(ROWS, CUSTOMERS)
    assert {one.served_by for one in found} == {"fallback"}


def test_without_any_model_there_is_no_probability() -> None:
    broken = candidate("2", Stub(0.1, breaks=ValueError("no")))
    for router in (Router(None), Router(broken), Router(broken, fallback=candidate("1", Stub(0, breaks=OSError())))):
        found = router.route(ROWS, CUSTOMERS)
        assert [(one.served_by, one.candidate, one.probability, one.degraded) for one in found] == [
            ("rules", None, None, True)
        ] * 3


def test_a_model_that_failed_is_left_alone_for_a_while_and_then_tried_again() -> None:
    clock = Clock()
    stub = Stub(0.1, breaks=ValueError("no"))
    router = Router(candidate("2", stub, rest_seconds=30, clock=clock), fallback=candidate("1", Stub(0.7)))
    for moment in (0, 10, 29.9):
        clock.now = moment
        assert router.route(ROWS, CUSTOMERS)[0].served_by == "fallback"
    assert stub.calls == 1
    stub.breaks, clock.now = None, 30.0
    assert router.route(ROWS, CUSTOMERS)[0].served_by == "champion"


def test_a_model_that_is_too_slow_several_times_in_a_row_is_left_alone() -> None:
    clock = Clock()
    stub = Stub(0.1, takes=0.4, clock=clock)  # for three transactions: 0.13 s each
    router = Router(candidate("2", stub, seconds=0.1, clock=clock), fallback=candidate("1", Stub(0.7)))
    served = [router.route(ROWS, CUSTOMERS)[0].served_by for _ in range(SLOW_IN_A_ROW + 1)]
    assert served == ["champion"] * SLOW_IN_A_ROW + ["fallback"]


def test_one_slow_answer_among_fast_ones_changes_nothing() -> None:
    clock = Clock()
    stub = Stub(0.1, clock=clock)
    router = Router(candidate("2", stub, seconds=0.1, clock=clock))
    for number in range(20):
        stub.takes = 9.0 if number % SLOW_IN_A_ROW else 0.0
        assert router.route(ROWS, CUSTOMERS)[0].served_by == "champion"


def test_a_challenger_in_shadow_scores_and_never_answers() -> None:
    router = Router(candidate("1", Stub(0.2)), candidate("2", Stub(0.95)), "shadow")
    for one in router.route(ROWS, CUSTOMERS):
        assert (one.served_by, one.probability) == ("champion", 0.2)
        assert one.shadow is not None
        assert (one.shadow.model_version, one.shadow.fraud_probability, one.shadow.action) == ("2", 0.95, "block")


def test_a_challenger_in_shadow_that_fails_changes_nothing() -> None:
    router = Router(candidate("1", Stub(0.2)), candidate("2", Stub(0, breaks=ValueError())), "shadow")
    assert [(one.probability, one.shadow, one.degraded) for one in router.route(ROWS, CUSTOMERS)] == [
        (0.2, None, False)
    ] * 3


def test_in_an_experiment_a_customer_always_meets_the_same_model() -> None:
    router = Router(candidate("1", Stub(0.2)), candidate("2", Stub(0.6)), "ab", 50)
    customers = [f"C{number}" for number in range(200)]
    rows = np.zeros((200, 2), np.float32)
    first, second = router.route(rows, customers), router.route(rows[::-1], customers[::-1])[::-1]
    assert [one.served_by for one in first] == [one.served_by for one in second]
    for customer, one in zip(customers, first, strict=True):
        by = "challenger" if in_experiment(customer, 50) else "champion"
        assert (one.served_by, one.probability, one.degraded) == (by, 0.6 if by == "challenger" else 0.2, False)


def test_a_challenger_that_fails_for_its_customers_leaves_the_champion_to_decide() -> None:
    router = Router(candidate("1", Stub(0.2)), candidate("2", Stub(0, breaks=ValueError())), "ab", 100)
    assert [(one.served_by, one.degraded) for one in router.route(ROWS, CUSTOMERS)] == [("champion", True)] * 3


@given(st.floats(0, 100))
def test_an_experiment_has_about_its_share_of_customers(percent: float) -> None:
    share = np.mean([in_experiment(f"C{number}", percent) for number in range(2_000)])
    assert abs(share - percent / 100) < 0.06  # five standard deviations at a half


@given(st.text(max_size=20), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_share_keeps_the_customers_of_a_smaller_one(customer: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert in_experiment(customer, high) or not in_experiment(customer, low)


def test_no_rows_ask_no_model() -> None:
    stub = Stub(0.1)
    assert Router(candidate("1", stub), candidate("2", stub), "shadow").route(ROWS[:0], []) == []
    assert stub.calls == 0
