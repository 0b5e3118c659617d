"""Templates to HTML. Every value is escaped; a name that a template does not get is an error, not an empty string."""

from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from bentos.fraud_scoring.console import charts, formats
from bentos.fraud_scoring.console.assets import asset_url, read_assets
from bentos.fraud_scoring.model_view import MEANINGS
from fraud_platform.decisions.journal import Decided, Decision

FOLDER = Path(__file__).with_name("templates")

ENTITIES = {
    "customer_id": "Customer",
    "card_id": "Card",
    "device_id": "Device",
    "merchant_id": "Merchant",
    "ip_address": "IP address",
}
"""What a list may be about, and what it is called on the pages."""


@cache
def environment() -> jinja2.Environment:
    """The templates with the filters and functions that they use; compiled once in a process."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "money": formats.money,
        "percent": formats.percent,
        "points": formats.points,
        "number": formats.number,
        "figure": formats.figure,
        "duration": formats.duration,
        "moment": formats.moment,
        "full_time": formats.full_time,
        "short_time": formats.short_time,
        "day_time": formats.day_time,
        "ago": formats.ago,
        "meaning": _meaning,
        "query": partial(quote, safe=""),
        "why": first_reason,
        "signals": signals,
    }
    made.globals |= {"static": partial(asset_url, read_assets()), "charts": charts, "ENTITIES": ENTITIES}
    return made


def first_reason(decision: Decision) -> str:
    """Why a payment was not approved, in one line: the rule that decided, else the heaviest reason."""
    if decision.matched_rules:
        return f"Rule {decision.matched_rules[0]}"
    return decision.reasons[0].text if decision.reasons else ""


def signals(decided: Decided) -> list[tuple[str, str]]:
    """What is unusual about how it was decided: a word, and a sentence for it."""
    decision, shadow = decided.decision, decided.shadow
    found: list[tuple[str, str]] = []
    if decision.degraded:
        found.append(("degraded", f"The champion did not decide: {decided.served_by} did."))
    elif decided.served_by != "champion":
        found.append((decided.served_by, f"Decided by the {decided.served_by}."))
    if decision.late:
        found.append(("late", "A later event of its customer, card, device or merchant was known already."))
    if shadow is not None and shadow.action != decision.action:
        found.append(("shadow differs", f"Version {shadow.model_version} would have said {shadow.action}."))
    return found


def _meaning(feature: str) -> str:
    """What an input says; of one that is 1 where something holds, what holds."""
    return MEANINGS.get(feature, feature).removeprefix("1 where ").removeprefix("1 for ")


def render(templates: jinja2.Environment, name: str, context: dict[str, Any]) -> str:
    """One template as HTML."""
    return templates.get_template(name).render(context)
