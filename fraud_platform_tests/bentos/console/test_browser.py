"""The console as a person uses it: keys, a phone, the dark, and a service that goes away."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bentos.fraud_scoring.console.routes import console_routes
from fraud_platform.decisions.journal import decision_key
from fraud_platform.errors import StoreError
from fraud_platform_tests.bentos.console.fakes import KEY, FakeService
from fraud_platform_tests.bentos.console.samples import decided, file, judge
from fraud_platform_tests.bentos.console.serving import served
from fraud_platform_tests.chromium import PAGE_MS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAGES = (
    "/", "/console/queue", "/console/search?q=customer-7", "/console/score", "/console/rules", "/console/model",
    "/console/health", f"/console/decisions/{decision_key('tx-1').hex()}", "/console/decisions/none",
)  # fmt: skip

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
"""A function that gives each visible text whose contrast is below what WCAG 2.2 AA asks for."""


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    """Five payments that wait, the first with the greatest expected loss, and others."""
    service = FakeService(tmp_path)
    for i in range(5):
        file(
            service.store,
            decided(f"tx-{i}", event={"amount_cents": 100_000 - 1_000 * i, "customer_id": f"customer-{i}"}),
        )
    file(service.store, decided("approved", "approve"), decided("blocked", "block"))
    judge(service.store, "blocked", True)
    return service


@pytest.fixture
def address(service: FakeService) -> Iterator[str]:
    with served(console_routes(service)) as address:
        yield address


@pytest.fixture
def page(browser: "Browser", address: str) -> "Iterator[Page]":
    """A page on a wide screen; what its console complains of fails the test."""
    with browser.new_context(base_url=address, viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        assert complaints == []


def row(page: "Page", transaction_id: str) -> "Locator":
    return page.locator(f"#q-{decision_key(transaction_id).hex()}")


def current(page: "Page") -> str | None:
    """The transaction of the chosen row of the queue."""
    chosen = page.locator("[data-rows] [data-current]")
    ids = {f"q-{decision_key(f'tx-{i}').hex()}": f"tx-{i}" for i in range(5)}
    return ids.get(chosen.get_attribute("id") or "") if chosen.count() == 1 else None


def verdicts(service: FakeService) -> list[tuple[str, bool]]:
    return [(report.transaction_id, report.is_fraud) for report, _ in service.labels]


def test_the_queue_is_worked_through_with_one_key_each(page: "Page", service: FakeService) -> None:
    page.goto("/console/queue")
    assert current(page) == "tx-0"
    page.keyboard.press("f")
    row(page, "tx-0").get_by_text("Fraud", exact=True).wait_for()
    page.get_by_text("tx-0: fraud").wait_for()
    assert current(page) == "tx-1", "the next one is chosen"
    page.keyboard.press("j")
    page.keyboard.press("l")
    row(page, "tx-2").get_by_text("Legitimate", exact=True).wait_for()
    assert current(page) == "tx-3"
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("f")
    row(page, "tx-1").get_by_text("Fraud", exact=True).wait_for()
    assert verdicts(service) == [("tx-0", True), ("tx-2", False), ("tx-1", True)]
    page.locator("#waiting", has_text="2").wait_for()
    page.reload()
    assert page.locator("[data-rows] [data-row]").count() == 2


def test_the_last_verdict_is_corrected_with_a_key(page: "Page", service: FakeService) -> None:
    page.goto("/console/queue")
    page.keyboard.press("f")
    page.get_by_text("tx-0: fraud").wait_for()
    page.keyboard.press("u")
    row(page, "tx-0").get_by_text("Legitimate", exact=True).wait_for()
    page.get_by_text("tx-0: legitimate").wait_for()
    assert verdicts(service) == [("tx-0", True), ("tx-0", False)]


def test_what_somebody_else_judged_meanwhile_is_not_overwritten(page: "Page", service: FakeService) -> None:
    page.goto("/console/queue")
    judge(service.store, "tx-0", False, by="ben")
    page.keyboard.press("f")
    row(page, "tx-0").get_by_text("Somebody else gave a verdict meanwhile").wait_for()
    row(page, "tx-0").get_by_text("ben").wait_for()
    assert service.labels == []


def test_the_chosen_decision_is_shown_beside_the_queue(page: "Page") -> None:
    page.goto("/console/queue")
    page.locator("#peek").get_by_text("customer-0").first.wait_for()
    page.keyboard.press("j")
    page.locator("#peek").get_by_text("customer-1").first.wait_for()
    page.keyboard.press("o")
    page.wait_for_url(f"**/console/decisions/{decision_key('tx-1').hex()}")


def test_a_case_is_judged_and_replayed_without_leaving_it(page: "Page", service: FakeService) -> None:
    page.goto(f"/console/decisions/{decision_key('tx-1').hex()}")
    page.keyboard.press("l")
    page.locator("#verdict").get_by_text("Legitimate", exact=True).wait_for()
    page.keyboard.press("u")
    page.locator("#verdict").get_by_text("Fraud", exact=True).wait_for()
    assert verdicts(service) == [("tx-1", False), ("tx-1", True)]
    page.get_by_role("button", name="Decide again").click()
    page.get_by_text("The same again").wait_for()
    page.get_by_role("textbox", name="Why").fill("flutter")  # f, l and u are letters here
    page.get_by_role("button", name="Put on the list").click()
    page.get_by_text("is on the block list").wait_for()
    assert len(service.labels) == 2
    assert [entry.why for entry in service.loaded_rules().lists.entries] == ["flutter"]


def test_keys_lead_through_the_pages(page: "Page") -> None:
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.type("tx-1")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/decisions/{decision_key('tx-1').hex()}")
    for key, path in (("q", "/console/queue"), ("m", "/console/model"), ("h", "/console/health"), ("l", "/")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(f"**{path}")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Keys").wait_for(state="hidden")


def test_single_keys_can_be_turned_off(page: "Page", service: FakeService) -> None:
    page.goto("/console/queue")
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Single keys are on").uncheck()
    page.get_by_role("button", name="Close").click()
    page.reload()
    page.keyboard.press("j")
    page.keyboard.press("f")
    page.get_by_role("button", name="Keys").click()
    assert not page.get_by_label("Single keys are on").is_checked()
    assert service.labels == []


def test_decisions_appear_as_they_come_and_the_chosen_row_stays(page: "Page", service: FakeService) -> None:
    page.goto("/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    before = page.locator("[data-rows] [data-current]").get_attribute("id")
    file(service.store, decided("tx-new", event={"customer_id": "newcomer"}))
    page.get_by_text("newcomer").wait_for()
    assert page.locator("[data-rows] [data-current]").get_attribute("id") == before
    assert page.evaluate("document.activeElement.closest('[data-row]').id") == before
    page.locator("#heard", has_text="1 new not approved").wait_for(state="attached")


def test_a_paused_list_stands_still(page: "Page", service: FakeService) -> None:
    page.goto("/")
    page.keyboard.press("p")
    page.get_by_text("Paused").wait_for()
    file(service.store, decided("tx-new", event={"customer_id": "newcomer"}))
    with page.expect_event("requestfinished", lambda request: "queue/count" in request.url):
        pass  # five times as long as the list's own pace
    assert page.get_by_text("newcomer").count() == 0
    page.keyboard.press("p")
    page.get_by_text("newcomer").wait_for()


def test_a_filter_holds_for_what_comes(page: "Page", service: FakeService) -> None:
    page.goto("/?action=block")
    file(service.store, decided("a", event={"customer_id": "to-review"}))
    file(service.store, decided("b", "block", event={"customer_id": "to-block"}))
    page.get_by_text("to-block").wait_for()
    assert page.get_by_text("to-review").count() == 0


def test_a_service_that_goes_away_is_said_and_the_list_stays(
    browser: "Browser", address: str, service: FakeService
) -> None:
    def broken() -> int:
        raise StoreError("The online store cannot be read.")

    with browser.new_context(base_url=address) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        page.goto("/")
        last, service.store.last_sequence = service.store.last_sequence, broken
        page.get_by_text("The service does not answer").wait_for()
        assert page.locator("[data-rows] [data-row]").count() == 7
        service.store.last_sequence = last
        page.get_by_text("The service does not answer").wait_for(state="hidden")


def test_scoring_by_hand_leads_to_the_field_that_is_wrong(browser: "Browser", address: str) -> None:
    with browser.new_context(base_url=address) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        page.goto("/console/score")
        page.get_by_label("customer_id").fill("customer-7")
        page.get_by_label("amount_cents").fill("12,50")
        page.get_by_role("button", name="Score").click()
        page.get_by_text("Send amount_cents").first.wait_for()
        assert page.evaluate("document.activeElement.name") == "amount_cents"
        page.get_by_label("amount_cents").fill("1250")
        page.get_by_role("button", name="Score").click()
        page.get_by_text("12 purchases in the last hour").wait_for()


def test_without_scripts_everything_is_there(browser: "Browser", address: str, service: FakeService) -> None:
    service.guard.current = None
    with browser.new_context(base_url=address, java_script_enabled=False) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        page.goto("/console/queue")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Fraud").first.click()
        page.get_by_text("4 waiting").first.wait_for()
        page.goto(f"/console/decisions/{decision_key('tx-0').hex()}")
        page.get_by_role("button", name="Change to legitimate").click()
        page.get_by_role("button", name="Change to fraud").wait_for()
        assert verdicts(service) == [("tx-0", True), ("tx-0", False)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_read_in_the_light_and_in_the_dark(browser: "Browser", address: str, scheme: Any) -> None:
    with browser.new_context(base_url=address, color_scheme=scheme, viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        for path in PAGES:
            page.goto(path)
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(247, 247, 245)") == (scheme == "light")
            assert page.evaluate(f"({CONTRAST})()") == [], path
        pale = "rgb(150, 150, 150)" if scheme == "light" else "rgb(90, 90, 90)"
        page.evaluate("pale => document.querySelector('.title').attributeStyleMap.set('color', pale)", pale)
        assert page.evaluate(f"({CONTRAST})()") != [], "the measure finds what is too pale"


def test_pages_fit_a_phone(browser: "Browser", address: str, service: FakeService) -> None:
    longest = {of: of[0] * 128 for of in ("customer_id", "merchant_id", "card_id", "device_id")}
    file(service.store, decided("t" * 128, event=longest | {"amount_cents": 10**12}), decided("tx-1", event=longest))
    pages = (*PAGES, f"/console/search?q={'c' * 128}", f"/console/decisions/{decision_key('t' * 128).hex()}")
    with browser.new_context(base_url=address, viewport={"width": 375, "height": 812}, has_touch=True) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        for path in pages:
            page.goto(path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width == 375, f"{path} is {width} wide"
            assert page.get_by_role("link", name="Queue").is_visible()


def test_pages_have_no_complaints_and_show_where_the_focus_is(page: "Page") -> None:
    for path in PAGES[:-1]:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", path


def test_the_policy_lets_no_inline_script_run(browser: "Browser", address: str, service: FakeService) -> None:
    attack = "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>"
    file(service.store, decided("tx-x", event={"customer_id": attack, "merchant_id": attack}))
    with browser.new_context(base_url=address) as context:
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        page.goto(f"/console/decisions/{decision_key('tx-x').hex()}")
        page.get_by_text("onerror").first.wait_for()
        assert "taken" not in page.title()
        with pytest.raises(Exception, match="Content Security Policy"):
            page.add_script_tag(content="document.title = 'taken'")
        assert "taken" not in page.title()
