"""The service held against its own OpenAPI document: nothing that the document allows, or forbids, makes it fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bentos.fraud_scoring.api import ENDPOINTS
from bentos.fraud_scoring.openapi import operations
from fraud_platform.features.stores.lmdb import LmdbStore
from fraud_platform_tests.bentos.workers import CATALOG, Client, settings_in, transaction, worker_of
from fraud_platform_tests.features.building import build

UNDESCRIBED = {("GET", "/docs")}
"""Pages for people."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    store = LmdbStore(tmp_path_factory.mktemp("store"), map_bytes=1 << 30)
    build(store, CATALOG.fingerprint)
    yield Client(worker_of(store, settings_in(tmp_path_factory.mktemp("warehouse"))))
    store.close()


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def schema(client: Client) -> Any:
    client.post("/predict", json=transaction("known"))
    return schemathesis.openapi.from_asgi("/openapi.json", client.app, headers={"Host": "127.0.0.1"})


ALLOWED = [(*key, GenerationMode.POSITIVE) for key in sorted(operations(dict))]
FORBIDDEN = [(*key, GenerationMode.NEGATIVE) for key, one in sorted(operations(dict).items()) if one.body]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "mode"), ALLOWED + FORBIDDEN)
def test_every_answer_is_as_the_document_says(schema: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = schema[path][method]

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, headers={"Host": "127.0.0.1"})

    holds()


def test_the_document_has_every_route_and_no_other() -> None:
    described = set(operations(dict))
    served = {(one.method, one.path) for one in ENDPOINTS} | {("GET", "/livez")}
    assert described == served - UNDESCRIBED


def test_what_a_key_may_do_is_in_the_document(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert "role score, or admin" in paths["/predict"]["post"]["description"]
    assert "security" not in paths["/health"]["get"]


def test_the_page_names_every_route_and_type_and_runs_no_script(client: Client) -> None:
    answer = client.get("/docs")
    document = client.get("/openapi.json").json()
    for name in (*document["paths"], *document["components"]["schemas"]):
        assert name.replace("{id}", "{id}") in answer.text
    assert "<script" not in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_before_the_model_is_loaded_there_is_no_document(path: str) -> None:
    assert Client(None).get(path).status_code == 503


def test_the_example_of_the_readme_is_a_transaction(client: Client) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    start = readme.index("-d '{") + 4
    assert client.post("/predict", content=readme[start : readme.index("}'", start) + 1]).status_code == 200
