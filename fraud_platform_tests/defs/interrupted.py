"""Runs assets in a process that stops at a chosen call and waits to be killed, or that finds its disk full.

As a script: `interrupted.py SOURCE WAREHOUSE ASSETS FIRST LAST [CALL NUMBER]`.
"""

import importlib
import resource
import signal
import subprocess
import sys
import types
from datetime import date
from pathlib import Path
from typing import Any

from fraud_platform_tests.defs.conftest import Platform

REACHED = "reached\n"


def command(platform: Platform, assets: tuple[str, ...], *call: str) -> list[str]:
    source = platform.source
    place = [str(platform.settings.source), str(platform.settings.warehouse)]
    days = [str(source.first_day), str(source.last_day)]
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "fraud_platform_tests.defs.interrupted",
        *place,
        ",".join(assets),
        *days,
        *call,
    ]


def kill_at(platform: Platform, assets: tuple[str, ...], call: str, number: int) -> None:
    """Run the assets over all days, and kill -9 the process at the n-th call of `module:function`."""
    process = subprocess.Popen(command(platform, assets, call, str(number)), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == REACHED
        process.kill()
    assert process.returncode == -signal.SIGKILL


def run_apart(
    platform: Platform, assets: tuple[str, ...], file_size: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the assets over all days in a process of their own, which may write no file above `file_size` bytes."""

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.run(command(platform, assets), preexec_fn=limit, capture_output=True, text=True, check=False)


def stop_at(call: str, number: int) -> None:
    """At the n-th call of a function, or of `os.replace` in a module: half of what it writes, and no further."""
    module_name, name = call.split(":")
    module = importlib.import_module(module_name)
    original = module.os.replace if name == "os.replace" else getattr(module, name)
    calls = 0

    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < number:
            return original(*arguments, **keywords)
        if name == "_write_partial":
            original(*arguments, **keywords)
            half = arguments[0].read_bytes()[: arguments[0].stat().st_size // 2]
            arguments[0].write_bytes(half)
        print(REACHED, end="", flush=True)
        while True:
            signal.pause()

    if name == "os.replace":
        module.os = types.SimpleNamespace(replace=counted)  # type: ignore[attr-defined]
    else:
        setattr(module, name, counted)


def main(source: str, warehouse: str, assets: str, first: str, last: str, *call: str) -> None:
    import dagster as dg

    from fraud_platform.settings import Settings

    if call:
        stop_at(call[0], int(call[1]))
    settings = Settings(_env_file=None, source=Path(source), warehouse=Path(warehouse))  # type: ignore[call-arg]
    with dg.DagsterInstance.ephemeral() as instance:
        Platform(settings, instance).run(tuple(assets.split(",")), date.fromisoformat(first), date.fromisoformat(last))


if __name__ == "__main__":
    main(*sys.argv[1:])
