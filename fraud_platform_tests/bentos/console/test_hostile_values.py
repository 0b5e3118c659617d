"""No value breaks out of its place, whatever somebody has put into it."""

from html import unescape

import pytest

from fraud_platform.decisions.deployment import Deployment, LastPromotion, write_deployment
from fraud_platform.decisions.journal import Reason, Shadow
from fraud_platform_tests.bentos.console.conftest import Client
from fraud_platform_tests.bentos.console.fakes import (
    FakeHealth,
    FakeModel,
    FakeModels,
    FakePackage,
    FakePart,
    FakePrincipal,
    FakeService,
    FakeSession,
)
from fraud_platform_tests.bentos.console.html_checks import Document, problems_of
from fraud_platform_tests.bentos.console.samples import NOW, card, decided, file, judge
from fraud_platform_tests.bentos.console.test_pages import CASE, PAGES

LONGEST = "x" * 128
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202e\u2067exe.txt\u0000",
    "مرحبا بالعالم",
    "</textarea></select></dialog>",
    "<hx-partial hx-target=body>",
    LONGEST,
)


def filled(service: FakeService, value: str) -> None:
    """A store in which everything that can be text is this text."""
    texts = (
        "customer_id",
        "merchant_id",
        "card_id",
        "device_id",
        "merchant_category",
        "channel",
        "currency",
        "ip_address",
    )
    hostile = decided(
        "tx-1",
        event=dict.fromkeys(texts, value) | {"note": value},
        reasons=(Reason(value, value, None, 0.4), Reason("amount", value, 1.0, -0.1)),
        decision={"matched_rules": (value,), "model_version": value, "catalog_fingerprint": value, "degraded": True},
        served_by="fallback",
        shadow=Shadow(value, 0.9, "block"),
        shadow_rules=(value,),
        rules_digest=value,
    )
    file(service.store, hostile, decided(value, event=dict.fromkeys(texts, value)))
    judge(service.store, "tx-1", True, by=value, fraud_type=value)
    service.state = FakeHealth("degraded", (FakePart(value, False, value),))
    service.rules_problem = value
    hostile_card = card(warnings=(value,), algorithm=value, source=value, parameters={value: value})
    service.models = FakeModels(
        FakeModel(value, FakePackage(hostile_card)), FakeModel(value, FakePackage(hostile_card))
    )
    service.guard.current = FakeSession(FakePrincipal(value))
    write_deployment(service.settings.deployment, Deployment(promotion=LastPromotion(value, 2, value, value, NOW)))


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:24])
@pytest.mark.parametrize("path", [*PAGES, CASE, f"{CASE}/peek"])
def test_no_value_breaks_out_of_its_place(client: Client, service: FakeService, path: str, value: str) -> None:
    filled(service, value)
    answer = client.get(path)
    assert answer.status_code == 200
    assert problems_of(answer.text) == []
    page = Document(answer.text)
    assert not page.all("img") and not page.all("hx-partial")
    if "<" in value or '"' in value:
        assert value not in answer.text and value not in unescape(answer.text.replace("&lt;", "").replace("&#34;", ""))


@pytest.mark.parametrize("text", HOSTILE, ids=lambda value: repr(value)[:24])
def test_what_is_searched_for_is_shown_as_text(client: Client, text: str) -> None:
    answer = client.get("/console/search", params={"q": text})
    assert answer.status_code == 200
    assert problems_of(answer.text) == []
    (field,) = Document(answer.text).all("input", id="find")
    assert field.attributes["value"] == text.strip()
