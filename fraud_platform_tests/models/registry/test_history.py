from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.errors import RegistryError
from fraud_platform.models.registry import HistoryEntry, RegisteredVersion
from fraud_platform.models.registry.history import (
    champion_before,
    entry_tag,
    next_moment,
    read_history,
    recorded_champion,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
US = timedelta(microseconds=1)


def entry(event: str, before: int | None, after: int, at: datetime = NOW, why: str = "better") -> HistoryEntry:
    return HistoryEntry(event, before, after, why, "risk", at)  # type: ignore[arg-type]


def story(*moves: tuple[str, int]) -> list[HistoryEntry]:
    """Entries of moves such as ("promoted", 2), each from the champion of the one before."""
    entries: list[HistoryEntry] = []
    for event, version in moves:
        entries.append(entry(event, recorded_champion(entries), version, NOW + len(entries) * US))
    return entries


def holding(*entries: HistoryEntry) -> list[RegisteredVersion]:
    return [RegisteredVersion("model", found.version, "run", dict([entry_tag(found)])) for found in entries]


def test_an_entry_is_one_short_tag() -> None:
    assert entry_tag(entry("promoted", 1, 2)) == (
        "history.1772366400123456",
        '{"event":"promoted","from":1,"to":2,"why":"better","by":"risk","at":"2026-03-01T12:00:00.123456Z",'
        '"verdict":null}',
    )


def test_what_is_written_is_what_is_read_in_order_of_time() -> None:
    entries = [
        entry("promoted", None, 1),
        entry("refused", 1, 2, NOW + US),
        HistoryEntry("promoted", 1, 3, "Schäden −3 %", "gate", NOW + 2 * US, {"passed": True, "criteria": [1.5, None]}),
        entry("rolled_back", 3, 1, NOW + 3 * US),
    ]
    assert read_history(reversed(holding(*entries))) == entries


def test_other_tags_are_no_history() -> None:
    assert read_history([RegisteredVersion("model", 1, "run", {"source": "synthetic", "historyless": "{}"})]) == []


@pytest.mark.parametrize("value", ["", "{}", '{"event":"sold"}', "[]"])
def test_an_entry_made_unreadable_is_named(value: str) -> None:
    with pytest.raises(RegistryError, match=r"history\.12 of version 3 of model cannot be read.*delete it"):
        read_history([RegisteredVersion("model", 3, "run", {"history.12": value})])


def test_a_long_reason_is_cut_visibly() -> None:
    _, value = entry_tag(entry("promoted", 1, 2, why="x" * 3_500))
    assert "x" * 1_000 + "… (2,500 characters cut)" in value
    assert "x" * 1_001 not in value


def test_a_verdict_that_no_tag_can_hold_is_refused() -> None:
    verdict = {"criteria": "x" * 70_000}
    with pytest.raises(RegistryError, match=r"verdict on version 2 takes 70,\d+ bytes"):
        entry_tag(HistoryEntry("promoted", 1, 2, "", "", NOW, verdict))


def test_an_entry_is_kept_with_the_version_that_it_is_about() -> None:
    entries = [entry("promoted", 1, 2), entry("refused", 1, 2), entry("rolled_back", 2, 1)]
    assert [found.version for found in entries] == [2, 2, 2]


def test_a_clock_that_is_behind_does_not_change_the_order() -> None:
    entries = story(("promoted", 1))
    assert next_moment([], NOW) == NOW
    assert next_moment(entries, NOW + timedelta(hours=1)) == NOW + timedelta(hours=1)
    assert next_moment(entries, NOW - timedelta(days=1)) == NOW + US
    assert next_moment(entries, NOW) == NOW + US


def test_a_time_is_kept_in_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5)))
    assert next_moment([], east).utcoffset() == timedelta(0)
    with pytest.raises(RegistryError, match="no time zone"):
        next_moment([], NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([], None),
        ([("refused", 1)], None),
        ([("promoted", 1)], None),
        ([("promoted", 1), ("promoted", 2)], 1),
        ([("promoted", 1), ("promoted", 2), ("refused", 3)], 1),
        ([("promoted", 1), ("promoted", 2), ("rolled_back", 1)], None),
        ([("promoted", 1), ("promoted", 2), ("promoted", 3), ("rolled_back", 2)], 1),
        ([("promoted", 1), ("promoted", 2), ("rolled_back", 1), ("promoted", 3)], 1),
        ([("promoted", 1), ("promoted", 2), ("promoted", 1)], 2),
        # 2 served before 1, and after it; then it was rolled back from: it does not come back by itself.
        ([("promoted", 2), ("promoted", 1), ("promoted", 2), ("rolled_back", 1)], None),
        ([("promoted", 1), ("promoted", 2), ("rolled_back", 1), ("promoted", 2), ("promoted", 3)], 2),
        # Rolled back to a version that the history does not know: `previous` was set by hand.
        ([("promoted", 1), ("promoted", 2), ("rolled_back", 7)], None),
    ],
)
def test_what_served_before_is_read_off_the_history(moves: list[tuple[str, int]], expected: int | None) -> None:
    assert champion_before(story(*moves), set(range(10))) == expected


def test_a_version_that_was_deleted_does_not_serve_again() -> None:
    assert champion_before(story(("promoted", 1), ("promoted", 2), ("promoted", 3)), {1, 3}) == 1


def naive_champion_before(entries: list[HistoryEntry], existing: set[int]) -> int | None:
    """By recursion on the last entry: what it added to the line of champions, or took away from it."""

    def line(upto: int) -> tuple[int, ...]:
        if upto == 0:
            return ()
        last, before = entries[upto - 1], line(upto - 1)
        if last.event == "promoted":
            return (*before, last.to_version)
        if last.event == "rolled_back":
            places = [place for place, version in enumerate(before) if version == last.to_version]
            return before[: places[-1] + 1] if places else (last.to_version,)
        return before

    def bad(version: int) -> bool:
        fates = [
            e.event
            for e in entries
            if (e.event == "promoted" and e.to_version == version)
            or (e.event == "rolled_back" and e.from_version == version)
        ]
        return fates[-1:] == ["rolled_back"]

    served = line(len(entries))
    usable = [v for v in served[:-1] if v in existing and v != served[-1] and not bad(v)]
    return usable[-1] if usable else None


MOVES = st.lists(st.tuples(st.sampled_from(["promoted", "promoted", "refused", "rolled_back"]), st.integers(1, 5)))


@given(MOVES, st.sets(st.integers(1, 5)))
def test_what_served_before_is_what_the_naive_reading_gives(moves: list[tuple[str, int]], existing: set[int]) -> None:
    first = next((number for number, (event, _) in enumerate(moves) if event == "promoted"), len(moves))
    usual = [move for number, move in enumerate(moves) if move[0] != "rolled_back" or number > first]
    entries = story(*usual)
    assert champion_before(entries, existing) == naive_champion_before(entries, existing)
