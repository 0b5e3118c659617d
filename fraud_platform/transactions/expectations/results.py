"""What a suite is made of and what it answers: plain data, without Great Expectations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

Severity = Literal["error", "warn"]
Observed = float | int | str


@dataclass(frozen=True)
class Limits:
    """Where the judgements of a suite lie. What a value may look like is in the contract."""

    outlier_spreads: float = 10.0
    """An amount is an outlier above `median + outlier_spreads · max(interquartile range, median)`."""
    outlier_share: float = 0.05
    volume_factor: float = 4.0
    """A day's rows lie within this factor of the mean of the days before it."""
    baseline_days: int = 7
    """Days before the range, or before a day, that say what is usual."""
    baseline_rows: int = 1_000
    """Amounts of one currency that make a baseline; with fewer the range is its own."""
    fraud_rate_lowest: float = 0.001
    fraud_rate_highest: float = 0.05
    fraud_rate_days: int = 30
    fraud_rate_least_days: int = 7
    fraud_rate_least_events: int = 1_000


@dataclass(frozen=True)
class Check:
    """One named check.

    `observed` holds the number of expectations and of those that failed, the unexpected values of
    each expectation that has any, and the measured figures.
    A failed check of severity "error" is for the caller to block on; "warn" is not.
    """

    name: str
    passed: bool
    severity: Severity
    observed: dict[str, Observed]
    message: str


@dataclass(frozen=True)
class SuiteResult:
    """The checks of one table over one range of days; `docs` is the index.html of the Data Docs."""

    table: str
    rows: int
    checks: tuple[Check, ...]
    docs: Path | None

    @property
    def passed(self) -> bool:
        """Whether every check of severity "error" passed."""
        return all(check.passed for check in self.checks if check.severity == "error")

    def __getitem__(self, name: str) -> Check:
        """The check of that name; KeyError where the suite has none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


@dataclass(frozen=True)
class Expectation:
    """One expectation: `type` is the name that Great Expectations gives it, `arguments` are its own."""

    check: str
    type: str
    arguments: Mapping[str, Any]
    severity: Severity = "error"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        named = (self.arguments.get(key) for key in ("column", "column_A", "column_B"))
        return tuple(str(name) for name in named if name is not None)

    @property
    def key(self) -> str:
        """Names it in `Check.observed`: `amount_cents values_to_be_between`."""
        subject = self.type.removeprefix("expect_").removeprefix("column_").removeprefix("pair_")
        return f"{' '.join(self.columns)} {subject}"


@dataclass(frozen=True)
class Batch:
    """A table and what is expected of it."""

    name: str
    table: pa.Table
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class Outcome:
    """How one expectation fared: `unexpected` of `rows` values, with a few of them as examples."""

    expectation: Expectation
    passed: bool
    rows: int
    unexpected: int
    examples: tuple[str, ...]


def build_check(
    name: str,
    outcomes: list[Outcome],
    observed: Mapping[str, Observed],
    summary: str,
    severity: Severity = "error",
    measured: bool = False,
) -> Check:
    """Gather the outcomes of one check; `summary` is its message where all of them passed.

    Args:
        measured: the summary gives figures, true also where a check failed: its message begins with them.
    """
    mine = [outcome for outcome in outcomes if outcome.expectation.check == name]
    failed = [outcome for outcome in mine if not outcome.passed]
    counts: dict[str, Observed] = {
        outcome.expectation.key: outcome.unexpected for outcome in mine if outcome.unexpected
    }
    failures = "; ".join(_failure(outcome) for outcome in failed)
    message = summary if not failed else f"{summary}: {failures}" if measured else failures
    return Check(
        name, not failed, severity, {"expectations": len(mine), "failed": len(failed), **counts, **observed}, message
    )


def _failure(outcome: Outcome) -> str:
    expectation = outcome.expectation
    if expectation.type == "expect_column_to_exist":
        return f"column {expectation.columns[0]} is missing"
    limits = {
        key: value
        for key, value in expectation.arguments.items()
        if key in ("min_value", "max_value", "value_set", "regex")
    }
    wanted = f" ({', '.join(f'{key} {value}' for key, value in limits.items())})" if limits else ""
    examples = f", e.g. {', '.join(outcome.examples)}" if outcome.examples else ""
    return f"expected {expectation.key}{wanted}: {outcome.unexpected} of {outcome.rows} are not{examples}"
