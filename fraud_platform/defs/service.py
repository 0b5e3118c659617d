"""A scoring service started from a Bento, for as long as a `with` block lasts."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from fraud_platform.defs.serving import bentoml_environment
from fraud_platform.errors import ServiceError
from fraud_platform.settings import Settings

START_SECONDS = 90.0
STOP_SECONDS = 20.0
PROBE_SECONDS = 0.2


@contextmanager
def running_service(
    settings: Settings,
    bento: str,
    folder: Path,
    workers: int = 1,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Iterator[httpx.Client]:
    """`bentoml serve` on a free loopback port; gives a client once `/health` answers 200.

    Args:
        bento: the Bento's tag.
        folder: where the service runs and writes `service.log`; nothing of the checkout is needed there.
        environment: further variables; they win over what the settings say.
        python: the interpreter, whose environment has what the Bento lists.

    Raises:
        ServiceError: with the end of the log, if the service ends or does not answer in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    log = folder / "service.log"
    variables = bentoml_environment(_home(settings.bentoml_home, folder)) | {
        "BENTOML_CONFIG_OPTIONS": f"services.fraud_scoring.workers={workers}",
        "FRAUD_WAREHOUSE": str(settings.warehouse.resolve()),
        "FRAUD_SOURCE": str(settings.source),
        **(environment or {}),
    }
    command = [python, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = psutil.Popen(
            command, env=variables, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        started: list[psutil.Process] = []
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client:
                _wait_until_healthy(process, client, log)
                started = process.children(recursive=True)
                yield client
        finally:
            _stop(process, started)


def _home(shared: Path, folder: Path) -> Path:
    """A BentoML folder with the same Bentos and models.

    A service that starts empties the metrics in its BentoML folder: without one of its own it would
    empty those of a service that runs beside it.
    """
    home = folder / "bentoml"
    home.mkdir(exist_ok=True)
    for name in ("bentos", "models"):
        (home / name).unlink(missing_ok=True)
        (home / name).symlink_to((shared / name).resolve())
    return home


def _wait_until_healthy(process: psutil.Popen, client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if client.get("/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # not listening yet: the deadline and the process's end bound the wait
        try:
            code = process.wait(PROBE_SECONDS)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            continue
        raise ServiceError(f"The scoring service ended with exit {code}. The end of {log}:\n{_tail(log)}")
    raise ServiceError(
        f"The scoring service did not answer within {START_SECONDS:g} s. The end of {log}:\n{_tail(log)}"
    )


def _stop(process: psutil.Popen, started: list[psutil.Process]) -> None:
    """None of the workers outlives the block, not even those of a service that died; each is a session of its own."""
    workers = set(started)
    if process.poll() is None:
        workers.update(process.children(recursive=True))
        process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([process, *workers], STOP_SECONDS if process.poll() is None else 0)
    for left in alive:
        with suppress(psutil.NoSuchProcess):
            left.kill()
    psutil.wait_procs(alive)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]
