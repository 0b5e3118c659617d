"""A worker that starts while rules or lists are broken goes on with those that were in force last."""

from pathlib import Path

import pytest

from bentos.fraud_scoring.rules_kept import keep, rules_at_start
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.errors import RulesError
from fraud_platform.settings import Settings
from fraud_platform_tests.bentos.workers import CATALOG, settings_in

RULE = "rules:\n- {name: large, when: amount_cents > 5, action: review, weight: 1, mode: live, owner: o, why: w}\n"
ENTRY = "entries:\n- {list: block, entity: customer_id, value: a, owner: o, why: w, added: 2026-01-01T00:00:00Z}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_in(tmp_path, rules=tmp_path / "rules.yaml")
    settings.home.mkdir()
    settings.rules.write_text(RULE)
    settings.lists.write_text(ENTRY)
    return settings


def test_whole_files_are_taken(settings: Settings) -> None:
    rules, problem = rules_at_start(settings, CATALOG)
    assert ([rule.name for rule in rules.rules], len(rules.lists.entries), problem) == (["large"], 1, None)


@pytest.mark.parametrize("broken", ["rules", "lists"])
def test_broken_ones_leave_the_last_ones_in_force_and_it_is_said(settings: Settings, broken: str) -> None:
    before, _ = rules_at_start(settings, CATALOG)
    getattr(settings, broken).write_text("- no")
    rules, problem = rules_at_start(settings, CATALOG)
    assert rules.digest == before.digest
    assert problem is not None and f"{broken}.yaml" in problem


def test_broken_ones_that_never_were_in_force_are_refused(settings: Settings) -> None:
    settings.rules.write_text("- no")
    with pytest.raises(RulesError, match=r"rules\.yaml"):
        rules_at_start(settings, CATALOG)


def test_a_list_that_was_removed_is_not_kept(settings: Settings) -> None:
    rules_at_start(settings, CATALOG)
    settings.lists.unlink()
    rules_at_start(settings, CATALOG)
    settings.rules.write_text("- no")
    rules, _ = rules_at_start(settings, CATALOG)
    assert rules.lists.entries == ()


def test_files_that_changed_meanwhile_are_not_kept(settings: Settings) -> None:
    before, _ = rules_at_start(settings, CATALOG)
    settings.rules.write_text(RULE.replace("large", "larger"))
    keep(settings, CATALOG, before)
    settings.rules.write_text("- no")
    keep(settings, CATALOG, before)
    rules, _ = rules_at_start(settings, CATALOG)
    assert isinstance(rules, RuleSet) and [rule.name for rule in rules.rules] == ["large"]
