"""What the console shows of rules and lists, with what each would have done on history."""

from datetime import UTC, datetime

import msgspec

from fraud_platform.decisions.backtest_report import BacktestReport, RuleResult
from fraud_platform.decisions.lists import ListEntry
from fraud_platform.decisions.rules import Rule
from fraud_platform.decisions.ruleset import RuleSet

SHOWN = 200
"""Entries of the lists that a page shows, at most."""


class RuleRow(msgspec.Struct, frozen=True):
    """A rule. `inactive` says why it can never match here; `backtest` is None where it was not run on this rule."""

    rule: Rule
    state: str
    inactive: str | None
    backtest: RuleResult | None


class EntryRow(msgspec.Struct, frozen=True):
    """An entry of a list, and whether its time is over."""

    entry: ListEntry
    expired: bool


class Rulebook(msgspec.Struct, frozen=True):
    """Rules in the file's order, the newest entries first.

    Attributes:
        listed: how many entries there are, shown or not.
        problem: what is wrong with the files on disk, where older rules or lists are in force because of it.
        backtest: the report as a whole, None before the first; `backtest_problem`: why it cannot be shown.
    """

    rules: tuple[RuleRow, ...]
    entries: tuple[EntryRow, ...]
    listed: int
    digest: str
    problem: str | None
    backtest: BacktestReport | None
    backtest_problem: str | None


def rulebook(
    rules: RuleSet,
    entries: tuple[ListEntry, ...],
    problem: str | None,
    backtest: BacktestReport | None,
    backtest_problem: str | None,
    now: datetime | None = None,
) -> Rulebook:
    """
    Args:
        entries: those of the file as it is now, so that a change is seen before the workers have taken it in.
    """
    now = now or datetime.now(UTC)
    tested = {of.name: of for of in backtest.rules} if backtest is not None else {}
    active = [RuleRow(rule, _state(rule, now), None, tested.get(rule.name)) for rule in rules.rules]
    idle = [RuleRow(of.rule, "inactive", of.reason, None) for of in rules.inactive]
    newest = sorted(entries, key=lambda entry: entry.added, reverse=True)[:SHOWN]
    return Rulebook(
        rules=(*active, *idle),
        entries=tuple(EntryRow(entry, entry.until is not None and entry.until <= now) for entry in newest),
        listed=len(entries),
        digest=rules.digest,
        problem=problem,
        backtest=backtest,
        backtest_problem=backtest_problem,
    )


def _state(rule: Rule, now: datetime) -> str:
    """live or shadow; before and after its time, to come or over."""
    if rule.from_ is not None and now < rule.from_:
        return "to come"
    if rule.until is not None and now >= rule.until:
        return "over"
    return rule.mode
