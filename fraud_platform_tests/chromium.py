"""Headless Chromium, as the browser tests start it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fraud_platform_tests.components import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE_MS = 60_000
"""How long a page may take to show something, on a busy machine."""


@contextmanager
def running_chromium() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
