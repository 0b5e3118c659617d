"""Block, allow and watch lists: which customers, cards, devices … are decided on whatever the model says."""

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from fraud_platform.decisions.policy import Action, Match
from fraud_platform.decisions.rule_files import (
    FileContent,
    Moment,
    Words,
    items_of,
    problems_of,
    read_file,
    refuse,
    replace_file,
)
from fraud_platform.errors import RulesError
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
from fraud_platform.transactions.request import to_microseconds

ListName = Literal["block", "allow", "watch"]

Audit = Callable[[str, dict[str, object]], None]
"""Takes down one change: what was done, and its details. If it raises, the change does not take place."""

ENTITIES = tuple(
    name for name, column in TRANSACTION_COLUMNS.items() if column.type == "string" and name != "transaction_id"
)
"""The columns whose values can be listed."""

KEY = "entries"

_ACTIONS: dict[ListName, Action] = {"block": "block", "allow": "approve", "watch": "review"}
_FOR_EVER = 2**63 - 1


class ListEntry(BaseModel):
    """One value on one list.

    Attributes:
        entity: the column whose value it is.
        until: the event time from which on it counts no more, None: never.
        added: when it was put on the list.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    list: ListName
    entity: str
    value: str
    owner: Words
    why: Words
    added: Moment
    until: Moment | None = None

    @field_validator("entity")
    @classmethod
    def _can_be_listed(cls, entity: str) -> str:
        if entity not in ENTITIES:
            raise ValueError(f"not a column whose values can be listed. Use one of {', '.join(ENTITIES)}")
        return entity

    @model_validator(mode="after")
    def _value_exists(self) -> "ListEntry":
        column = TRANSACTION_COLUMNS[self.entity]
        if column.values and self.value not in column.values:
            raise ValueError(f"value: {self.value!r} is no {self.entity}. Use one of {', '.join(column.values)}")
        if column.pattern and not re.fullmatch(column.pattern, self.value):
            raise ValueError(f"value: {self.value!r} is never a {self.entity} ({column.meaning}): see the contract")
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is at most one entry for: list, entity and value."""
        return self.list, self.entity, self.value


class Lists:
    """Entries, and a dict for each column that any of them is about."""

    def __init__(self, entries: Iterable[ListEntry] = ()) -> None:
        self.entries = tuple(entries)
        tables: dict[str, dict[str, tuple[tuple[int, Match], ...]]] = {}
        for entry in self.entries:
            match = Match(f"{entry.list} list: {entry.entity}", _ACTIONS[entry.list], 0, "list", entry.why)
            until = _FOR_EVER if entry.until is None else to_microseconds(entry.until)
            table = tables.setdefault(entry.entity, {})
            table[entry.value] = (*table.get(entry.value, ()), (until, match))
        self._tables = tuple(tables.items())

    def match(self, event: Mapping[str, Any]) -> list[Match]:
        """What the lists say of a payment at its own time, `event_us`."""
        found: list[Match] = []
        for entity, table in self._tables:
            if (listed := table.get(event.get(entity, ""))) is not None:
                found += [match for until, match in listed if event["event_us"] < until]
        return found


def parse_lists(file: FileContent) -> Lists:
    """The lists of a file; none where there is no file.

    Raises:
        RulesError: naming every problem with its entry, its key and how to mend it.
    """
    if file.is_missing:
        return Lists()
    problems: list[str] = []
    entries: dict[tuple[str, str, str], ListEntry] = {}
    for place, item in enumerate(items_of(file, KEY), 1):
        try:
            entry = ListEntry.model_validate(item)
        except ValidationError as error:
            problems += (f"entry {place}: {problem}" for problem in problems_of(error, item, ListEntry))
            continue
        if entry.key in entries:
            problems.append(f"entry {place}: {entry.value} is on the {entry.list} list already. Keep one of the two.")
        entries[entry.key] = entry
    refuse(file.path, problems, "lists")
    return Lists(entries.values())


def new_entry(
    list_: ListName, entity: str, value: str, owner: str, why: str, until: datetime | str | None = None
) -> ListEntry:
    """An entry that is added now.

    Args:
        until: a time with its offset, or text such as 2026-01-31.

    Raises:
        RulesError: naming what is wrong with it.
    """
    given = {"list": list_, "entity": entity, "value": value, "owner": owner, "why": why, "until": until or None}
    try:
        return ListEntry.model_validate({**given, "added": datetime.now(UTC).replace(microsecond=0)})
    except ValidationError as error:
        raise RulesError(f"The entry cannot be used: {' '.join(problems_of(error, given, ListEntry))}") from error


def add(path: Path, entry: ListEntry, audit: Audit) -> ListEntry | None:
    """Put an entry on its list, in place of one for the same value; returns the one that it replaces.

    The file is written as a whole, one process at a time. Comments in it are not kept: `why` is for them.

    Raises:
        RulesError: if the file is broken, or cannot be written; it is then as it was.
    """
    details: dict[str, object] = {**_shown(entry), "owner": entry.owner}
    with _changing(path) as entries:
        replaced = entries.get(entry.key)
        entries[entry.key] = entry
        _write(path, entries.values(), partial(audit, "list_entry_added", details))
    return replaced


def remove(path: Path, list_: ListName, entity: str, value: str, by: str, audit: Audit, why: str = "") -> ListEntry:
    """Take a value off a list; returns the entry that was there.

    Raises:
        RulesError: if it is not on the list, or the file is broken or cannot be written; it is then as it was.
    """
    with _changing(path) as entries:
        entry = entries.pop((list_, entity, value), None)
        if entry is None:
            raise RulesError(f"{value} is not on the {list_} list of {entity} in {path}. Somebody may have removed it.")
        details: dict[str, object] = {**_shown(entry), "by": by, "why": why, "was_there_because": entry.why}
        _write(path, entries.values(), partial(audit, "list_entry_removed", details))
    return entry


def _shown(entry: ListEntry) -> dict[str, object]:
    until = None if entry.until is None else entry.until.isoformat()
    return {"list": entry.list, "entity": entry.entity, "value": entry.value, "why": entry.why, "until": until}


@contextmanager
def _changing(path: Path) -> Iterator[dict[tuple[str, str, str], ListEntry]]:
    """The entries as they are now; nobody else changes them meanwhile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RulesError(f"{path}: cannot be changed: {error}. Correct the permissions, or free space.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system gives it back when a process dies, however it dies
        yield {entry.key: entry for entry in parse_lists(read_file(path)).entries}
    finally:
        os.close(lock)


def _write(path: Path, entries: Iterable[ListEntry], take_down: Callable[[], None]) -> None:
    """Write all entries, one a line. The change is taken down when they are on the disk, before they count."""
    lines = [f"- {_line(entry)}" for entry in entries]
    text = "\n".join([f"{KEY}:", *lines, ""]) if lines else f"{KEY}: []\n"

    replace_file(path, text, take_down)


def _line(entry: ListEntry) -> str:
    given = entry.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(given, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False).strip()
