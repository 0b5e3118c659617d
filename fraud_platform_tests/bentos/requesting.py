"""Requests to what stands before the routes, without a server."""

from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from bentos.fraud_scoring.body import RequestRefused
from fraud_platform.settings import Settings

HOST = (b"host", b"fraud.example:3000")


def settings_in(folder: Path, requests_per_second: int = 1_000_000) -> Settings:
    return Settings(_env_file=None, warehouse=folder, requests_per_second=requests_per_second)  # type: ignore[call-arg]


def request(
    *headers: tuple[bytes, bytes], method: str = "GET", client: str = "127.0.0.1", scheme: str = "http", **scope: Any
) -> Request:
    """A request with these headers and none besides, not even a Host."""
    return Request(
        {
            "type": "http",
            "method": method,
            "path": "/predict",
            "query_string": b"",
            "headers": list(headers),
            "client": (client, 4000) if client else None,
            "server": ("127.0.0.1", 3000),
            "scheme": scheme,
        }
        | scope
    )


def bearer(key: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {key}".encode()


def refusal(call: Any, *arguments: Any, **named: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        call(*arguments, **named)
    assert caught.value.refusal.message and caught.value.refusal.fix
    return caught.value
