"""A worker in this process: a real scorer and store behind the routes, a stub in the model's place."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np

from bentos.fraud_scoring import metrics
from bentos.fraud_scoring.api import Stage, build_app
from bentos.fraud_scoring.guard import Guard
from bentos.fraud_scoring.loading import Models
from bentos.fraud_scoring.worker import Worker
from fraud_platform.audit import Audit
from fraud_platform.decisions.router import Candidate, Router
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.decisions.scorer import Scorer
from fraud_platform.features.expressions import DAY
from fraud_platform.features.selection import build_catalog
from fraud_platform.features.stores import Store
from fraud_platform.models.artefact import Artefact
from fraud_platform.models.costs import CostMatrix, Thresholds
from fraud_platform.pseudonyms import Pseudonyms
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
from fraud_platform.transactions.request import TransactionDecoder

CATALOG = build_catalog(TRANSACTION_COLUMNS, ["tenure"], 7 * DAY)
TRANSACTION: dict[str, Any] = {
    "transaction_id": "t1",
    "event_time": "2026-03-01T12:00:00Z",
    "customer_id": "ann",
    "amount_cents": 1999,
    "merchant_id": "m1",
    "merchant_country": "FR",
    "home_country": "FR",
    "channel": "online",
    "latitude": 48.85,
    "longitude": 2.35,
    "tenure": 3.5,
}


def transaction(transaction_id: str, **changes: Any) -> dict[str, Any]:
    return TRANSACTION | {"transaction_id": transaction_id} | changes


def stub_model() -> Artefact:
    """Finds amounts above 1,000.00 fraudulent."""
    card = SimpleNamespace(catalog=CATALOG.origin, thresholds=Thresholds(0.5), costs=CostMatrix())
    amount = CATALOG.names.index("amount")
    return cast(Artefact, SimpleNamespace(card=card, predict=lambda m: np.where(m[:, amount] > 100_000, 0.9, 0.1)))


def settings_in(folder: Path, **given: Any) -> Settings:
    return Settings(_env_file=None, warehouse=folder, **given)  # type: ignore[call-arg]


def worker_of(store: Store, settings: Settings, router: Router | None = None) -> Worker:
    """A worker of an installation; without keys everybody is the principal `local`."""
    router = router or Router(Candidate("7", stub_model()))
    scorer = Scorer(router, CATALOG, store, RuleSet.of_settings(settings, CATALOG), metrics.observe_stage)
    return Worker(
        settings,
        scorer,
        TransactionDecoder(CATALOG.attributes),
        cast(Models, None),
        Guard(settings),
        Audit(settings.audit_log, Pseudonyms(settings.pseudonym_key)),
    )


class Client:
    """Sends single requests to a worker's application in this process."""

    def __init__(self, worker: Worker | None) -> None:
        self.app = build_app(Stage(worker))

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as client:
                return await client.request(method, f"http://127.0.0.1{path}", **arguments)

        return asyncio.run(send())

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", path, **arguments)
