"""Without keys the service listens to this machine alone: by what it is going to bind, and by what it has bound."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from bentos.fraud_scoring import binding
from bentos.fraud_scoring.binding import exposed, listening_hosts, refuse_open_binding
from fraud_platform import access
from fraud_platform.errors import AccessError
from fraud_platform.settings import Settings
from fraud_platform_tests.installation import ROOT

SERVICE = Path(__file__).with_name("guarded_service.py")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, warehouse=tmp_path / "warehouse")  # type: ignore[call-arg]


def listening(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family)
    server.bind((host, 0))
    server.listen()
    return server


def test_the_sockets_of_this_process_are_seen_until_they_are_closed() -> None:
    before = listening_hosts()
    with listening("127.0.0.7"):
        assert set(listening_hosts()) - set(before) == {"127.0.0.7"}
    assert listening_hosts() == before


def test_a_socket_that_does_not_listen_and_one_of_a_file_do_not_count(tmp_path: Path) -> None:
    before = listening_hosts()
    with socket.socket() as bound, socket.socket(socket.AF_UNIX) as unix:
        bound.bind(("127.0.0.9", 0))
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        assert listening_hosts() == before


def test_looking_leaves_no_descriptor_open() -> None:
    count = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        listening_hosts()
    assert len(list(Path("/dev/fd").iterdir())) == count


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_worker_on_an_open_socket_refuses_without_keys(settings: Settings, host: str) -> None:
    with listening(host):
        assert exposed()
        with pytest.raises(AccessError, match=r"keys create NAME --role score.*--host 127\.0\.0\.1"):
            refuse_open_binding(settings)


def test_with_keys_any_socket_is_right(settings: Settings) -> None:
    access.create(settings.api_keys, "shop", ["score"])
    with listening("0.0.0.0"):
        refuse_open_binding(settings)


def test_damaged_keys_are_not_taken_for_none(settings: Settings) -> None:
    access.create(settings.api_keys, "shop", ["score"])
    settings.api_keys.write_bytes(b"{")
    with pytest.raises(AccessError, match="damaged"):
        refuse_open_binding(settings)


@contextmanager
def command(**options: Any) -> Iterator[None]:
    """As within `bentoml serve` with these options; BentoML's own default is 0.0.0.0."""
    context = click.Context(click.Command("serve"))
    context.params = options
    with context:
        yield


@pytest.mark.parametrize(
    "options",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "10.1.2.3"},
        {"host": None},
        {},
        {"host": "127.0.0.1", "bind": "tcp://0.0.0.0:3000"},
    ],
    ids=str,
)
def test_the_parent_refuses_what_it_is_going_to_bind(settings: Settings, options: dict[str, Any]) -> None:
    with command(**options), pytest.raises(AccessError, match="no API keys"):
        refuse_open_binding(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_parent_may_bind_loopback(settings: Settings, host: str) -> None:
    with command(host=host, bind=None):
        refuse_open_binding(settings)


def test_an_inherited_socket_does_not_hide_what_the_parent_is_going_to_bind(settings: Settings) -> None:
    with listening("127.0.0.1"), command(host="0.0.0.0"), pytest.raises(AccessError, match="no API keys"):
        refuse_open_binding(settings)


def test_a_worker_goes_by_its_socket_and_not_by_the_configuration(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "host_to_bind", lambda: pytest.fail("asked"))
    with listening("127.0.0.1"), command(fd=7):
        refuse_open_binding(settings)


@pytest.mark.slow
class TestServed:
    """`bentoml serve` on the small service beside this file, whose configuration says 127.0.0.1."""

    @contextmanager
    def served(self, settings: Settings, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        settings.warehouse.mkdir(exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "BENTOML_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", f"{SERVICE.stem}:Guarded", *arguments],
            cwd=SERVICE.parent,
            env=environment
            | {
                "PYTHONPATH": str(ROOT),
                "BENTOML_DO_NOT_TRACK": "True",
                "BENTOML_HOME": str(settings.warehouse / "bentoml"),
                "FRAUD_WAREHOUSE": str(settings.warehouse),
            }
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)

    @pytest.mark.parametrize(
        ("arguments", "variables"),
        [
            (["--host", "0.0.0.0"], {}),
            (["--host", "::"], {}),
            ([], {"BENTOML_HOST": "0.0.0.0"}),
            ([], {"BENTOML_CONFIG_OPTIONS": "services.guarded.http.host=0.0.0.0"}),
        ],
        ids=str,
    )
    def test_it_does_not_start_at_an_open_address_without_keys(
        self, settings: Settings, arguments: list[str], variables: dict[str, str]
    ) -> None:
        with self.served(settings, "--port", str(_free_port()), *arguments, **variables) as process:
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert errors.startswith("The service does not start: It would listen at ")
        assert "Traceback" not in errors

    @pytest.mark.parametrize("arguments", [[], ["--host", "::1"]], ids=str)
    def test_it_answers_this_machine_without_keys_and_writes_json(
        self, settings: Settings, arguments: list[str]
    ) -> None:
        port = _free_port()
        with self.served(settings, "--port", str(port), *arguments) as process:
            url = f"http://{'[::1]' if arguments else '127.0.0.1'}:{port}"
            assert _first_answer(f"{url}/who").json() == {"name": "local"}
            refused = httpx.get(f"{url}/who", headers={"Host": "evil.example", "X-Request-Id": "evil-1"})
            assert (refused.status_code, refused.headers["x-request-id"]) == (403, "evil-1")
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=30)
        lines = [json.loads(line) for line in output.splitlines()]
        assert {"bentoml.serve", "bentoml.fraud_scoring"} <= {line["logger"] for line in lines}
        assert [(line["status"], line["code"]) for line in lines if line.get("request_id") == "evil-1"] == [
            (403, "forbidden")
        ]
        assert errors == ""

    def test_with_a_key_it_answers_at_every_address_who_shows_it(self, settings: Settings) -> None:
        port, key = _free_port(), access.create(settings.api_keys, "shop", ["score"])
        with self.served(settings, "--port", str(port), "--host", "0.0.0.0"):
            url = f"http://127.0.0.1:{port}/who"
            assert _first_answer(url).status_code == 401
            assert httpx.get(url, headers={"X-API-Key": key}).json() == {"name": "shop"}

    def test_workers_refuse_a_socket_that_the_parent_has_let_pass(self, settings: Settings) -> None:
        port = _free_port()
        with self.served(settings, "--port", str(port), "--host", "0.0.0.0", PARENT_CHECK="off") as process:
            assert process.stdout is not None
            lines = (json.loads(line) for line in process.stdout)
            reason = next(line["message"] for line in lines if line["level"] == "ERROR")
            assert "The service does not start: It would listen at 0.0.0.0" in reason
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/who", timeout=1)


def _first_answer(url: str) -> httpx.Response:
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url, timeout=5)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
