"""What answered decisions survive: workers and the whole service killed, models swapped, rules broken, the disk full.

    python benchmarks/faults.py [--rate 150] [--worker-kills 20] [--service-kills 5] [--swaps 20] [--warehouse PATH]

Serves the latest Bento that `make demo` built, two workers on one LMDB store, on a copy of its installation. A client
sends the transactions of the days after the history as a Poisson process, over 32 connections that are replaced every
10 requests, and sends again what a lost connection, a 5xx or 10 seconds without an answer left open. Meanwhile, in an
order drawn with a seed: `kill -9` of a worker, as soon as both serve (BentoML's watcher starts a new one within 10
seconds and its loading time); `kill -9` of the whole service, which is then started again; a champion swapped for the
other of two artefacts; the rules file broken and mended; the store's disk filled until decisions fail, and freed. The
disk is a tmpfs where this may be mounted (root), else a limit on the size of the workers' files.

When every transaction is answered the service is stopped, and its store read. Prints one JSON line: {"decisions",
"lost", "duplicated", "feature_mismatches", "unexpected_5xx", "worker_kills", "service_kills", "swaps"}: transactions
that were answered, answers that record and outbox do not both hold as they were given, second entries of the outbox on
a transaction, features that come out otherwise when the outbox is replayed or (of what was not late) when the batch
engine computes them, and 5xx while a worker was alive and the disk had room.
"""

import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from disks import Disk, small_disk
from installations import Installation, copied_installation, installation_arguments, workers_of_service
from load import Load, Retry, Scheduled
from reckoning import reckon
from sending import post

WORKERS = 2
CONNECTIONS, USES = 32, 10
SEED = 1
IN_A_ROW = 100
"""Answers by the new model alone that end a swap."""
FAILURES = 50
"""Decisions that fail before a full disk is freed."""
PATIENCE_SECONDS = 90.0
"""Whatever else is waited for takes less."""
FILLING_SECONDS = 400.0
"""A store goes on in the pages that it has freed before: it takes minutes until it needs more of a full disk."""


def main() -> None:
    parser = installation_arguments(__doc__)
    parser.add_argument("--rate", type=float, default=150.0, help="transactions a second")
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--service-kills", type=int, default=5)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--disk-mb", type=int, default=2048, help="the store's disk; the run must fit")
    arguments = parser.parse_args()
    counts = {
        "worker_kills": arguments.worker_kills,
        "service_kills": arguments.service_kills,
        "swaps": arguments.swaps,
    }
    with (
        copied_installation(arguments.warehouse) as installation,
        small_disk(installation.settings.online_store, arguments.disk_mb, workers_of_service) as disk,
    ):
        print(json.dumps(survive(installation, disk, arguments.rate, counts) | counts))


def survive(installation: Installation, disk: Disk, rate: float, counts: dict[str, int]) -> dict[str, int]:
    """The faults in a random order under load, and what is left of the decisions."""
    from fraud_platform.features.stores.lmdb import LmdbStore

    models = two_models(installation)
    with Service(installation) as service, Client(installation.transactions(), service.port, rate) as client:
        faults = Faults(installation, service, client, disk, models)
        faults.wait_for_answers_by(installation.model_version)
        steps = [faults.kill_worker] * counts["worker_kills"] + [faults.kill_service] * counts["service_kills"]
        steps += [faults.swap] * counts["swaps"] + [faults.break_rules, faults.fill_disk]
        random.Random(SEED).shuffle(steps)
        for number, step in enumerate(steps, 1):
            print(f"{client.load.now():6.1f} s  {number}/{len(steps)} {step.__name__}", file=sys.stderr, flush=True)
            step()
        client.finish()
        lost, refused = client.load.lost_connections, len(client.load.refused)
        print(f"{lost} connections were lost with a request on them; {refused} answers were 5xx.", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="faults-benchmark-") as aside:
        store = LmdbStore(installation.settings.online_store)
        deployed = {**models, installation.model_version: installation.artefact}
        found = reckon(installation, store, client.answers(), deployed, Path(aside))
        store.close()
    if found.other_scores:
        raise SystemExit(f"{found.other_scores} decisions do not have the score of the model that they name: {found}")
    result = asdict(found) | {"unexpected_5xx": faults.unexpected()}
    result.pop("other_scores")
    return result


def two_models(installation: Installation) -> dict[str, Path]:
    """Two artefacts that were trained on the Bento's catalog, by version, the Bento's own among them."""
    from fraud_platform.models.artefact import read_card

    own, folder = installation.artefact, installation.original.models.resolve()
    others = [card.parent for card in sorted(folder.glob("*/model.json")) if card.parent.name != own.name]
    fitting = [own, *(one for one in others if read_card(one).catalog.fingerprint == installation.catalog.fingerprint)]
    if len(fitting) < 2:
        raise SystemExit(
            f"{installation.original.models} has {len(fitting)} models of the Bento's catalog; 2 are needed."
        )
    return {path.name: path for path in fitting[:2]}


class Service:
    """The service, and its end at any moment. A context."""

    def __init__(self, installation: Installation) -> None:
        self._installation, self._stack, self._starts = installation, ExitStack(), 0

    def __enter__(self) -> "Service":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """
        Raises:
            ServiceError: if it does not start.
        """
        self._starts += 1
        folder = self._installation.settings.warehouse.parent / f"service-{self._starts}"
        self.client = self._stack.enter_context(self._installation.served(folder, WORKERS, {}))

    @property
    def port(self) -> int:
        port = self.client.base_url.port
        assert port is not None
        return port

    def kill(self) -> None:
        """`kill -9` of all of its processes, those first that would start others again."""
        processes = psutil.Process().children(recursive=True)
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)
        self._stack.close()

    def serving(self) -> list[psutil.Process]:
        """The workers that clients are connected to."""
        return [worker for worker in workers_of_service() if self._is_connected(worker)]

    def _is_connected(self, worker: psutil.Process) -> bool:
        try:
            connections = worker.net_connections("tcp")
        except psutil.NoSuchProcess:
            return False  # it has ended since it was listed
        return any(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == self.port for one in connections)


class Client:
    """Sends transactions in a thread of its own until it is told to finish. A context."""

    def __init__(self, transactions: Iterator[bytes], port: int, rate: float) -> None:
        self._transactions, self._rate = transactions, rate
        self._finish = threading.Event()
        self.load = Load(self._schedule(), port, CONNECTIONS, Retry(), uses=USES)
        self._pool = ThreadPoolExecutor(1, "client")

    def __enter__(self) -> "Client":
        self._running = self._pool.submit(self.load.run)
        return self

    def __exit__(self, *_: object) -> None:
        self._finish.set()
        self.load.stop()
        self._pool.shutdown()

    def _schedule(self) -> Iterator[Scheduled]:
        generator, due = np.random.default_rng(SEED), 0.0
        while not self._finish.is_set():
            due += generator.exponential(1 / self._rate)
            yield due, post("/predict", next(self._transactions))

    def finish(self) -> None:
        """Send no more, and wait until all that was sent is answered."""
        self._finish.set()
        try:
            self._running.result(PATIENCE_SECONDS)
        except TimeoutError as error:
            left = sum(not exchange.status for exchange in self.load.exchanges)
            raise SystemExit(f"{left} transactions were not answered within {PATIENCE_SECONDS:g} s.") from error

    def check(self) -> None:
        """Raise what ended the client, if anything did."""
        if self._running.done():
            self._running.result()

    def answers(self) -> dict[str, bytes]:
        """Every answer by its transaction_id."""
        for exchange in self.load.exchanges:
            if exchange.status != 200:
                raise SystemExit(f"A transaction was answered {exchange.status}: {exchange.answer.decode()}")
        return {json.loads(one.answer)["transaction_id"]: one.answer for one in self.load.exchanges}


@dataclass
class Faults:
    """What is done to the service, and when it could not be expected to answer.

    Attributes:
        excused: from when to when no worker was alive or the disk was full, in the load's seconds.
    """

    installation: Installation
    service: Service
    client: Client
    disk: Disk
    models: dict[str, Path]
    excused: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(SEED)
        self._champions = list(self.models)

    def kill_worker(self) -> None:
        self._random.choice(self._both_serve()).kill()

    def kill_service(self) -> None:
        with self._excuse():
            self.service.kill()
            self.service.start()
            self.client.load.port = self.service.port

    def swap(self) -> None:
        from fraud_platform.decisions.deployment import Deployed, Deployment, write_deployment

        self._champions.reverse()
        version = self._champions[0]
        champion = Deployed(model_version=version, artefact=str(self.models[version]))
        write_deployment(self.installation.settings.deployment, Deployment(champion=champion))
        self.wait_for_answers_by(version)

    def wait_for_answers_by(self, version: str) -> None:
        self._until(f"{IN_A_ROW} answers in a row by {version}", lambda: self._answers_by(version))

    def break_rules(self) -> None:
        rules = self.installation.settings.rules
        whole = rules.read_bytes()
        rules.write_bytes(b"rules: [")
        self._until("a health that says that the rules are broken", lambda: self._health() == "degraded")
        rules.write_bytes(whole)
        self._until("a good health", lambda: self._health() == "ok")

    def fill_disk(self) -> None:
        self._both_serve()
        failures = len(self.client.load.refused) + FAILURES
        with self._excuse():
            self.disk.fill()
            self._until(
                f"{FAILURES} decisions that fail", lambda: len(self.client.load.refused) >= failures, FILLING_SECONDS
            )
            self.disk.free()

    def unexpected(self) -> int:
        """The 5xx while a worker was alive and the disk had room."""
        return sum(
            not any(begun <= one.ended and one.begun <= ended for begun, ended in self.excused)
            for one in self.client.load.refused
        )

    @contextmanager
    def _excuse(self) -> Iterator[None]:
        begun = self.client.load.now()
        yield
        self.excused.append((begun, self.client.load.now()))

    def _both_serve(self) -> list[psutil.Process]:
        """All workers, once they are there."""
        found: list[psutil.Process] = []

        def all_serve() -> bool:
            found[:] = self.service.serving()
            return len(found) == WORKERS

        self._until(f"{WORKERS} workers that serve", all_serve)
        return found

    def _answers_by(self, version: str) -> bool:
        answered = [one for one in self.client.load.exchanges[-10 * IN_A_ROW :] if one.status]
        latest = sorted(answered, key=lambda one: one.ended)[-IN_A_ROW:]
        return len(latest) == IN_A_ROW and all(f'"model_version":"{version}"'.encode() in one.answer for one in latest)

    def _health(self) -> str | None:
        try:
            return self.service.client.get("/health").json()["status"]
        except httpx.TransportError:
            return None  # its worker was killed

    def _until(self, what: str, come: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not come():
            self.client.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"There were not {what} within {seconds:g} s.")
            time.sleep(0.05)


if __name__ == "__main__":
    main()
