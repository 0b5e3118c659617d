"""What the console shows: each handler reads through the desk and fills one template."""

from datetime import UTC, datetime
from functools import partial
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import uuid4

import msgspec
from starlette.responses import Response

from bentos.fraud_scoring.body import RequestRefused
from bentos.fraud_scoring.cases import Recent, Wanted
from bentos.fraud_scoring.console.forms import transaction_fields
from bentos.fraud_scoring.console.visits import HEADERS, Visit, moved
from fraud_platform.decisions.policy import Action, RiskLevel

LIVE_ROWS = 50
QUEUE_ROWS = 50
MOST_QUEUE_ROWS = 500
FILTERS = (
    ("Action", "action", {"": "All actions", "review": "Review", "block": "Blocked", "approve": "Approved"}),
    ("Risk", "risk", {"": "All risks", "high": "High", "medium": "Medium", "low": "Low"}),
    ("Service", "degraded", {"": "Any service", "1": "Degraded"}),
)
"""Title, field, and the title of each of its values."""
LONGEST_SEARCH = 128
"""Characters; no id is longer."""


async def live(visit: Visit) -> Response:
    """The newest decisions; its list asks for itself again."""
    wanted = _wanted(visit)
    return await visit.page("live.html", partial(_recent, visit, wanted), wanted=wanted, filters=filter_links(wanted))


async def live_list(visit: Visit) -> Response:
    """The list alone; 204 where nothing was added since."""
    since = _number(visit, "since")
    if since is not None and await visit.thread(visit.desk.last) == since:
        return Response(status_code=204, headers=HEADERS)
    wanted = _wanted(visit)
    return await visit.page("live_list.html", partial(_recent, visit, wanted), wanted=wanted)


async def queue(visit: Visit) -> Response:
    """What waits, the greatest expected loss first."""
    limit = _count(visit, "show", QUEUE_ROWS, MOST_QUEUE_ROWS)

    def load() -> dict[str, Any]:
        found = visit.desk.queue(limit)
        return {"queue": found, "waiting": found.waiting}

    return await visit.page("queue.html", load, more=min(limit + QUEUE_ROWS, MOST_QUEUE_ROWS), limit=limit)


async def queue_count(visit: Visit) -> Response:
    """How many wait, for the navigation."""
    return await visit.page("queue_count.html", lambda: {"waiting": visit.desk.waiting()})


async def case(visit: Visit) -> Response:
    """A decision with everything that belongs to it."""
    decision_id = visit.request.path_params["decision_id"]

    def load() -> dict[str, Any]:
        found = visit.desk.case(decision_id)
        return {"case": found, "row": found.row, "inputs": visit.desk.inputs(found.row.decided)}

    return await visit.page("case.html", load)


async def peek(visit: Visit) -> Response:
    """The part of a case that an analyst reads beside the queue."""
    decision_id = visit.request.path_params["decision_id"]

    def load() -> dict[str, Any]:
        found = visit.desk.case(decision_id)
        return {"case": found, "row": found.row}

    return await visit.page("peek.html", load)


async def search(visit: Visit) -> Response:
    """A decision that is found by its id is shown at once."""
    text = visit.request.query_params.get("q", "").strip()
    if not text or len(text) > LONGEST_SEARCH:
        return await visit.page("search.html", text=text, found=None, too_long=len(text) > LONGEST_SEARCH)
    found = await visit.thread(partial(visit.desk.search, text))
    if len(found.exact) == 1 and not found.groups:
        return moved(visit, f"/console/decisions/{found.exact[0].decided.decision.decision_id}")
    return await visit.page("search.html", text=text, found=found, too_long=False)


async def score_form(visit: Visit) -> Response:
    """An empty form, with an id of its own and the present time."""
    now = datetime.now(UTC).replace(microsecond=0)
    given = {"transaction_id": f"manual-{uuid4().hex[:12]}", "event_time": now.isoformat().replace("+00:00", "Z")}
    return await visit.page("score.html", fields=score_fields(visit), given=given, error=None, row=None)


async def rules(visit: Visit) -> Response:
    return await visit.page("rules.html", lambda: {"rulebook": visit.desk.rules()}, given={}, error=None)


async def model(visit: Visit) -> Response:
    return await visit.page("model.html", lambda: {"model": visit.desk.model_card()})


async def health(visit: Visit) -> Response:
    """The whole page; htmx takes the figures out of it."""
    found = await visit.service.lane.run(visit.service.health)
    return await visit.page("health.html", lambda: {"health": visit.desk.health(found)})


async def home(visit: Visit) -> Response:
    return moved(visit, "/")


async def nowhere(visit: Visit) -> Response:
    """
    Raises:
        RequestRefused: 404.
    """
    raise RequestRefused(404, "not_found", "There is no such page.", "The navigation lists all there are.")


async def login_form(visit: Visit) -> Response:
    """Where a session exists there is nothing to log in to."""
    back = local_path(visit.request.query_params.get("next", "/"))
    if visit.session is not None:
        return moved(visit, back)
    return await visit.page("login.html", lambda: {"waiting": None}, back=back, message=None)


def filter_links(wanted: Wanted) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """The live list's filters by kind, each a title, its address, and whether it is on."""
    chosen = {"action": wanted.action or "", "risk": wanted.risk or "", "degraded": "1" if wanted.degraded else ""}

    def links(key: str, titles: dict[str, str]) -> list[tuple[str, str, bool]]:
        found: list[tuple[str, str, bool]] = []
        for value, title in titles.items():
            query = urlencode({name: of for name, of in (chosen | {key: value}).items() if of})
            found.append((title, f"/?{query}" if query else "/", chosen[key] == value))
        return found

    return [(title, links(key, titles)) for title, key, titles in FILTERS]


def score_fields(visit: Visit) -> list[Any]:
    """The inputs of the form to score by hand."""
    champion = visit.service.models.champion
    given = champion.artefact.card.catalog.columns_given if champion else ()
    return transaction_fields(given, visit.service.attributes)


def local_path(path: str) -> str:
    """The path where it is one of this site's, else the first page: a link must not lead people elsewhere."""
    harmless = path.startswith("/") and not path.startswith("//") and path.isprintable() and "\\" not in path
    return path if harmless else "/"


def _recent(visit: Visit, wanted: Wanted) -> dict[str, Recent]:
    return {"recent": visit.desk.recent(0, LIVE_ROWS, wanted)}


def _wanted(visit: Visit) -> Wanted:
    """The filter of the address; what it does not know counts as all."""
    asked = visit.request.query_params
    return Wanted(
        action=msgspec.convert(asked["action"], Action) if asked.get("action") in get_args(Action) else None,
        risk=msgspec.convert(asked["risk"], RiskLevel) if asked.get("risk") in get_args(RiskLevel) else None,
        degraded=asked.get("degraded") == "1",
    )


def _count(visit: Visit, name: str, default: int, most: int) -> int:
    asked = _number(visit, name)
    return default if asked is None else min(max(asked, 1), most)


def _number(visit: Visit, name: str) -> int | None:
    """A whole number of the address that any sequence has room for."""
    asked = visit.request.query_params.get(name, "")
    return int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 20 else None
