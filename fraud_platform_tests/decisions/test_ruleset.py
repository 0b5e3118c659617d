"""Rules and lists together: loading both, what they say of a payment, reloading."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from fraud_platform.decisions.policy import NO_MATCHES, Match
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.errors import RulesError
from fraud_platform.features.selection import Catalog, build_catalog
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
from fraud_platform.transactions.request import TransactionDecoder
from fraud_platform_tests.installation import ROOT

CATALOG = build_catalog(TRANSACTION_COLUMNS, ["basket_size"], 7 * 86_400_000_000)
POOR = build_catalog(["transaction_id", "event_time", "customer_id", "amount_cents"], [], 7 * 86_400_000_000)

RULES = """
rules:
  - {name: velocity, when: customer_count_1h > 5, action: review, weight: 40, mode: live, owner: ann, why: too fast}
  - {name: large, when: amount_cents >= 100000, action: block, weight: 60, mode: shadow, owner: bob, why: too much}
  - {name: known_device, when: is_new_device == 0, action: approve, weight: 10, mode: live, owner: bob, why: usual}
"""
LISTS = """
entries:
  - {list: block, entity: card_id, value: K1, owner: ann, why: stolen, added: 2026-01-01}
  - {list: watch, entity: customer_id, value: C1, owner: ann, why: ring, added: 2026-01-01, until: 2026-02-01}
"""


def write(folder: Path, rules: str | None = RULES, lists: str | None = LISTS) -> tuple[Path, Path]:
    paths = folder / "rules.yaml", folder / "lists.yaml"
    for path, text in zip(paths, (rules, lists), strict=True):
        if text is not None:
            path.write_text(text)
    return paths


def load(folder: Path, rules: str | None = RULES, lists: str | None = LISTS, catalog: Catalog = CATALOG) -> RuleSet:
    return RuleSet.load(*write(folder, rules, lists), catalog)


def event(**given: Any) -> dict[str, Any]:
    body = {
        "transaction_id": "t1",
        "event_time": "2026-01-15T12:00:00+02:00",
        "customer_id": "C9",
        "amount_cents": 500,
    }
    return TransactionDecoder(CATALOG.attributes).decode(msgspec.json.encode(body | given))


def vector(**given: float) -> NDArray[np.float32]:
    return np.array([given.get(name, np.nan) for name in CATALOG.names], np.float32)


def names(matches: tuple[Match, ...]) -> list[str]:
    return [match.name for match in matches]


def test_what_matches_is_told_apart_by_mode_and_kind(tmp_path: Path) -> None:
    found = load(tmp_path).match(event(card_id="K1", amount_cents=100_000), vector(customer_count_1h=6))
    assert found.live == (
        Match("block list: card_id", "block", 0, "list", "stolen"),
        Match("velocity", "review", 40, "rule", "too fast"),
    )
    assert found.shadow == (Match("large", "block", 60, "rule", "too much"),)


def test_nothing_matches_a_payment_that_nobody_wrote_about(tmp_path: Path) -> None:
    assert load(tmp_path).match(event(), vector(customer_count_1h=5)) == NO_MATCHES


def test_an_entry_and_a_rule_count_by_the_time_of_the_event_whatever_its_offset(tmp_path: Path) -> None:
    rules = """
rules:
  - name: january
    when: amount_cents > 0
    action: review
    weight: 1
    mode: live
    from: 2026-01-10T00:00:00+01:00
    until: 2026-01-20
    owner: ann
    why: a campaign
"""
    found = load(tmp_path, rules)

    def at(time: str) -> list[str]:
        return names(found.match(event(customer_id="C1", event_time=time), vector()).live)

    assert at("2026-01-09T22:59:59.999999Z") == ["watch list: customer_id"]
    assert at("2026-01-09T23:00:00Z") == ["watch list: customer_id", "january"]
    assert at("2026-01-20T01:59:59.999999+02:00") == ["watch list: customer_id", "january"]
    assert at("2026-01-20T00:00:00Z") == ["watch list: customer_id"]
    assert at("2026-01-31T23:59:59.999999Z") == ["watch list: customer_id"]
    assert at("2026-02-01T00:00:00Z") == []


def test_a_value_may_be_on_several_lists(tmp_path: Path) -> None:
    lists = LISTS + "  - {list: watch, entity: card_id, value: K1, owner: ann, why: too, added: 2026-01-02}\n"
    found = load(tmp_path, lists=lists).match(event(card_id="K1"), vector())
    assert names(found.live) == ["block list: card_id", "watch list: card_id"]


def test_what_the_source_lacks_makes_a_rule_inactive_and_no_error(tmp_path: Path) -> None:
    found = load(tmp_path, catalog=POOR)
    assert [rule.name for rule in found.rules] == ["velocity", "large"]
    (inactive,) = found.inactive
    assert inactive.rule.name == "known_device"
    assert inactive.reason == "the source lacks device_id"


def test_every_feature_is_read_from_its_own_place(tmp_path: Path) -> None:
    """A rule for each feature; a vector in which one has a value at a time."""
    one = "  - {{name: f_{0}, when: {0} == 3, action: review, weight: 1, mode: live, owner: o, why: w}}\n"
    found = load(tmp_path, "rules:\n" + "".join(one.format(name) for name in CATALOG.names))
    assert len(found.rules) == len(CATALOG.names)
    for name in CATALOG.names:
        assert names(found.match(event(), vector(**{name: 3.0})).live) == [f"f_{name}"]


def test_all_problems_of_both_files_come_in_one_error(tmp_path: Path) -> None:
    rules = RULES.replace("customer_count_1h > 5", "custmer_count_1h > 5").replace("weight: 60", "weight: 600")
    lists = LISTS.replace("card_id", "card").replace("K1", "'K1 '")
    with pytest.raises(RulesError) as error:
        load(tmp_path, rules, lists)
    message = str(error.value)
    assert f"{tmp_path / 'rules.yaml'}: 2 problem(s)" in message
    assert "rule velocity: when: custmer_count_1h is not known. Did you mean customer_count_1h?" in message
    assert "rule large: weight: " in message
    assert f"{tmp_path / 'lists.yaml'}: 1 problem(s)" in message
    assert "entry 1: entity: not a column whose values can be listed" in message


def test_no_lists_file_is_empty_lists(tmp_path: Path) -> None:
    assert load(tmp_path, lists=None).lists.entries == ()


def test_no_rules_file_is_an_error_only_where_it_is_required(tmp_path: Path) -> None:
    rules, lists = write(tmp_path, rules=None)
    with pytest.raises(RulesError, match=r"rules\.yaml: there is no such file"):
        RuleSet.load(rules, lists, CATALOG)
    found = RuleSet.load(rules, lists, CATALOG, rules_required=False)
    assert (found.rules, len(found.lists.entries)) == ((), 2)
    assert names(found.match(event(card_id="K1"), vector()).live) == ["block list: card_id"]


def test_the_rules_file_of_the_settings_is_required_where_it_was_set(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RuleSet.of_settings(Settings(warehouse=tmp_path), CATALOG).rules == ()
    with pytest.raises(RulesError, match="there is no such file"):
        RuleSet.of_settings(Settings(warehouse=tmp_path, rules=Path("rules/rules.yaml")), CATALOG)


def test_the_digest_is_that_of_both_contents(tmp_path: Path) -> None:
    digest = load(tmp_path).digest
    assert len(bytes.fromhex(digest)) == 8
    assert load(tmp_path).digest == digest
    assert load(tmp_path, rules=RULES + "\n").digest != digest
    assert load(tmp_path, lists=LISTS + "\n").digest != digest


@pytest.mark.parametrize("which", ["rules.yaml", "lists.yaml"])
def test_a_rule_set_knows_when_a_file_is_another(tmp_path: Path, which: str) -> None:
    found, path = load(tmp_path), tmp_path / which
    assert not found.stale()
    text = path.read_text()
    other = tmp_path / "other"
    other.write_text(text.replace("ann", "bea"))
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)  # the same size and time, another file
    assert found.stale()
    path.unlink()
    assert found.stale()
    assert not RuleSet.load(tmp_path / "rules.yaml", tmp_path / "lists.yaml", CATALOG, rules_required=False).stale()


def test_a_rule_set_without_files_matches_nothing() -> None:
    found = RuleSet()
    assert found.match(event(), vector()) == NO_MATCHES
    assert not found.stale()


def test_an_event_may_lack_the_columns_that_are_optional(tmp_path: Path) -> None:
    bare: Mapping[str, Any] = {"transaction_id": "t", "event_us": 0, "customer_id": "C9", "amount_cents": 1}
    assert load(tmp_path).match(bare, vector()) == NO_MATCHES


def test_the_service_needs_neither_duckdb_nor_pyarrow_for_it() -> None:
    """The Bento has neither."""
    code = """
import sys
from fraud_platform.decisions import backtest_report, lists, rule_listing, ruleset
print(sorted({"duckdb", "pyarrow", "dagster"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
