"""The console on a service that is none."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette

from bentos.fraud_scoring.console.needs import ConsoleStage
from bentos.fraud_scoring.console.routes import console_routes
from fraud_platform_tests.bentos.console.fakes import TOKEN, FakeService
from fraud_platform_tests.bentos.console.html_checks import Document
from fraud_platform_tests.chromium import running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HTMX = {"HX-Request": "true"}


class Client:
    """A browser without scripts, in this process; it does not follow redirects."""

    def __init__(self, stage: ConsoleStage) -> None:
        self.app = Starlette(routes=console_routes(stage))

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(send())

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, form: dict[str, str] | None = None, *, htmx: bool = False) -> httpx.Response:
        """A form with the session's token, which `form` may overwrite."""
        return self.request("POST", path, data={"csrf_token": TOKEN} | (form or {}), headers=HTMX if htmx else {})

    def page(self, path: str) -> Document:
        """The elements of a page that has to be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return Document(answer.text)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    return FakeService(tmp_path)


@pytest.fixture
def client(service: FakeService) -> Client:
    return Client(service)
