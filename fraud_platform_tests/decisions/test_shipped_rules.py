"""The rules that come with the platform: they load for the sources that come with it, and say what they are for."""

import pytest

from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.features.selection import Catalog, catalog_of
from fraud_platform.transactions.sources import load_source
from fraud_platform_tests.installation import ROOT

RULES = ROOT / "rules" / "rules.yaml"


def catalog(source: str) -> Catalog:
    return catalog_of(load_source(ROOT / "sources" / f"{source}.yaml"))


@pytest.mark.parametrize(
    ("source", "active", "inactive"),
    [
        ("simulator", 8, set()),
        (
            "handbook",
            3,
            {
                "device_of_several_customers",
                "three_countries_in_a_day",
                "foreign_at_night",
                "new_device_high_amount",
                "impossible_travel",
            },
        ),
    ],
)
def test_they_load_for_every_source(source: str, active: int, inactive: set[str]) -> None:
    found = RuleSet.load(RULES, ROOT / "no lists.yaml", catalog(source))
    assert (len(found.rules), {rule.rule.name for rule in found.inactive}) == (active, inactive)


def test_few_are_live_and_none_of_them_blocks_or_approves() -> None:
    rules = RuleSet.load(RULES, ROOT / "no lists.yaml", catalog("simulator")).rules
    live = [rule for rule in rules if rule.mode == "live"]
    assert {rule.action for rule in rules} == {"review"}
    assert 2 <= len(live) <= 3
