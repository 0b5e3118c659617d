"""What the console changes: verdicts, lists, a decision made by hand, and who is logged in.

Each form carries the session's token. The service does the work and writes the audit; here are only the answers.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from starlette.responses import Response

from bentos.fraud_scoring.body import RequestRefused
from bentos.fraud_scoring.cases import Row
from bentos.fraud_scoring.console import pages
from bentos.fraud_scoring.console.forms import read_form, transaction_body
from bentos.fraud_scoring.console.visits import Visit, moved
from fraud_platform.decisions.lists import ListEntry, add, new_entry, remove
from fraud_platform.errors import ConflictingTransaction, InvalidTransaction, RulesError
from fraud_platform.transactions.label_request import LabelReport

VERDICTS = {"fraud": True, "legitimate": False}
WHERE = {"queue": "queue_row.html", "case": "case_verdict.html"}
"""The template that shows a verdict, by the place where it was given."""
DAYS = ("7", "30", "90")
"""How long an entry of a list can count, where it does not for ever."""


async def changing_form(visit: Visit) -> dict[str, str]:
    """The form, once its token is right.

    Raises:
        RequestRefused: 403 for a wrong token or another origin; what `read_form` refuses.
    """
    form = await read_form(visit.request)
    assert visit.session is not None, "the routes let nobody in here without a session"
    visit.service.guard.check_csrf(visit.request, visit.session, form.get("csrf_token"))
    return form


async def verdict(visit: Visit) -> Response:
    """A verdict, or a correction of one. If another person was faster, that is said first, and nothing is changed."""
    form = await changing_form(visit)
    is_fraud = VERDICTS.get(form.get("verdict", ""))
    if is_fraud is None:
        raise RequestRefused(422, "invalid_form", "A verdict is fraud or legitimate.", "Use the buttons of the page.")
    decision_id = form.get("decision_id", "")
    row = await visit.thread(partial(visit.desk.row, decision_id))
    overtaken = form.get("seen", "") != seen(row)
    if not overtaken:
        report = LabelReport(row.decided.decision.transaction_id, is_fraud, datetime.now(UTC), "analyst")
        await visit.service.label(report, visit.name)
    if not visit.partial:
        return moved(visit, "/console/queue" if form.get("where") == "queue" else f"/console/decisions/{decision_id}")
    template = WHERE.get(form.get("where", ""), WHERE["case"])

    def load() -> dict[str, Any]:
        return {"row": visit.desk.row(decision_id), "waiting": visit.desk.waiting()}

    return await visit.page(template, load, overtaken=overtaken, announce=True)


async def replay(visit: Visit) -> Response:
    """Decide again on what was stored, and show whether it is the same."""
    await changing_form(visit)
    decision_id = visit.request.path_params["decision_id"]
    row = await visit.thread(partial(visit.desk.row, decision_id))
    found = await visit.service.lane.run(partial(visit.service.replay, decision_id))
    return await visit.page("replay.html" if visit.partial else "replay_page.html", replay=found, row=row)


async def score(visit: Visit) -> Response:
    """Decide on a transaction that a person typed; an error is shown at its field."""
    form = await changing_form(visit)
    fields = pages.score_fields(visit)
    row, error, status = None, None, 200
    try:
        decision = await visit.service.decide(transaction_body(form, fields))
        row = await visit.thread(partial(visit.desk.row, decision.decision_id))
    except InvalidTransaction as refused:
        error, status = {"field": refused.field, "message": str(refused), "fix": refused.fix}, 422
    except ConflictingTransaction as refused:
        fix = "Give it another transaction_id, or search for the one that was decided."
        error, status = {"field": "transaction_id", "message": str(refused), "fix": fix}, 409
    return await visit.page("score.html", status=status, fields=fields, given=form, error=error, row=row)


async def add_entry(visit: Visit) -> Response:
    """Put a value onto a list; every worker takes it in within seconds."""
    form = await changing_form(visit)
    try:
        entry = await visit.thread(partial(_add, visit, form))
    except RulesError as refused:
        return await _lists(visit, form, str(refused))
    if visit.partial:
        return await visit.page("listed.html", entry=entry)
    return moved(visit, "/console/rules#lists")


async def remove_entry(visit: Visit) -> Response:
    """Take an entry off its list."""
    form = await changing_form(visit)
    try:
        await visit.thread(partial(_remove, visit, form))
    except RulesError as refused:
        return await _lists(visit, {}, str(refused))
    return moved(visit, "/console/rules#lists")


async def login(visit: Visit) -> Response:
    """A session for a key; a wrong one is said on the same page."""
    guard = visit.service.guard
    form = await read_form(visit.request)
    guard.check_origin(visit.request)
    back = pages.local_path(form.get("next", "/"))
    try:
        cookie = guard.login(visit.request, form.get("key", ""))
    except RequestRefused as refused:
        message = " ".join(filter(None, [refused.refusal.message, refused.refusal.fix]))
        answer = await visit.page("login.html", lambda: {"waiting": None}, refused.status, back=back, message=message)
        answer.headers.update(refused.headers)
        return answer
    return moved(visit, back, {"Set-Cookie": cookie})


async def logout(visit: Visit) -> Response:
    await changing_form(visit)
    return moved(visit, "/console/login", {"Set-Cookie": visit.service.guard.logout(visit.request)})


def seen(row: Row) -> str:
    """Which verdict a page shows, so that the next one cannot overwrite one that its author has not seen."""
    return str(row.label.reported_us) if row.label else ""


def _add(visit: Visit, form: dict[str, str]) -> ListEntry:
    entity, _, value = form.get("subject", "").partition("=")
    days = form.get("days", "")
    until = datetime.now(UTC) + timedelta(days=int(days)) if days in DAYS else None
    entry = new_entry(
        form.get("list", ""),  # pyright: ignore[reportArgumentType] - it is checked there
        form.get("entity", entity),
        form.get("value", value),
        visit.name,
        form.get("why", ""),
        until,
    )
    add(visit.service.settings.lists, entry, partial(visit.service.audit.write, visit.name))
    return entry


def _remove(visit: Visit, form: dict[str, str]) -> None:
    list_, entity, value = (form.get(name, "") for name in ("list", "entity", "value"))
    audit = partial(visit.service.audit.write, visit.name)
    remove(visit.service.settings.lists, list_, entity, value, visit.name, audit)  # pyright: ignore[reportArgumentType]


async def _lists(visit: Visit, given: dict[str, str], message: str) -> Response:
    if visit.partial:
        return await visit.page("error_part.html", status=422, title="Not changed", message=message)
    return await visit.page("rules.html", lambda: {"rulebook": visit.desk.rules()}, 422, given=given, error=message)
