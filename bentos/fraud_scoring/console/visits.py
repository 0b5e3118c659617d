"""One request of a person: who it is, what may be done, and the HTML that answers.

Reading the store and rendering happen in a thread, so that a page never holds up the decisions of the same worker.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import jinja2
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bentos.fraud_scoring.console.needs import ConsoleService, ConsoleStage
from bentos.fraud_scoring.console.rendering import render
from bentos.fraud_scoring.desk import Desk
from bentos.fraud_scoring.sessions import Session

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
THREADS = 2
"""Pages that a worker makes at once: more would take its one processor from the decisions."""

T = TypeVar("T")
Context = dict[str, Any]


@dataclass(frozen=True)
class Console:
    """What all requests share. The stage has its worker only once that has loaded its model."""

    stage: ConsoleStage
    templates: jinja2.Environment
    threads: anyio.CapacityLimiter


@dataclass(frozen=True)
class Visit:
    """One request of a person who is logged in, or, without a session, of one who wants to be."""

    request: Request
    console: Console
    session: Session | None

    @property
    def service(self) -> ConsoleService:
        return self.console.stage.worker

    @property
    def desk(self) -> Desk:
        return Desk(self.service)

    @property
    def partial(self) -> bool:
        """Whether htmx asks, for a part of a page."""
        return self.request.headers.get("HX-Request") == "true"

    @property
    def name(self) -> str:
        """Of the person's key."""
        return self.session.principal.name if self.session else ""

    async def page(
        self, template: str, load: Callable[[], Context] | None = None, status: int = 200, **context: Any
    ) -> Response:
        """A template filled with what `load` reads, in a thread; a whole page also shows how many decisions wait."""
        return html(await self.thread(partial(self._make, template, load, context)), status)

    async def thread(self, work: Callable[[], T]) -> T:
        """Run something that reads the store."""
        return await to_thread.run_sync(work, limiter=self.console.threads)

    def _make(self, template: str, load: Callable[[], Context] | None, context: Context) -> str:
        loaded = load() if load else {}
        if not self.partial and "waiting" not in loaded:
            loaded["waiting"] = self.desk.waiting()
        return render(self.console.templates, template, self.base() | context | loaded)

    def base(self) -> Context:
        """What every template may use."""
        return {
            "person": self.session.principal if self.session else None,
            "csrf": self.session.csrf if self.session else "",
            "path": self.request.url.path,
            "waiting": None,
        }


Handler = Callable[[Visit], Awaitable[Response]]


def html(content: str, status: int = 200, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """A page or a part of one."""
    return HTMLResponse(content, status, HEADERS | dict(headers or {}))


def moved(visit: Visit, address: str, headers: Mapping[str, str] | None = None) -> Response:
    """Send the browser to another page, also where htmx asked."""
    if visit.partial:
        return Response(status_code=204, headers=HEADERS | {"HX-Redirect": address} | dict(headers or {}))
    return Response(status_code=303, headers=HEADERS | {"Location": address} | dict(headers or {}))
