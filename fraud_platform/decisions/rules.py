"""The file of rules: each a condition, an action and a weight. Says what is wrong with it; decides nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fraud_platform.decisions.condition_text import ConditionError
from fraud_platform.decisions.conditions import Condition, compile_condition
from fraud_platform.decisions.policy import Action
from fraud_platform.decisions.rule_files import FileContent, Moment, Words, items_of, problems_of, refuse
from fraud_platform.decisions.rule_names import Name
from fraud_platform.transactions.request import to_microseconds

Mode = Literal["live", "shadow"]

KEY = "rules"


class RuleEntry(BaseModel):
    """A rule as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    when: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    action: Action
    weight: int = Field(ge=1, le=100, strict=True)
    mode: Mode
    from_: Moment | None = Field(None, alias="from")
    until: Moment | None = None
    owner: Words
    why: Words


@dataclass(frozen=True)
class Rule:
    """A rule that can be asked.

    Attributes:
        when: its condition, as written.
        from_: the event time from which on it counts, None: always.
        until: the event time from which on it counts no more, None: never.
    """

    name: str
    when: str
    action: Action
    weight: int
    mode: Mode
    from_: datetime | None
    until: datetime | None
    owner: str
    why: str
    condition: Condition = field(repr=False, compare=False)

    @property
    def from_us(self) -> int:
        """The event time from which on it counts, microseconds."""
        return -(2**63) if self.from_ is None else to_microseconds(self.from_)

    @property
    def until_us(self) -> int:
        """The event time from which on it counts no more, microseconds."""
        return 2**63 - 1 if self.until is None else to_microseconds(self.until)

    @property
    def names(self) -> frozenset[str]:
        """The columns and features that its condition uses."""
        return self.condition.names


@dataclass(frozen=True)
class Inactive:
    """A rule that payments of this source can never match, and why."""

    rule: Rule
    reason: str


def parse_rules(file: FileContent, names: Mapping[str, Name]) -> tuple[tuple[Rule, ...], tuple[Inactive, ...]]:
    """The rules of a file, in its order, and those that the source cannot have.

    Raises:
        RulesError: naming every problem with its rule, its key and how to mend it.
    """
    problems: list[str] = []
    rules: list[Rule] = []
    items = items_of(file, KEY)
    for place, item in enumerate(items, 1):
        where = _where(item, place)
        entry: RuleEntry | None = None
        try:
            entry = RuleEntry.model_validate(item)
            problems += (f"{where}: {problem}" for problem in _order_problems(entry))
        except ValidationError as error:
            problems += (f"{where}: {problem}" for problem in problems_of(error, item, RuleEntry))
        when = item.get("when") if isinstance(item, dict) else None
        if isinstance(when, str) and when.strip():
            try:
                condition = compile_condition(when.strip(), names)
                if entry is not None:
                    rules.append(Rule(**dict(entry), condition=condition))
            except ConditionError as error:
                problems.append(f"{where}: when: {error}")
    problems += _twice(items)
    refuse(file.path, problems, KEY)
    active = tuple(rule for rule in rules if not rule.condition.lacking)
    inactive = (rule for rule in rules if rule.condition.lacking)
    return active, tuple(Inactive(rule, f"the source lacks {', '.join(rule.condition.lacking)}") for rule in inactive)


def _where(item: object, place: int) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return f"rule {name}" if isinstance(name, str) and name else f"rule {place} of the file"


def _order_problems(entry: RuleEntry) -> Iterator[str]:
    if entry.from_ is not None and entry.until is not None and entry.until <= entry.from_:
        yield (
            f"until: {entry.until.isoformat()} is not after from, {entry.from_.isoformat()}, so that it never counts. "
            "Correct one of them."
        )


def _twice(items: list[Any]) -> Iterator[str]:
    names = Counter(item["name"] for item in items if isinstance(item, dict) and isinstance(item.get("name"), str))
    for name, times in names.items():
        if times > 1:
            yield f"rule {name}: name: used by {times} rules. Give each its own: it is what decisions are explained by."
