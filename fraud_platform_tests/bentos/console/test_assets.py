"""The files beside the pages: served, packaged, and the library as its makers published it."""

import hashlib
from pathlib import Path

import pytest

from bentos.fraud_scoring import build
from bentos.fraud_scoring.console.assets import FOLDER, read_assets
from bentos.fraud_scoring.console.rendering import FOLDER as TEMPLATES
from bentos.fraud_scoring.console.rendering import environment
from fraud_platform_tests.bentos.console.conftest import Client


def test_static_files_are_kept_by_their_content(client: Client) -> None:
    styles = [of.attributes["href"] for of in client.page("/").all("link", rel="stylesheet")]
    for address in styles:
        answer = client.get(address)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
        again = client.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
    assert client.get("/console/static/console.css").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["", "none.css", "../routes.py", "%2e%2e/routes.py", "htmx", "..%2froutes.py"])
def test_nothing_but_the_static_files_is_served(client: Client, name: str) -> None:
    assert client.get(f"/console/static/{name}").status_code == 404


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_vendored_library_is_the_one_that_it_says() -> None:
    assets = read_assets()
    said = assets["htmx/VERSION"].content.decode()
    library = assets["htmx/htmx.min.js"].content
    assert hashlib.sha256(library).hexdigest() in said
    assert f'"{said.split()[1]}"'.encode() in library
    assert b"Zero-Clause BSD" in assets["htmx/LICENSE"].content


def test_pages_and_their_files_are_packaged(tmp_path: Path) -> None:
    build.stage(tmp_path)
    packaged = tmp_path / "bentos" / "fraud_scoring" / "console"
    for folder in (FOLDER, TEMPLATES):
        assert files_in(packaged / folder.name) == files_in(folder)
    assert {"jinja2", "itsdangerous"} <= set(build.LIBRARIES)


@pytest.mark.parametrize("name", environment().list_templates())
def test_every_template_can_be_read(name: str) -> None:
    assert environment().get_template(name)
