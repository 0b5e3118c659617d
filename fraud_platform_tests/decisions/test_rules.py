"""The file of rules: what it may hold, and that everything that is wrong with it is said at once."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from fraud_platform.decisions.rule_files import read_file
from fraud_platform.decisions.rule_names import names_of
from fraud_platform.decisions.rules import Inactive, Rule, parse_rules
from fraud_platform.errors import RulesError
from fraud_platform.features.selection import build_catalog
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS

NAMES = names_of(build_catalog(TRANSACTION_COLUMNS, [], 7 * 86_400_000_000))
GOOD = {
    "name": "velocity",
    "when": "customer_count_1h > 5",
    "action": "review",
    "weight": 40,
    "mode": "shadow",
    "owner": "ann",
    "why": "stolen cards are emptied fast",
}


def parse(tmp_path: Path, text: str) -> tuple[tuple[Rule, ...], tuple[Inactive, ...]]:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return parse_rules(read_file(path), NAMES)


def parse_one(tmp_path: Path, **changed: Any) -> Rule:
    given = {key: value for key, value in (GOOD | changed).items() if value is not ...}
    ((rule,), _) = parse(tmp_path, yaml.safe_dump({"rules": [given]}))
    return rule


def problem(tmp_path: Path, **changed: Any) -> str:
    with pytest.raises(RulesError) as error:
        parse_one(tmp_path, **changed)
    first, *rest = str(error.value).splitlines()
    assert first == f"{tmp_path / 'rules.yaml'}: 1 problem(s) in the rules:"
    return "\n".join(rest)


def test_a_rule_is_read_as_it_is_written(tmp_path: Path) -> None:
    rule = parse_one(tmp_path, **{"from": "2026-01-31T09:30:00+01:00", "until": "2026-02-28"})
    assert (rule.name, rule.when, rule.action, rule.weight, rule.mode) == tuple(GOOD.values())[:5]
    assert (rule.owner, rule.why, rule.names) == ("ann", GOOD["why"], {"customer_count_1h"})
    assert rule.from_ == datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
    assert rule.until == datetime(2026, 2, 28, tzinfo=UTC)


def test_times_may_be_those_of_yaml_and_conditions_may_have_several_lines(tmp_path: Path) -> None:
    text = """
rules:
  - name: one
    when: >-
      merchant_country == "NO"
      and channel == 'online'
    action: block
    weight: 1
    mode: live
    from: 2026-01-31
    until: 2026-01-31T01:00:00Z
    owner: NO
    why: Norway
"""
    ((rule,), _) = parse(tmp_path, text)
    assert rule.from_ == datetime(2026, 1, 31, tzinfo=UTC)
    assert rule.until == datetime(2026, 1, 31, 1, tzinfo=UTC)
    assert rule.owner == "NO"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": ...}, "rule 1 of the file: name: missing. Add it"),
        ({"name": "Velo city"}, "rule Velo city: name: String should match pattern"),
        ({"name": 5}, "rule 1 of the file: name: Input should be a valid string (got 5). Put it in quotes."),
        ({"when": ...}, "rule velocity: when: missing"),
        ({"when": " "}, "rule velocity: when: String should have at least 1 character"),
        ({"when": True}, "rule velocity: when: Input should be a valid string (got True)"),
        ({"when": "customer_count_1h >"}, "rule velocity: when: ends too early"),
        (
            {"action": "decline"},
            "rule velocity: action: Input should be 'approve', 'review' or 'block' (got 'decline')",
        ),
        ({"weight": 0}, "rule velocity: weight: Input should be greater than or equal to 1 (got 0)"),
        ({"weight": 101}, "rule velocity: weight: Input should be less than or equal to 100 (got 101)"),
        ({"weight": 1.5}, "rule velocity: weight: Input should be a valid integer (got 1.5)"),
        ({"weight": True}, "rule velocity: weight: Input should be a valid integer (got True)"),
        ({"mode": "off"}, "rule velocity: mode: Input should be 'live' or 'shadow' (got 'off')"),
        ({"owner": " "}, "rule velocity: owner: String should have at least 1 character"),
        ({"why": None}, "rule velocity: why: Input should be a valid string (got None)."),
        ({"weigth": 5}, "rule velocity: weigth: unknown key. Did you mean weight?"),
        ({"foo": 5}, "rule velocity: foo: unknown key. Use one of name, when, action, weight, mode, from, until"),
        ({"from_": "2026-01-01"}, "rule velocity: from_: unknown key. Did you mean from?"),
        ({"from": "2026-01-31 09:30:00"}, "rule velocity: from: 2026-01-31 09:30:00 has no offset from UTC"),
        ({"until": "soon"}, "rule velocity: until: Invalid isoformat string: 'soon'"),
        ({"until": 5}, "rule velocity: until: not a date or a time"),
        ({"from": "2026-02-01", "until": "2026-02-01"}, "rule velocity: until: 2026-02-01T00:00:00+00:00 is not after"),
    ],
)
def test_what_is_wrong_with_a_rule_names_the_rule_the_key_and_the_fix(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    assert message in problem(tmp_path, **changed)


def test_all_problems_of_all_rules_come_at_once(tmp_path: Path) -> None:
    rules = [
        GOOD | {"action": "decline", "when": "nothing > 5", "weight": 0},
        GOOD,
        "velocity",
        GOOD | {"name": "other", "colour": "red"},
    ]
    with pytest.raises(RulesError) as error:
        parse(tmp_path, yaml.safe_dump({"rules": rules}))
    listed = [line.split(": ")[0:2] for line in str(error.value).splitlines()[1:]]
    assert listed == [
        ["  - rule velocity", "action"],
        ["  - rule velocity", "weight"],
        ["  - rule velocity", "when"],
        ["  - rule 3 of the file", "not a mapping of keys to values (got 'velocity'). Give name, when, action, weight, "
         "mode, from, until, owner, why."],
        ["  - rule other", "colour"],
        ["  - rule velocity", "name"],
    ]  # fmt: skip
    assert "used by 2 rules" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has to be a list under the key `rules`"),
        ("rules:", "has to be a list under the key `rules`"),
        ("- name: x", "has to be a list under the key `rules`"),
        ("rules: []\nlists: []", "has to be a list under the key `rules`"),
        ("rules: [", "not valid YAML"),
        ("rules: []\nrules: []", "key 'rules' is given twice"),
        ('rules:\n- when: "a" in b', "below `when: >-`"),
        ("rules: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_what_is_no_file_of_rules_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RulesError, match=r"rules\.yaml: ") as error:
        parse(tmp_path, text)
    assert message in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"rules: \xff\xfe")
    with pytest.raises(RulesError, match="not valid YAML"):
        parse_rules(read_file(path), NAMES)


def test_a_file_that_cannot_be_read_is_an_error_and_not_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="cannot be read"):
        read_file(tmp_path)


def test_a_file_without_rules_has_none(tmp_path: Path) -> None:
    assert parse(tmp_path, "rules: []") == ((), ())
