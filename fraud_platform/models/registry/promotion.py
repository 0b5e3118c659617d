"""Which version serves: promotion, rollback and refusal, each with its entry in the history.

MLflow has no transactions, so a change is a series of calls that a crash may interrupt anywhere:

    promote     previous := champion    champion := version    entry
    rollback    champion := previous    entry                  previous := what served before it, or none

The alias `champion` moves in one call and is never taken away. Whatever an interrupted call left behind
is read off the aliases and the history, and the same call again puts it right:

- `champion` is not what the history says: it was moved without an entry. Where `previous` is the same
  version it was a rollback, else a promotion. (A person who moves aliases in MLflow looks the same.)
- `previous` is the champion: a rollback stopped before its last call, or a promotion after its first.

After a rollback `previous` never is the version that was rolled back from: a second rollback goes
further back, or is refused. Two changes at the same moment are not kept apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from fraud_platform.errors import RegistryError
from fraud_platform.models.registry.connection import connect, reaching
from fraud_platform.models.registry.history import (
    HistoryEntry,
    champion_before,
    entry_tag,
    next_moment,
    read_history,
    recorded_champion,
)
from fraud_platform.models.registry.versions import CHAMPION, PREVIOUS, RegisteredVersion, read_versions, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

UNRECORDED = "Moved without a record: by hand in MLflow, or by a call that did not end."


@dataclass(frozen=True)
class Promotion:
    """What a promotion or a rollback came to.

    Attributes:
        champion: the version that serves after it.
        before: the version that served before it, if any.
        previous: the version that a rollback would now go back to, if any.
    """

    event: Literal["promoted", "rolled_back", "unchanged"]
    name: str
    champion: int
    before: int | None
    previous: int | None
    why: str
    by: str
    at: datetime

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        if self.event == "unchanged":
            return f"Version {self.champion} of {self.name} is the champion already; nothing was changed."
        again = " again" if self.event == "rolled_back" else ""
        instead = f", in place of version {self.before}" if self.before else ""
        back = f"A rollback would go to version {self.previous}" if self.previous else "There is nothing to go back to"
        return f"Version {self.champion} of {self.name} is the champion{again}{instead}. {back}."


def promote(
    tracking_uri: str,
    name: str,
    version: int,
    *,
    why: str,
    by: str,
    at: datetime,
    verdict: dict[str, Any] | None = None,
) -> Promotion:
    """Make a version the champion; the champion of before becomes `previous`.

    Promoting the champion changes nothing and says so.

    Args:
        why: for the history; what is longer than 1,000 characters is cut.
        by: the person or the asset that decided.
        at: when, with a time zone.
        verdict: of the gate, as JSON can hold it.

    Raises:
        RegistryError: if MLflow does not answer or there is no such version; the champion then stays.
    """
    with _opened(tracking_uri, name) as model:
        model.require(version)
        if model.champion == version and model.moved_without_entry and not model.previous_is_champion:
            before = model.recorded
        else:
            model.catch_up(why, by, at)
            before = model.champion
            if before == version:
                return model.outcome("unchanged", before, why, by, at)
        entry = model.entry("promoted", before, version, why, by, at, verdict)
        entry_tag(entry)  # what does not fit into a tag is refused before anything moves
        if before in model.existing:
            model.point(PREVIOUS, before)
        model.point(CHAMPION, version)
        model.write(entry)
        return model.outcome("promoted", before, why, by, entry.at)


def rollback(tracking_uri: str, name: str, *, why: str, by: str, at: datetime) -> Promotion:
    """Make `previous` the champion again; `previous` then is what served before that, if it may serve again.

    A call that did not end is completed, and nothing else is done then.

    Raises:
        RegistryError: if MLflow does not answer or there is nothing to go back to; the champion then stays.
    """
    with _opened(tracking_uri, name) as model:
        if model.catch_up(why, by, at):
            last = model.entries[-1]
            return model.outcome("rolled_back", last.from_version, why, by, last.at)
        before, target = model.champion, model.rollback_target()
        entry = model.entry("rolled_back", before, target, why, by, at)
        model.point(CHAMPION, target)
        model.write(entry)
        model.point(PREVIOUS, champion_before(model.entries, set(model.existing)))
        return model.outcome("rolled_back", before, why, by, entry.at)


def rollback_target(tracking_uri: str, name: str) -> RegisteredVersion:
    """The version that `rollback` would make the champion.

    Raises:
        RegistryError: if MLflow does not answer or there is nothing to go back to.
    """
    with _opened(tracking_uri, name) as model:
        return model.require(model.rollback_target())


def refuse(
    tracking_uri: str,
    name: str,
    version: int,
    *,
    why: str,
    by: str,
    at: datetime,
    verdict: dict[str, Any] | None = None,
) -> HistoryEntry:
    """Record that a version was not promoted. No alias moves.

    Raises:
        RegistryError: if MLflow does not answer or there is no such version.
    """
    with _opened(tracking_uri, name) as model:
        model.require(version)
        entry = model.entry("refused", model.champion, version, why, by, at, verdict)
        model.write(entry)
        return entry


def history(tracking_uri: str, name: str) -> list[HistoryEntry]:
    """Every promotion, refusal and rollback, oldest first. Entries go with the version that holds them.

    Raises:
        RegistryError: if MLflow does not answer, or somebody made an entry unreadable.
    """
    return read_history(versions(tracking_uri, name))


@contextmanager
def _opened(tracking_uri: str, name: str) -> Iterator["_Model"]:
    client = connect(tracking_uri)
    with reaching(tracking_uri):
        yield _Model(client, tracking_uri, name)


class _Model:
    """A registered model during one change: its aliases and history as read, kept up with what is written."""

    def __init__(self, client: "MlflowClient", tracking_uri: str, name: str) -> None:
        self._client, self._tracking_uri, self._name = client, tracking_uri, name
        self.existing = {version.version: version for version in read_versions(client, name)}
        self.entries = read_history(self.existing.values())
        self._aliases = {alias: version.version for version in self.existing.values() for alias in version.aliases}

    @property
    def champion(self) -> int | None:
        return self._aliases.get(CHAMPION)

    @property
    def recorded(self) -> int | None:
        """The champion according to the history."""
        return recorded_champion(self.entries)

    @property
    def moved_without_entry(self) -> bool:
        return self.champion is not None and self.champion != self.recorded

    @property
    def previous_is_champion(self) -> bool:
        return self.champion is not None and self.champion == self._aliases.get(PREVIOUS)

    @property
    def rollback_is_unfinished(self) -> bool:
        if not self.previous_is_champion or not self.entries:
            return False
        if self.moved_without_entry:
            return self.recorded in self.existing
        return [entry.event for entry in self.entries if entry.event != "refused"][-1] == "rolled_back"

    def require(self, version: int) -> RegisteredVersion:
        """The version, where it exists."""
        if version not in self.existing:
            raise RegistryError(
                f"{self._name} has no version {version} in MLflow at {self._tracking_uri}. It has: "
                f"{', '.join(map(str, self.existing)) or 'none'}."
            )
        return self.existing[version]

    def rollback_target(self) -> int:
        """The version that a rollback makes the champion."""
        if self.champion is not None and self.rollback_is_unfinished:
            return self.champion
        found = self._aliases.get(PREVIOUS)
        target = champion_before(self.entries, set(self.existing)) if self.previous_is_champion else found
        if self.champion is None or target is None:
            serves = f"version {self.champion} is the champion" if self.champion else "it has no champion"
            raise RegistryError(
                f"There is nothing to roll {self._name} back to in MLflow at {self._tracking_uri}: {serves}, and "
                "no version is `previous`. Choose one: `fraud-platform model list`, `fraud-platform model promote`."
            )
        return target

    def catch_up(self, why: str, by: str, at: datetime) -> bool:
        """Complete what a call began that did not end; whether that was a rollback.

        Args:
            why: for the entry of a rollback; with `by` and `at`.
        """
        unfinished, stuck = self.rollback_is_unfinished, self.previous_is_champion
        if self.champion is not None and self.moved_without_entry:
            event = "rolled_back" if unfinished else "promoted"
            reason, who = (why, by) if unfinished else (UNRECORDED, "unknown")
            self.write(self.entry(event, self.recorded, self.champion, reason, who, at))
        if stuck:
            self.point(PREVIOUS, champion_before(self.entries, set(self.existing)))
        return unfinished

    def entry(
        self,
        event: Literal["promoted", "refused", "rolled_back"],
        before: int | None,
        after: int,
        why: str,
        by: str,
        at: datetime,
        verdict: dict[str, Any] | None = None,
    ) -> HistoryEntry:
        return HistoryEntry(event, before, after, why, by, next_moment(self.entries, at), verdict)

    def write(self, entry: HistoryEntry) -> None:
        key, value = entry_tag(entry)
        self._client.set_model_version_tag(self._name, str(entry.version), key, value)
        self.entries.append(entry)

    def point(self, alias: str, version: int | None) -> None:
        """At a version, or at none."""
        if version is None:
            self._client.delete_registered_model_alias(self._name, alias)
            self._aliases.pop(alias, None)
        else:
            self._client.set_registered_model_alias(self._name, alias, str(version))
            self._aliases[alias] = version

    def outcome(
        self,
        event: Literal["promoted", "rolled_back", "unchanged"],
        before: int | None,
        why: str,
        by: str,
        at: datetime,
    ) -> Promotion:
        assert self.champion is not None
        return Promotion(event, self._name, self.champion, before, self._aliases.get(PREVIOUS), why, by, at)
