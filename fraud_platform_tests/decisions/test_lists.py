"""Lists: what a file may hold, and that changing it loses nothing, whoever else changes it."""

import multiprocessing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_platform.decisions.lists import ENTITIES, ListEntry, Lists, add, new_entry, parse_lists, remove
from fraud_platform.decisions.policy import Match
from fraud_platform.decisions.rule_files import read_file
from fraud_platform.errors import RulesError
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

ADDED = datetime(2026, 1, 1, tzinfo=UTC)


def entry(**given: Any) -> ListEntry:
    defaults = {"list": "block", "entity": "card_id", "value": "K1", "owner": "ann", "why": "stolen", "added": ADDED}
    return ListEntry.model_validate(defaults | given)


def read(path: Path) -> tuple[ListEntry, ...]:
    return parse_lists(read_file(path)).entries


def nobody(action: str, details: dict[str, object]) -> None:
    """An audit that takes nothing down."""


class Log:
    """An audit that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def __call__(self, action: str, details: dict[str, object]) -> None:
        self.lines.append((action, details))


# --- looking up ------------------------------------------------------------------------------------------------

values = st.sampled_from(["A", "B", "C"])
entries = st.lists(
    st.builds(
        lambda list_, entity, value, day: entry(list=list_, entity=entity, value=value, until=day),
        st.sampled_from(["block", "allow", "watch"]),
        st.sampled_from(["card_id", "device_id", "customer_id"]),
        values,
        st.sampled_from([None, "2026-01-01", "2026-01-02"]),
    ),
    max_size=12,
    unique_by=lambda entry: entry.key,
)


@given(
    entries,
    st.fixed_dictionaries({"customer_id": values}, optional={"card_id": values | st.none(), "device_id": values}),
    st.sampled_from(["2025-12-31", "2026-01-01", "2026-01-02"]),
)
def test_a_payment_matches_the_entries_of_its_values_that_have_not_ended(
    listed: list[ListEntry], payment: dict[str, Any], day: str
) -> None:
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    found = Lists(listed).match(payment | {"event_us": int(moment.timestamp()) * 1_000_000})
    actions = {"block": "block", "allow": "approve", "watch": "review"}
    expected = [
        Match(f"{entry.list} list: {entry.entity}", actions[entry.list], 0, "list", entry.why)
        for entry in listed
        if payment.get(entry.entity) == entry.value and (entry.until is None or moment < entry.until)
    ]
    assert sorted(found) == sorted(expected)


def test_the_columns_that_can_be_listed_are_the_texts_of_the_contract() -> None:
    assert {"customer_id", "card_id", "device_id", "merchant_id", "ip_address", "merchant_country"} < set(ENTITIES)
    assert not {"transaction_id", "amount_cents", "event_time", "latitude"} & set(ENTITIES)
    assert set(ENTITIES) <= set(TRANSACTION_COLUMNS)


# --- the file --------------------------------------------------------------------------------------------------


def test_no_file_is_empty_lists(tmp_path: Path) -> None:
    assert read(tmp_path / "lists.yaml") == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"list": "deny"}, "entry 1: list: Input should be 'block', 'allow' or 'watch' (got 'deny')"),
        ({"entity": "card"}, "entry 1: entity: not a column whose values can be listed. Use one of customer_id"),
        ({"entity": "transaction_id"}, "entry 1: entity: not a column whose values can be listed"),
        ({"value": 5}, "entry 1: value: Input should be a valid string (got 5). Put it in quotes."),
        ({"value": " K1"}, "' K1' is never a card_id"),
        ({"value": ""}, "'' is never a card_id"),
        ({"entity": "merchant_country", "value": "de"}, "'de' is never a merchant_country (ISO 3166-1 alpha-2)"),
        ({"entity": "channel", "value": "fax"}, "'fax' is no channel. Use one of in_person, online"),
        ({"entity": "ip_address", "value": "1.2.3"}, "'1.2.3' is never a ip_address"),
        ({"owner": " "}, "entry 1: owner: String should have at least 1 character"),
        ({"why": ""}, "entry 1: why: String should have at least 1 character"),
        ({"until": "2026-01-01T10:00:00"}, "entry 1: until: 2026-01-01 10:00:00 has no offset from UTC"),
        ({"untill": "2026-01-01"}, "entry 1: untill: unknown key. Did you mean until?"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    good = {"list": "block", "entity": "card_id", "value": "K1", "owner": "a", "why": "b", "added": "2026-01-01"}
    path = tmp_path / "lists.yaml"
    path.write_text(yaml.safe_dump({"entries": [good | given]}))
    with pytest.raises(RulesError) as error:
        read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: 1 problem(s) in the lists:")


def test_an_entry_that_is_there_twice_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "lists.yaml"
    line = "- {list: block, entity: card_id, value: K1, owner: a, why: b, added: 2026-01-01}\n"
    path.write_text("entries:\n" + line * 2)
    with pytest.raises(RulesError, match="entry 2: K1 is on the block list already"):
        read(path)


def test_norway_and_other_words_of_yaml_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "lists.yaml"
    line = "- {list: watch, entity: merchant_country, value: NO, owner: on, why: yes, added: 2026-01-01}\n"
    path.write_text("entries:\n" + line)
    (found,) = read(path)
    assert (found.value, found.owner, found.why) == ("NO", "on", "yes")


# --- changing it -----------------------------------------------------------------------------------------------

texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
words = st.text(max_size=30).filter(lambda text: bool(text.strip()))
tricky = st.sampled_from(
    ["NO", "yes", "null", "~", "012", "1e5", "2026-01-01", "=", "<<", "- a", "a: b", "#x", "'", '"', "{", "!!x"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts | tricky, words | tricky, st.sampled_from([None, ADDED])), max_size=4))
def test_whatever_is_added_is_read_again(tmp_path_factory, given: list[tuple[str, str, datetime | None]]) -> None:
    path = tmp_path_factory.mktemp("lists") / "lists.yaml"
    expected = {}
    for value, why, until in given:
        added = entry(entity="customer_id", value=value, why=why, owner=why, until=until)
        add(path, added, nobody)
        expected[value] = added
    assert {found.value: found for found in read(path)} == expected


def test_an_entry_takes_the_place_of_the_one_for_the_same_value(tmp_path: Path) -> None:
    path = tmp_path / "home" / "lists.yaml"
    assert add(path, entry(why="first"), nobody) is None
    assert add(path, entry(value="K2"), nobody) is None
    assert add(path, entry(list="watch"), nobody) is None
    replaced = add(path, entry(why="second", until="2026-02-01"), nobody)
    assert replaced is not None and replaced.why == "first"
    assert [(found.list, found.value, found.why) for found in read(path)] == [
        ("block", "K1", "second"),
        ("block", "K2", "stolen"),
        ("watch", "K1", "stolen"),
    ]


def test_removing_takes_off_that_entry_alone(tmp_path: Path) -> None:
    path = tmp_path / "lists.yaml"
    for other in ({}, {"list": "watch"}, {"entity": "device_id"}):
        add(path, entry(**other), nobody)
    assert remove(path, "block", "card_id", "K1", "bob", nobody) == entry()
    assert [found.key for found in read(path)] == [("watch", "card_id", "K1"), ("block", "device_id", "K1")]
    remove(path, "watch", "card_id", "K1", "bob", nobody)
    remove(path, "block", "device_id", "K1", "bob", nobody)
    assert (read(path), path.read_text()) == ((), "entries: []\n")


def test_what_is_not_listed_cannot_be_removed(tmp_path: Path) -> None:
    path, log = tmp_path / "lists.yaml", Log()
    add(path, entry(), nobody)
    with pytest.raises(RulesError, match="K1 is not on the allow list of card_id"):
        remove(path, "allow", "card_id", "K1", "bob", log)
    assert (len(read(path)), log.lines) == (1, [])


def test_each_change_is_taken_down(tmp_path: Path) -> None:
    path, log = tmp_path / "lists.yaml", Log()
    add(path, entry(until="2026-02-01"), log)
    remove(path, "block", "card_id", "K1", "bob", log, why="found again")
    shown = {"list": "block", "entity": "card_id", "value": "K1", "until": "2026-02-01T00:00:00+00:00"}
    assert log.lines == [
        ("list_entry_added", shown | {"why": "stolen", "owner": "ann"}),
        ("list_entry_removed", shown | {"why": "found again", "by": "bob", "was_there_because": "stolen"}),
    ]


def test_a_change_that_cannot_be_taken_down_does_not_take_place(tmp_path: Path) -> None:
    path = tmp_path / "lists.yaml"
    add(path, entry(), nobody)
    before = path.read_bytes()

    def fails(action: str, details: dict[str, object]) -> None:
        raise OSError("no space left on device")

    with pytest.raises(RulesError, match="no space left"):
        add(path, entry(value="K2"), fails)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lists.yaml", "lists.yaml.lock"]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    path, log = tmp_path / "lists.yaml", Log()
    add(path, entry(), nobody)
    (tmp_path / "lists.yaml.partial").mkdir()
    with pytest.raises(RulesError, match="nothing was changed"):
        add(path, entry(value="K2"), log)
    (tmp_path / "lists.yaml.partial").rmdir()
    assert ([found.value for found in read(path)], log.lines) == (["K1"], [])


def test_a_broken_file_is_not_written_over(tmp_path: Path) -> None:
    path, log = tmp_path / "lists.yaml", Log()
    path.write_text("entries: [")
    with pytest.raises(RulesError, match="not valid YAML"):
        add(path, entry(), log)
    assert (path.read_text(), log.lines) == ("entries: [", [])


def test_a_place_where_no_file_can_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(RulesError, match="cannot be changed"):
        add(tmp_path / "home" / "lists.yaml", entry(), nobody)


def _add_many(path: Path, audit_log: Path, worker: int) -> None:
    def audit(action: str, details: dict[str, object]) -> None:
        with audit_log.open("a") as file:
            file.write(f"{details['value']}\n")

    for n in range(15):
        add(path, entry(value=f"{worker}-{n}"), audit)
    remove(path, "block", "card_id", f"{worker}-0", "bob", audit)


def test_processes_that_change_it_at_once_lose_nothing(tmp_path: Path) -> None:
    path, audit_log = tmp_path / "lists.yaml", tmp_path / "audit"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_many, args=(path, audit_log, worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    expected = {f"{worker}-{n}" for worker in range(4) for n in range(1, 15)}
    assert {found.value for found in read(path)} == expected
    assert len(audit_log.read_text().splitlines()) == 4 * 16


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lists.yaml"
    add(path, entry(value="K0"), nobody)
    writer = multiprocessing.get_context("fork").Process(target=_add_many, args=(path, tmp_path / "audit", 1))
    writer.start()
    while writer.is_alive():
        assert len(read(path)) >= 1
    writer.join()
    assert len(read(path)) == 15


# --- an entry by hand ------------------------------------------------------------------------------------------


def test_a_new_entry_is_added_now() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    found = new_entry("watch", "device_id", "D1", "ann", "seen in a ring", "2026-02-01")
    assert before <= found.added <= datetime.now(UTC)
    assert found.until == datetime(2026, 2, 1, tzinfo=UTC)
    assert new_entry("watch", "device_id", "D1", "ann", "ring", "").until is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("deny", "device_id", "D1", "ann", "why"), "list: Input should be"),
        (("block", "device", "D1", "ann", "why"), "entity: not a column"),
        (("block", "device_id", "", "ann", "why"), "'' is never a device_id"),
        (("block", "device_id", "D1", "", "why"), "owner: "),
        (("block", "device_id", "D1", "ann", ""), "why: "),
        (("block", "device_id", "D1", "ann", "why", "tomorrow"), "until: Invalid isoformat string"),
    ],
)
def test_a_new_entry_that_cannot_be_used_is_refused(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(RulesError) as error:
        new_entry(*given)
    assert message in str(error.value)


def test_an_audit_gets_the_person_by_partial_application(tmp_path: Path) -> None:
    lines: list[tuple[object, ...]] = []

    def write(actor: str, action: str, details: dict[str, object]) -> None:
        lines.append((actor, action, details["value"]))

    add(tmp_path / "lists.yaml", entry(), partial(write, "ann"))
    assert lines == [("ann", "list_entry_added", "K1")]
