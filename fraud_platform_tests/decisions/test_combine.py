"""What rules and lists do to the model's action: cases by hand, and properties over anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_platform.decisions.policy import NO_MATCHES, SEVERITY, Action, Match, Matches, combine

ACTIONS: tuple[Action, ...] = ("approve", "review", "block")
BLOCKED = Match("block list: card_id", "block", 0, "list", "stolen")
ALLOWED = Match("allow list: customer_id", "approve", 0, "list", "our own test account")
WATCHED = Match("watch list: device_id", "review", 0, "list", "seen in a ring")

rules = st.builds(
    Match,
    st.sampled_from(["velocity", "night", "mule", "trusted"]),
    st.sampled_from(ACTIONS),
    st.integers(1, 100),
    st.just("rule"),
    st.just("why"),
)
anything = st.lists(st.one_of(rules, st.sampled_from([BLOCKED, ALLOWED, WATCHED])), max_size=8).map(tuple)
model_actions = st.sampled_from([None, *ACTIONS])


def rule(action: Action, weight: int, name: str = "rule") -> Match:
    return Match(name, action, weight, "rule", "why")


@pytest.mark.parametrize(
    ("model_action", "live", "expected"),
    [
        (None, (), ("review", ())),
        ("approve", (), ("approve", ())),
        ("block", (), ("block", ())),
        ("approve", (BLOCKED,), ("block", ("block list: card_id",))),
        ("block", (ALLOWED,), ("approve", ("allow list: customer_id",))),
        ("approve", (ALLOWED, BLOCKED), ("block", ("block list: card_id", "allow list: customer_id"))),
        ("approve", (rule("block", 100), ALLOWED), ("approve", ("allow list: customer_id", "rule"))),
        ("approve", (WATCHED,), ("review", ("watch list: device_id",))),
        ("block", (WATCHED,), ("block", ("watch list: device_id",))),
        (None, (WATCHED,), ("review", ("watch list: device_id",))),
        ("approve", (ALLOWED, WATCHED), ("review", ("watch list: device_id", "allow list: customer_id"))),
        ("review", (rule("approve", 50), WATCHED), ("review", ("watch list: device_id", "rule"))),
        ("block", (rule("review", 50), WATCHED), ("block", ("rule", "watch list: device_id"))),
        ("approve", (rule("review", 10),), ("review", ("rule",))),
        ("block", (rule("review", 10),), ("block", ("rule",))),
        ("review", (rule("block", 1),), ("block", ("rule",))),
        ("block", (rule("approve", 1),), ("approve", ("rule",))),
        (None, (rule("approve", 1),), ("approve", ("rule",))),
        (None, (rule("review", 1),), ("review", ("rule",))),
        ("block", (rule("approve", 50, "trusted"), rule("review", 50, "night")), ("block", ("night", "trusted"))),
        ("block", (rule("approve", 51, "trusted"), rule("review", 50, "night")), ("approve", ("trusted", "night"))),
        ("approve", (rule("review", 60, "night"), rule("block", 50, "mule")), ("review", ("night", "mule"))),
        ("approve", (rule("review", 50, "night"), rule("block", 50, "mule")), ("block", ("mule", "night"))),
    ],
)
def test_who_decides(
    model_action: Action | None, live: tuple[Match, ...], expected: tuple[Action, tuple[str, ...]]
) -> None:
    assert combine(model_action, Matches(live)) == expected


@given(model_actions, anything)
def test_a_block_list_always_blocks(model_action: Action | None, live: tuple[Match, ...]) -> None:
    action, names = combine(model_action, Matches((*live, BLOCKED)))
    assert (action, names[0]) == ("block", BLOCKED.name)


@given(model_actions, anything)
def test_a_watch_list_never_lets_anything_be_approved(model_action: Action | None, live: tuple[Match, ...]) -> None:
    assert combine(model_action, Matches((*live, WATCHED)))[0] != "approve"


@given(model_actions, st.lists(rules, max_size=8))
def test_an_allow_list_outweighs_every_rule_and_the_model(model_action: Action | None, live: list[Match]) -> None:
    assert combine(model_action, Matches((*live, ALLOWED)))[0] == "approve"


@given(st.sampled_from(ACTIONS), st.lists(rules.filter(lambda match: match.action != "approve"), max_size=8))
def test_rules_for_review_or_block_never_make_it_milder(model_action: Action, live: list[Match]) -> None:
    assert SEVERITY[combine(model_action, Matches(tuple(live)))[0]] >= SEVERITY[model_action]


@given(st.sampled_from(ACTIONS), st.lists(rules, max_size=8))
def test_only_the_heaviest_approval_makes_it_milder(model_action: Action, live: list[Match]) -> None:
    """Against a rule of one line: the maximum of (weight, severity)."""
    action, _ = combine(model_action, Matches(tuple(live)))
    if not live:
        assert action == model_action
        return
    heaviest = max(live, key=lambda match: (match.weight, SEVERITY[match.action]))
    expected = "approve" if heaviest.action == "approve" else max(heaviest.action, model_action, key=SEVERITY.get)
    assert action == expected


@given(model_actions, anything, st.randoms())
def test_the_order_in_which_they_matched_does_not_matter(model_action, live, random) -> None:
    shuffled = random.sample(live, len(live))
    first, again = combine(model_action, Matches(live)), combine(model_action, Matches(tuple(shuffled)))
    assert first[0] == again[0] and sorted(first[1]) == sorted(again[1])


@given(model_actions, anything)
def test_every_match_is_named_and_what_runs_in_shadow_changes_nothing(model_action, live) -> None:
    action, names = combine(model_action, Matches(live))
    assert sorted(names) == sorted(match.name for match in live)
    assert combine(model_action, Matches(live, shadow=(BLOCKED, rule("block", 100)))) == (action, names)


def test_no_matches_leave_the_model_alone() -> None:
    assert [combine(action, NO_MATCHES) for action in ACTIONS] == [(action, ()) for action in ACTIONS]
