"""What was promoted, refused and rolled back: entries as tags of the versions, and what follows from them.

An entry is one tag, `history.<UTC, microseconds since 1970>`, on the version that it is about: the
promoted one, the refused one, the one rolled back from. So the history is the same from every machine,
and MLflow's own page of a version tells it. Knows nothing of MLflow itself.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from fraud_platform.errors import RegistryError
from fraud_platform.models.registry.versions import RegisteredVersion

PREFIX = "history."
WHY_LENGTH = 1_000
ENTRY_LENGTH = 60_000
"""Characters of ASCII. MLflow takes 100,000, of which MySQL keeps 65,535."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryEntry(msgspec.Struct, frozen=True, rename={"from_version": "from", "to_version": "to"}):
    """One event.

    Attributes:
        from_version: the champion before it, if any; of a refusal, the champion that stays.
        to_version: the champion after it; of a refusal, the version that was refused.
        at: UTC, and later than every entry before it.
        verdict: of the gate, where it was asked.
    """

    event: Literal["promoted", "refused", "rolled_back"]
    from_version: int | None
    to_version: int
    why: str
    by: str
    at: datetime
    verdict: dict[str, Any] | None = None

    @property
    def version(self) -> int:
        """The version that the entry is about, and kept with."""
        return self.from_version if self.event == "rolled_back" and self.from_version else self.to_version


def entry_tag(entry: HistoryEntry) -> tuple[str, str]:
    """The key and the value of the tag; a long `why` is cut, visibly.

    Raises:
        RegistryError: if the verdict is too long for a tag.
    """
    if len(entry.why) > WHY_LENGTH:
        cut = f"{entry.why[:WHY_LENGTH]}… ({len(entry.why) - WHY_LENGTH:,} characters cut)"
        entry = msgspec.structs.replace(entry, why=cut)
    value = msgspec.json.encode(entry).decode()
    size = len(value.encode())
    if size > ENTRY_LENGTH:
        raise RegistryError(
            f"The verdict on version {entry.version} takes {size:,} bytes as JSON, and MLflow keeps {ENTRY_LENGTH:,} "
            "in a tag. Keep the criteria in it, and log the rest with the run."
        )
    return f"{PREFIX}{microseconds(entry.at)}", value


def read_history(versions: Iterable[RegisteredVersion]) -> list[HistoryEntry]:
    """The entries of all versions, oldest first.

    Raises:
        RegistryError: naming a tag that somebody made unreadable.
    """
    entries = [
        _entry(version, key, value)
        for version in versions
        for key, value in version.tags.items()
        if key.startswith(PREFIX)
    ]
    return sorted(entries, key=lambda entry: entry.at)


def recorded_champion(entries: Sequence[HistoryEntry]) -> int | None:
    """The champion according to the last promotion or rollback."""
    return next((entry.to_version for entry in reversed(entries) if entry.event != "refused"), None)


def champion_before(entries: Iterable[HistoryEntry], existing: set[int]) -> int | None:
    """What served before the champion, and may serve again.

    A promotion adds to the line of champions, a rollback takes its end away. A version that was rolled
    back from is left out until it is promoted anew, and so is one that was deleted.
    """
    line: list[int] = []
    withdrawn: set[int] = set()
    for entry in entries:
        if entry.event == "promoted":
            line.append(entry.to_version)
            withdrawn.discard(entry.to_version)
        elif entry.event == "rolled_back":
            withdrawn.add(entry.version)  # not None, unlike from_version
            while line and line[-1] != entry.to_version:
                line.pop()
            line = line or [entry.to_version]
    usable = existing - withdrawn - set(line[-1:])
    return next((number for number in reversed(line[:-1]) if number in usable), None)


def next_moment(entries: Sequence[HistoryEntry], at: datetime) -> datetime:
    """`at` in UTC, moved behind the last entry where clocks disagree: the order is what the history is for.

    Raises:
        RegistryError: if `at` names no time zone.
    """
    if at.tzinfo is None:
        raise RegistryError(f"The time {at.isoformat()} has no time zone. Give one, such as datetime.now(UTC).")
    return max([at.astimezone(UTC), *(entry.at + timedelta(microseconds=1) for entry in entries[-1:])])


def microseconds(at: datetime) -> int:
    """Since 1970, UTC."""
    return (at - EPOCH) // timedelta(microseconds=1)


def _entry(version: RegisteredVersion, key: str, value: str) -> HistoryEntry:
    try:
        entry = msgspec.json.decode(value, type=HistoryEntry)
        return msgspec.structs.replace(entry, at=entry.at.astimezone(UTC))
    except msgspec.DecodeError as error:
        raise RegistryError(
            f"The tag {key} of version {version.version} of {version.name} cannot be read: {error}. Correct it in "
            "MLflow, or delete it."
        ) from error
