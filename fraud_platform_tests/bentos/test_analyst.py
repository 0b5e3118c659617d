"""An analyst from end to end: a payment scored by hand, found in the queue, judged, and back in the warehouse."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from fraud_platform.decisions.lists import add, new_entry
from fraud_platform.definitions import build_definitions
from fraud_platform.defs.service import running_service
from fraud_platform.settings import Settings
from fraud_platform.warehouse import connect
from fraud_platform_tests.chromium import PAGE_MS, running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PAYMENT = {
    "transaction_id": "by-hand-1",
    "event_time": "2026-02-10T12:00:00Z",
    "customer_id": "watched-customer",
    "amount_cents": "123456",
    "merchant_id": "m1",
}
FEEDBACK = ("decision_log", "live_transactions", "feedback_labels")


@pytest.fixture
def page(the_day_before: Settings, bento: str, tmp_path: Path) -> Iterator["Page"]:
    """The console of a real service, which sends every payment of one customer to review."""
    entry = new_entry("watch", "customer_id", PAYMENT["customer_id"], "test", "so that it is reviewed")
    add(the_day_before.lists, entry, lambda action, details: None)
    with (
        running_service(the_day_before, bento, tmp_path / "run", workers=2) as client,
        running_chromium() as browser,
        browser.new_context(base_url=str(client.base_url)) as context,
    ):
        page = context.new_page()
        page.set_default_timeout(PAGE_MS)
        yield page


def test_a_payment_scored_by_hand_is_judged_and_its_label_reaches_the_warehouse(
    page: "Page", the_day_before: Settings
) -> None:
    page.goto("/console/score")
    for name, value in PAYMENT.items():
        page.fill(f"#in-{name}", value)
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_role("status").get_by_text("Review").wait_for()

    page.goto("/console/queue")
    page.get_by_text("1,234.56").first.wait_for()
    page.get_by_text(PAYMENT["customer_id"]).first.wait_for()
    with page.expect_response(lambda response: response.url.endswith("/console/verdicts")) as verdict:
        page.keyboard.press("f")
    assert verdict.value.ok

    decisions, labels = _drained(the_day_before)
    assert decisions == [("by-hand-1", "review", ["watch list: customer_id"])]
    assert labels == [("by-hand-1", True, "analyst", "local")]


def _drained(settings: Settings) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """What the warehouse has of the payment once the outbox was drained by Dagster."""
    run = (
        build_definitions(settings)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(asset_selection=[dg.AssetKey(name) for name in FEEDBACK])
    )
    assert run.success
    with connect(settings.database, read_only=True) as connection:
        decisions = connection.sql("SELECT transaction_id, action, matched_rules FROM decision_log").fetchall()
        labels = connection.sql("SELECT transaction_id, is_fraud, source, reported_by FROM feedback_labels").fetchall()
    return decisions, labels
