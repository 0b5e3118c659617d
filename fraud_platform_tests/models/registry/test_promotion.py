from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from fraud_platform.errors import RegistryError
from fraud_platform.models import registry
from fraud_platform.models.registry import Promotion
from fraud_platform_tests.models.registry.conftest import Versions

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WRITES = ("set_registered_model_alias", "delete_registered_model_alias", "set_model_version_tag")


class Operator:
    """One who promotes and rolls back, a minute apart."""

    def __init__(self, uri: str, client: Any, name: str) -> None:
        self.uri, self.client, self.name = uri, client, name
        self._minutes = count()

    def _said(self, why: str) -> dict[str, Any]:
        return {"why": why, "by": "risk", "at": NOW + timedelta(minutes=next(self._minutes))}

    def promote(self, version: int, why: str = "better", verdict: dict[str, Any] | None = None) -> Promotion:
        return registry.promote(self.uri, self.name, version, verdict=verdict, **self._said(why))

    def rollback(self, why: str = "worse") -> Promotion:
        return registry.rollback(self.uri, self.name, **self._said(why))

    @property
    def aliases(self) -> dict[str, int]:
        (model,) = self.client.search_registered_models(f"name = '{self.name}'")
        return {alias: int(version) for alias, version in model.aliases.items()}

    @property
    def events(self) -> list[tuple[str, int | None, int]]:
        found = registry.history(self.uri, self.name)
        return [(entry.event, entry.from_version, entry.to_version) for entry in found]


@pytest.fixture
def operator(uri: str, mlflow_client: Any, model: Versions) -> Operator:
    """Of a model with four versions, none of which serves."""
    return Operator(uri, mlflow_client, model(4))


def test_the_first_promotion_makes_a_champion_and_no_previous(operator: Operator):
    done = operator.promote(1)
    assert operator.aliases == {"champion": 1}
    assert (done.event, done.champion, done.before, done.previous) == ("promoted", 1, None, None)


def test_a_promotion_keeps_the_champion_of_before(operator: Operator):
    operator.promote(1)
    done = operator.promote(2)
    assert operator.aliases == {"champion": 2, "previous": 1}
    assert (done.event, done.champion, done.before, done.previous) == ("promoted", 2, 1, 1)
    assert done.sentence == (
        f"Version 2 of {operator.name} is the champion, in place of version 1. A rollback would go to version 1."
    )


def test_promoting_the_champion_changes_nothing_and_says_so(operator: Operator):
    operator.promote(1)
    operator.promote(2)
    done = operator.promote(2)
    assert (done.event, done.previous) == ("unchanged", 1)
    assert done.sentence.endswith("is the champion already; nothing was changed.")
    assert operator.aliases == {"champion": 2, "previous": 1}
    assert operator.events == [("promoted", None, 1), ("promoted", 1, 2)]


def test_the_challenger_stays_where_it_is(operator: Operator):
    registry.nominate(operator.uri, operator.name, 2)
    operator.promote(2)
    assert operator.aliases == {"champion": 2, "challenger": 2}


def test_a_rollback_puts_the_previous_model_back(operator: Operator):
    for version in (1, 2, 3):
        operator.promote(version)
    done = operator.rollback()
    assert operator.aliases == {"champion": 2, "previous": 1}
    assert (done.event, done.champion, done.before, done.previous) == ("rolled_back", 2, 3, 1)


def test_rollbacks_go_further_back_and_end(operator: Operator):
    for version in (1, 2, 3):
        operator.promote(version)
    operator.rollback()
    assert operator.rollback().sentence.endswith("in place of version 2. There is nothing to go back to.")
    assert operator.aliases == {"champion": 1}
    with pytest.raises(RegistryError, match=r"nothing to roll .* back to.*version 1 is the champion"):
        operator.rollback()
    assert operator.aliases == {"champion": 1}


def test_a_model_that_was_rolled_back_from_comes_back_only_when_promoted(operator: Operator):
    operator.promote(1)
    operator.promote(2)
    operator.rollback()
    with pytest.raises(RegistryError, match="nothing to roll"):
        operator.rollback()
    operator.promote(3)
    assert operator.aliases == {"champion": 3, "previous": 1}
    operator.promote(2)
    assert operator.aliases == {"champion": 2, "previous": 3}


def test_a_rollback_before_any_promotion_is_refused(operator: Operator):
    with pytest.raises(RegistryError, match="it has no champion"):
        operator.rollback()
    assert (operator.aliases, operator.events) == ({}, [])


def test_what_a_rollback_would_do_can_be_asked(operator: Operator):
    operator.promote(1)
    operator.promote(2)
    assert registry.rollback_target(operator.uri, operator.name).version == 1
    assert operator.aliases == {"champion": 2, "previous": 1}


def test_a_version_that_does_not_exist_is_refused(operator: Operator):
    operator.promote(1)
    with pytest.raises(RegistryError, match=r"has no version 99 in MLflow at .* It has: 4, 3, 2, 1\."):
        operator.promote(99)
    with pytest.raises(RegistryError, match="has no version 99"):
        registry.refuse(operator.uri, operator.name, 99, why="", by="", at=NOW)
    assert operator.aliases == {"champion": 1}


def test_the_history_says_who_did_what_when_and_why(operator: Operator):
    operator.promote(1, "the first")
    verdict = {"passed": False, "criteria": {"money": {"gain": -3, "needed": 0}}}
    registry.refuse(operator.uri, operator.name, 2, why="costs more", by="gate", at=NOW, verdict=verdict)
    operator.promote(3, "saves 3 %", {"passed": True})
    operator.rollback("alarms doubled")
    first, refused, promoted, rolled_back = registry.history(operator.uri, operator.name)
    assert (first.why, first.by, first.at, first.verdict) == ("the first", "risk", NOW, None)
    assert (refused.event, refused.from_version, refused.to_version) == ("refused", 1, 2)
    assert (refused.why, refused.by, refused.verdict) == ("costs more", "gate", verdict)
    assert (promoted.why, promoted.verdict) == ("saves 3 %", {"passed": True})
    assert (rolled_back.event, rolled_back.from_version, rolled_back.to_version) == ("rolled_back", 3, 1)
    assert rolled_back.why == "alarms doubled"


def test_a_refusal_moves_no_alias(operator: Operator):
    operator.promote(1)
    registry.refuse(operator.uri, operator.name, 2, why="costs more", by="gate", at=NOW)
    assert operator.aliases == {"champion": 1}


def test_a_verdict_that_does_not_fit_is_refused_before_anything_moves(operator: Operator):
    operator.promote(1)
    with pytest.raises(RegistryError, match="verdict on version 2"):
        operator.promote(2, verdict={"long": "x" * 70_000})
    assert operator.aliases == {"champion": 1}


def test_a_champion_set_by_hand_enters_the_history(operator: Operator):
    operator.promote(1)
    operator.client.set_registered_model_alias(operator.name, "champion", "2")
    operator.promote(3)
    assert operator.aliases == {"champion": 3, "previous": 2}
    assert operator.events == [("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 3)]
    by_hand = registry.history(operator.uri, operator.name)[1]
    assert (by_hand.by, by_hand.why.split(":")[0]) == ("unknown", "Moved without a record")


def test_a_previous_set_by_hand_is_what_a_rollback_goes_to(operator: Operator):
    operator.promote(1)
    operator.promote(2)
    operator.client.set_registered_model_alias(operator.name, "previous", "4")
    assert operator.rollback().champion == 4
    assert operator.aliases == {"champion": 4}


def test_a_deleted_version_is_stepped_over(operator: Operator):
    for version in (1, 2, 3, 4):
        operator.promote(version)
    operator.client.delete_model_version(operator.name, "2")
    operator.rollback()
    assert operator.aliases == {"champion": 3, "previous": 1}
    assert operator.rollback().champion == 1


def test_a_deleted_champion_can_be_replaced(operator: Operator):
    operator.promote(1)
    operator.promote(2)
    operator.client.delete_model_version(operator.name, "2")
    assert operator.aliases == {"previous": 1}
    operator.promote(3)
    assert operator.aliases["champion"] == 3


class Crash(Exception):
    pass


@pytest.fixture
def crashing(mlflow_client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Makes MLflow's client do so many writes more, and then raise after the next one."""
    client_class = type(mlflow_client)

    def arm(calls: int) -> None:
        left = count(calls, -1)

        def wrapped(original: Any) -> Any:
            def call(*args: Any) -> None:
                original(*args)
                if next(left) == 0:
                    raise Crash

            return call

        for name in WRITES:
            monkeypatch.setattr(client_class, name, wrapped(getattr(client_class, name)))

    yield arm
    monkeypatch.undo()


def interrupted(
    act: Callable[[], object], crashing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, after: int
) -> bool:
    """Whether the act ended by itself, with a crash armed after so many writes."""
    crashing(after)
    try:
        act()
    except Crash:
        return False
    finally:
        monkeypatch.undo()
    return True


@pytest.mark.parametrize("after", range(4))
def test_an_interrupted_promotion_leaves_a_champion_and_is_completed_by_the_same_call(
    operator: Operator, crashing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, after: int
):
    operator.promote(1)
    operator.promote(2)
    ended = interrupted(lambda: operator.promote(3, "third"), crashing, monkeypatch, after)
    assert ended == (after == 3)
    assert operator.aliases["champion"] in (2, 3)
    operator.promote(3, "third")
    assert operator.aliases == {"champion": 3, "previous": 2}
    assert operator.events == [("promoted", None, 1), ("promoted", 1, 2), ("promoted", 2, 3)]
    assert registry.history(operator.uri, operator.name)[-1].why == "third"


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("promoted", [(1, 2), (1, 2, 3)])
def test_an_interrupted_rollback_leaves_a_champion_and_is_completed_by_the_same_call(
    operator: Operator,
    crashing: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    promoted: tuple[int, ...],
):
    for version in promoted:
        operator.promote(version)
    *_, target, bad = promoted
    ended = interrupted(lambda: operator.rollback("bad"), crashing, monkeypatch, after)
    assert ended == (after == 3)
    assert operator.aliases["champion"] == target
    if after < 2:  # the last call was not made: the same again, and it is told from a second rollback
        assert registry.rollback_target(operator.uri, operator.name).version == target
        done = operator.rollback("bad")
        assert (done.event, done.champion, done.before) == ("rolled_back", target, bad)
    assert operator.aliases == {"champion": target} | ({"previous": 1} if target == 2 else {})
    assert operator.events[len(promoted) :] == [("rolled_back", bad, target)]
    assert registry.history(operator.uri, operator.name)[-1].why == "bad"


@pytest.mark.parametrize("after", range(3))
def test_a_promotion_after_an_interrupted_rollback_finds_everything_in_order(
    operator: Operator, crashing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, after: int
):
    operator.promote(1)
    operator.promote(2)
    interrupted(operator.rollback, crashing, monkeypatch, after)
    operator.promote(3)
    assert operator.aliases == {"champion": 3, "previous": 1}
    assert operator.events[2:] == [("rolled_back", 2, 1), ("promoted", 1, 3)]


@pytest.mark.parametrize("after", range(3))
def test_a_rollback_after_an_interrupted_promotion_never_leads_to_the_version_that_it_was_for(
    operator: Operator, crashing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, after: int
):
    operator.promote(1)
    operator.promote(2)
    interrupted(lambda: operator.promote(3), crashing, monkeypatch, after)
    serving = operator.aliases["champion"]
    assert operator.rollback().champion == serving - 1
    assert operator.aliases["champion"] == serving - 1


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("second", range(4))
def test_a_repeated_call_that_is_interrupted_too_is_completed_by_the_next(
    operator: Operator, crashing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, first: int, second: int
):
    for version in (1, 2):
        operator.promote(version)
    interrupted(lambda: operator.promote(3), crashing, monkeypatch, first)
    interrupted(lambda: operator.promote(3), crashing, monkeypatch, second)
    operator.promote(3)
    assert operator.aliases == {"champion": 3, "previous": 2}
    assert operator.events[-1] == ("promoted", 2, 3)
    assert len(operator.events) == 3
