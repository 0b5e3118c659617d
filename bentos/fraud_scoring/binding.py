"""Refuses to listen to other machines while nobody needs a key.

BentoML's parent process calls the service before it binds the port, and its workers get the port as an
open socket. So the parent goes by what it is going to bind, as the command line and the configuration
say it, and a worker by the sockets that it really has.
"""

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import click
from bentoml._internal.configuration.containers import BentoMLContainer

from bentos.fraud_scoring.origin import is_loopback
from fraud_platform.access import Keys
from fraud_platform.errors import AccessError
from fraud_platform.settings import Settings

DESCRIPTORS = Path("/dev/fd")


def refuse_open_binding(settings: Settings) -> None:
    """To be called in the parent's deployment hook, and again when a worker starts.

    Raises:
        AccessError: if this process listens, or is about to, at anything but loopback and there are no keys.
    """
    if Keys.load(settings.api_keys).configured:
        return
    hosts = listening_hosts()
    if not hosts or _command().keys() & {"host", "bind"}:  # the parent; a worker's command has neither
        hosts.append(host_to_bind())
    exposed = [host for host in hosts if not is_loopback(host)]
    if exposed:
        raise AccessError(
            f"It would listen at {exposed[0]}, where other machines can reach it, and there are no API keys in "
            f"{settings.api_keys}. Create one with `fraud-platform keys create NAME --role score`, or serve this "
            "machine alone with `--host 127.0.0.1`."
        )


def exposed() -> bool:
    """Whether this process listens at anything but loopback."""
    return any(not is_loopback(host) for host in listening_hosts())


def host_to_bind() -> str:
    """What `bentoml serve` is going to bind: its --host or BENTOML_HOST, or else what is configured."""
    given = _command()
    bind = given.get("bind")  # tcp://host:port, of BentoML's start-http-server
    return (bind and urlparse(bind).hostname) or given.get("host") or BentoMLContainer.http.host.get()


def listening_hosts() -> list[str]:
    """The addresses of the internet sockets that this process has open to be connected to, inherited ones too."""
    found = (_listening_host(int(entry.name)) for entry in DESCRIPTORS.iterdir())
    return sorted({host for host in found if host is not None})


def _listening_host(descriptor: int) -> str | None:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            internet = copy.family in (socket.AF_INET, socket.AF_INET6)
            return copy.getsockname()[0] if listens and internet else None
    except OSError as error:
        if error.errno == errno.EBADF:  # closed meanwhile, as the descriptor of the listing itself
            return None
        raise


def _command() -> dict[str, Any]:
    """The options of the command that this process runs, BENTOML_… variables among them; none outside of one."""
    context = click.get_current_context(silent=True)
    return context.params if context else {}
