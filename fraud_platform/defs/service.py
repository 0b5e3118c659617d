"""A scoring service started from a Bento, for as long as a `with` block lasts."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from fraud_platform.defs.serving import bentoml_environment
from fraud_platform.errors import ServiceError
from fraud_platform.settings import Settings

START_SECONDS = 90.0
STOP_SECONDS = 20.0
PROBE_SECONDS = 0.2


@contextmanager
def running_service(settings: Settings, bento: str, folder: Path) -> Iterator[httpx.Client]:
    """`bentoml serve` on a free loopback port; gives a client once `/health` answers 200.

    Args:
        bento: the Bento's tag.
        folder: where the service runs and writes `service.log`; nothing of the checkout is needed there.

    Raises:
        ServiceError: with the end of the log, if the service ends or does not answer in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    log = folder / "service.log"
    environment = bentoml_environment(settings.bentoml_home) | {
        "FRAUD_WAREHOUSE": str(settings.warehouse.resolve()),
        "FRAUD_SOURCE": str(settings.source),
    }
    command = [sys.executable, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client:
                _wait_until_healthy(process, client, log)
                yield client
        finally:
            _stop(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if client.get("/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # not listening yet: the deadline and the process's end bound the wait
        try:
            code = process.wait(PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        raise ServiceError(f"The scoring service ended with exit {code}. The end of {log}:\n{_tail(log)}")
    raise ServiceError(
        f"The scoring service did not answer within {START_SECONDS:g} s. The end of {log}:\n{_tail(log)}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The service and its workers are one session: none of them outlives the block."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
