"""`dagster dev` as `make dev` starts it, on an installation of its own, for as long as a `with` block lasts."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fraud_platform_tests.installation import ROOT, Installation

HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS, RUN_SECONDS = 120.0, 60.0, 240.0
PROBE_SECONDS = 0.3
REPOSITORY = {"repositoryLocationName": "fraud_platform", "repositoryName": "__repository__"}
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}

LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
  name locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
RUN = """query Run($id: ID!) { runOrError(runId: $id) { __typename
  ... on Run { runId status jobName tags { key value } assetSelection { path } } } }"""
RUNS = """query Runs($filter: RunsFilter) { runsOrError(filter: $filter) {
  ... on Runs { results { runId status jobName startTime endTime tags { key value } } } } }"""


@dataclass(frozen=True)
class Webserver:
    """A running Dagster UI with its daemon and code server."""

    url: str
    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def query(self, document: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL answer; an answer with errors fails the test."""
        response = self.client.post("/graphql", json={"query": document, "variables": variables})
        answer = response.json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def wait_for(self, probe: Callable[[], Any], seconds: float, what: str) -> Any:
        """Ask `probe` until it gives something; the server's own end, or the deadline, fails the test."""
        deadline = time.monotonic() + seconds
        while (found := probe()) is None:
            assert time.monotonic() < deadline, f"no {what} within {seconds:g} s. The end of {self.log}:\n{self.tail()}"
            try:
                code = self.process.wait(PROBE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"dagster dev ended with exit {code}. The end of {self.log}:\n{self.tail()}")
        return found

    def finished_run(self, run_id: str, seconds: float = RUN_SECONDS) -> dict[str, Any]:
        """The run, once it has ended in whatever way."""

        def ended() -> dict[str, Any] | None:
            run = self.query(RUN, id=run_id)["runOrError"]
            return run if run.get("status") in FINISHED else None

        return self.wait_for(ended, seconds, f"end of run {run_id}")

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """The runs that match a GraphQL RunsFilter, newest first."""
        return self.query(RUNS, filter=filters)["runsOrError"]["results"]

    def tail(self) -> str:
        """The end of what `dagster dev` printed."""
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def running_webserver(installation: Installation, log: Path) -> Iterator[Webserver]:
    """`dagster dev` on a free loopback port; gives it once GraphQL says that the code location has loaded.

    The webserver, the daemon, the code server and the runs are one session of processes: none outlives the block.
    """
    port = _free_port()
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        "workspace.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=installation.environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
    url = f"http://{HOST}:{port}"
    try:
        with httpx.Client(base_url=url, timeout=60.0) as client:
            server = Webserver(url, process, client, log)
            server.wait_for(lambda: _loaded(server), START_SECONDS, "code location")
            yield server
    finally:
        _stop(process)


def _heed_interrupts() -> None:
    """A shell starts its background jobs with SIGINT ignored, which a test run hands down to `dagster dev`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _loaded(server: Webserver) -> bool | None:
    """True once the location is there; a location that failed to load fails the test with its message."""
    try:
        entries = server.query(LOADED)["workspaceOrError"]["locationEntries"]
    except httpx.TransportError:
        return None  # not listening yet: the deadline and the process's end bound the wait
    state = entries[0]["locationOrLoadError"] if entries else None
    if state is None:
        return None
    assert state["__typename"] == "RepositoryLocation", state.get("message")
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):  # the whole session is ended below
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):  # everything has stopped by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
