"""Who may use the console, how they log in, and what is no form of it."""

import pytest

from bentos.fraud_scoring.console.forms import FORM_BYTES
from bentos.fraud_scoring.console.pages import local_path
from bentos.fraud_scoring.console.routes import CHANGING, READING
from fraud_platform_tests.bentos.console.conftest import HTMX, Client
from fraud_platform_tests.bentos.console.fakes import KEY, FakePrincipal, FakeService, FakeSession
from fraud_platform_tests.bentos.console.html_checks import problems_of
from fraud_platform_tests.bentos.console.samples import decided, file
from fraud_platform_tests.bentos.console.test_changes import ID, SCORED, verdict


@pytest.mark.parametrize("path", sorted(CHANGING))
def test_no_form_counts_without_the_sessions_token(client: Client, service: FakeService, path: str) -> None:
    file(service.store, decided("tx-1"))
    sent = verdict() | SCORED | {"csrf_token": "another"}
    answer = client.post(path.replace("{decision_id}", ID), sent)
    assert answer.status_code == 403
    assert service.labels == [] and service.guard.current is not None and service.store.last_sequence() == 1


@pytest.mark.parametrize("path", sorted(READING))
def test_nothing_is_shown_before_the_login(client: Client, service: FakeService, path: str) -> None:
    file(service.store, decided("tx-1"))
    service.guard.current = None
    address = path.replace("{decision_id}", ID).replace("{rest:path}", "none")
    answer = client.get(address + "?q=a%26b")
    assert answer.status_code == 303 and not answer.content
    assert answer.headers["Location"].startswith("/console/login?next=%2F")
    part = client.get(address, headers=HTMX)
    assert (part.status_code, part.headers["HX-Redirect"]) == (204, "/console/login?next=%2F")


@pytest.mark.parametrize("path", sorted(CHANGING))
def test_nothing_is_changed_before_the_login(client: Client, service: FakeService, path: str) -> None:
    file(service.store, decided("tx-1"))
    service.guard.current = None
    answer = client.post(path.replace("{decision_id}", ID), verdict() | SCORED)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/login?next=%2F")
    assert service.labels == [] and service.store.last_sequence() == 1


@pytest.mark.parametrize(
    ("roles", "status"), [({"score"}, 403), ({"label"}, 403), ({"analyst"}, 200), ({"admin"}, 200)]
)
def test_the_console_is_for_analysts_and_admins(
    client: Client, service: FakeService, roles: set[str], status: int
) -> None:
    service.guard.current = FakeSession(FakePrincipal("key", frozenset(roles)))
    assert client.get("/").status_code == status
    assert client.post("/console/score", SCORED).status_code == status


def test_a_login_comes_back_to_the_page_that_was_asked_for(client: Client, service: FakeService) -> None:
    service.guard.current = None
    asked = client.get("/console/search?q=a%26b").headers["Location"]
    (field,) = client.page(asked).all("input", name="next")
    assert field.attributes["value"] == "/console/search?q=a%26b"
    wrong = client.post("/console/login", {"key": "wrong", "next": "/console/queue"})
    assert wrong.status_code == 401 and "There is no such key" in wrong.text and "wrong" not in wrong.text
    right = client.post("/console/login", {"key": KEY, "next": "/console/queue"})
    assert (right.status_code, right.headers["Location"]) == (303, "/console/queue")
    assert right.headers["Set-Cookie"].startswith("fraud_session=made")
    assert client.get("/console/login?next=/console/queue").headers["Location"] == "/console/queue"


def test_logging_out_ends_the_session(client: Client, service: FakeService) -> None:
    answer = client.post("/console/logout")
    assert answer.headers["Location"] == "/console/login" and "Max-Age=0" in answer.headers["Set-Cookie"]
    assert service.guard.current is None


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/\n/evil", "evil"])
def test_a_login_leads_nowhere_else(path: str) -> None:
    assert local_path(path) == "/"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("a=1", "application/json", 415),
        ("a=" + "x" * FORM_BYTES, "application/x-www-form-urlencoded", 413),
        ("&".join(["a=1"] * 300), "application/x-www-form-urlencoded", 422),
        ("a=%ff", "application/x-www-form-urlencoded", 422),
        (b"a=\xff", "application/x-www-form-urlencoded", 422),
        ("", "application/x-www-form-urlencoded", 403),
    ],
)
def test_a_form_that_is_none_is_refused(client: Client, body: str | bytes, kind: str, status: int) -> None:
    answer = client.request("POST", "/console/verdicts", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status and problems_of(answer.text) == []


@pytest.mark.parametrize("path", ["/console/none", "/console/queue/none/at/all", "/console/"])
def test_where_there_is_nothing_a_page_says_so(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "There is no such page" in answer.text
    assert problems_of(answer.text) == []


def test_the_consoles_own_address_leads_to_its_first_page(client: Client) -> None:
    assert client.get("/console").headers["Location"] == "/"
