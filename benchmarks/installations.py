"""An installation that `make demo` left, lived on in a temporary folder: its Bento and models, a store of its own
rebuilt from the history, and the transactions of the simulated days after it, as clients send them.

The installation itself is only read.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
from online import redis_server

if TYPE_CHECKING:
    import httpx

    from fraud_platform.features.selection import Catalog
    from fraud_platform.features.stores import Store
    from fraud_platform.settings import Settings
    from fraud_platform.transactions.sources import Source

ROOT = Path(__file__).resolve().parents[1]
BENTO = "fraud_scoring:latest"
NO_LIMIT = {"FRAUD_MAX_MINUTES_AHEAD": str(10 * 365 * 24 * 60), "FRAUD_REQUESTS_PER_SECOND": "1000000"}
"""Simulated days may lie ahead of this machine's clock, and one client sends what many would."""


def installation_arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that takes the installation's folder."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--warehouse",
        type=Path,
        default=ROOT / "warehouse" / "simulator",
        help="what `make demo` left of sources/<name of the folder>.yaml, a simulated source",
    )
    return parser


@dataclass(frozen=True)
class Installation:
    """A copy that may be written to.

    Attributes:
        settings: of the copy. original: of the installation.
        artefact: the directory of the model that the latest Bento was built with; model_version: its name there.
    """

    settings: "Settings"
    original: "Settings"
    source: "Source"
    catalog: "Catalog"
    artefact: Path
    model_version: str

    def transactions(self) -> Iterator[bytes]:
        """Those of the days after the history, in order of time, each a JSON object with all columns that the source
        has; without end."""
        from fraud_platform.transactions.contract import TRANSACTION
        from fraud_platform.transactions.simulator import SimulatorConfig, simulate_day

        config = SimulatorConfig.model_validate(self.source.simulator)
        columns = [column.name for column in TRANSACTION if column.name in self.source.present]
        day = self.last_day()
        while True:
            day += timedelta(days=1)
            for row in simulate_day(config, day).select(columns).iter_rows(named=True):
                yield msgspec.json.encode(_as_sent(row))

    def last_day(self) -> date:
        """The last day of the history."""
        from fraud_platform.warehouse import connect, last_day

        with connect(self.original.database, read_only=True) as connection:
            return last_day(connection, "validated_transactions")

    def rebuild(self, store: "Store") -> None:
        """Fill a store with the states after the history.

        Raises:
            WarehouseError, StoreError: if the history cannot be read, or the store not be written.
        """
        from fraud_platform.decisions.recovery import rebuild_states
        from fraud_platform.warehouse import connect

        with connect(self.original.database, read_only=True) as connection:
            rebuild_states(connection, self.catalog, store)

    @contextmanager
    def served(
        self, folder: Path, workers: int, environment: Mapping[str, str], cores: set[int] | None = None
    ) -> "Iterator[httpx.Client]":
        """The latest Bento on the copy; gives a client.

        Args:
            folder: where it runs and writes its log.
            environment: further variables.
            cores: what all of its processes run on, those that come later included; default: any.

        Raises:
            ServiceError: if it does not start.
        """
        from fraud_platform.defs.service import running_service

        variables = {**NO_LIMIT, **environment}
        if self.settings.online_store_url:
            variables["FRAUD_ONLINE_STORE_URL"] = self.settings.online_store_url
        if self.settings.rules.exists():
            variables["FRAUD_RULES"] = str(self.settings.rules)
        with ExitStack() as stack:
            with started_on(cores or os.sched_getaffinity(0)):
                client = stack.enter_context(running_service(self.settings, BENTO, folder, workers, variables))
            yield client


@contextmanager
def copied_installation(home: Path, store: str = "lmdb") -> Iterator[Installation]:
    """What `make demo` left in a folder, with a store (`lmdb` or `redis`) rebuilt from its history.

    Raises:
        SystemExit: with code 2, if there is nothing to serve.
    """
    from fraud_platform.settings import Settings
    from fraud_platform.transactions.sources import load_source

    source_file, home = ROOT / "sources" / f"{home.name}.yaml", home.resolve()
    original = Settings(_env_file=None, source=source_file, warehouse=home.parent)  # type: ignore[call-arg]
    _check_there(original)
    source = load_source(source_file, None)
    if source.simulator is None:
        raise SystemExit(f"{source_file} is not simulated: there are no days after its history. Take another.")
    with tempfile.TemporaryDirectory(prefix="serving-benchmark-") as name, ExitStack() as stack:
        folder = Path(name)
        changed: dict[str, Any] = {"warehouse": folder / "warehouse", "rules": folder / "rules.yaml"}
        if (ROOT / original.rules).exists():
            shutil.copy(ROOT / original.rules, changed["rules"])
        if store == "redis":
            changed["online_store_url"] = stack.enter_context(redis_server(folder))
        settings = original.model_copy(update=changed)
        yield _filled(settings, original, source)


def _check_there(settings: "Settings") -> None:
    """There must be a source, a Bento and a history."""
    for path in (settings.source, settings.bentoml_home / "bentos" / "fraud_scoring" / "latest", settings.database):
        if not path.exists():
            message = f"There is no {path}. Run `make demo` first, or say where it was run with --warehouse."
            print(message, file=sys.stderr)
            raise SystemExit(2)


def _filled(settings: "Settings", original: "Settings", source: "Source") -> Installation:
    """The copy, with links to the Bentos and their models, and with its store."""
    from fraud_platform.features.selection import rebuild_catalog
    from fraud_platform.features.stores.opening import open_store
    from fraud_platform.models.artefact import read_card

    settings.bentoml_home.mkdir(parents=True)
    for part in ("bentos", "models"):
        (settings.bentoml_home / part).symlink_to((original.bentoml_home / part).resolve())
    artefact, model_version = _packaged_model(settings.bentoml_home)
    catalog = rebuild_catalog(read_card(artefact).catalog)
    installation = Installation(settings, original, source, catalog, artefact, model_version)
    store = open_store(settings, catalog.look_back_us)
    try:
        installation.rebuild(store)
    finally:
        store.close()
    return installation


def _packaged_model(bentoml_home: Path) -> tuple[Path, str]:
    """The model of the latest Bento: its directory and its version."""
    import yaml

    bentos = bentoml_home / "bentos" / "fraud_scoring"
    manifest = yaml.safe_load((bentos / (bentos / "latest").read_text().strip() / "bento.yaml").read_text())
    name, version = manifest["models"][0]["tag"].split(":")
    return (bentoml_home / "models" / name / version).resolve(), manifest["labels"]["model_version"]


def _as_sent(row: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in row.items() if value is not None}
    return given | {"event_time": row["event_time"].replace(tzinfo=UTC)}


@contextmanager
def started_on(cores: set[int]) -> Iterator[None]:
    """What this thread starts meanwhile runs on these cores, and all that comes of it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def workers_of_service() -> list[psutil.Process]:
    """The workers of the services that this process started."""
    return [one for one in psutil.Process().children(recursive=True) if _is_worker(one)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "_bentoml_impl.worker.service" in process.cmdline()
    except psutil.NoSuchProcess:
        return False  # it has ended since it was listed
