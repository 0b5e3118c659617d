"""A Redis server of the tests' own, in a folder of its own, that can be stopped at any moment."""

import signal
import subprocess
import time
from pathlib import Path

import redis

from fraud_platform_tests.components import REDIS

PATIENCE = 30.0
"""Seconds after which what was waited for counts as never coming."""


class RedisServer:
    """Redis or Valkey on a Unix socket; `options` as on its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        socket = folder / "redis.sock"
        self.url = f"unix://{socket}"
        self._command = [REDIS, "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers, its data loaded."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert self._process.poll() is None, "Redis did not start"
                    assert time.monotonic() < deadline, "Redis does not answer"
                    time.sleep(0.01)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, protocol=2)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It takes connections and commands, but does nothing until it thaws."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
