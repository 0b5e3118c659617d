"""A service without HTTP, model or keys, that does what the console asks of one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request

from bentos.fraud_scoring.body import RequestRefused
from fraud_platform.decisions.journal import Decision
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.features.selection import build_catalog
from fraud_platform.models.artefact import ModelCard
from fraud_platform.settings import Settings
from fraud_platform.transactions.contract import TRANSACTION_COLUMNS
from fraud_platform.transactions.label_request import LabelReport
from fraud_platform.transactions.request import TransactionDecoder
from fraud_platform_tests.bentos.console.memory_store import MemoryStore
from fraud_platform_tests.bentos.console.samples import card, decided, file, judge

TOKEN = "the-right-token"
KEY = "the-right-key"
CATALOG = build_catalog(TRANSACTION_COLUMNS, ["age"], 604_800_000_000)


@dataclass
class FakePrincipal:
    name: str = "ana"
    roles: frozenset[str] = frozenset({"analyst"})

    def may(self, *roles: str) -> bool:
        return bool(self.roles & {*roles, "admin"})


@dataclass
class FakeSession:
    principal: FakePrincipal = field(default_factory=FakePrincipal)
    csrf: str = TOKEN


class FakeGuard:
    """Everybody is logged in as `session` says; a cookie is nothing but text."""

    def __init__(self) -> None:
        self.current: FakeSession | None = FakeSession()

    def session(self, request: Request) -> FakeSession | None:
        return self.current

    def login(self, request: Request, key: str) -> str:
        if key != KEY:
            raise RequestRefused(401, "unauthenticated", "There is no such key.", "Paste the whole key.")
        self.current = FakeSession()
        return "fraud_session=made; Path=/; HttpOnly"

    def logout(self, request: Request) -> str:
        self.current = None
        return "fraud_session=; Max-Age=0; Path=/"

    def check_csrf(self, request: Request, session: FakeSession, token: str | None = None) -> None:
        if token != session.csrf:
            raise RequestRefused(403, "forbidden", "The form is not of this session.", "Load the page again.")

    def check_origin(self, request: Request) -> None: ...


class FakePart(msgspec.Struct):
    name: str
    ok: bool
    detail: str


class FakeHealth(msgspec.Struct):
    status: str = "ok"
    parts: tuple[FakePart, ...] = (
        FakePart("model", True, "version 3 as champion, 2 as fallback"),
        FakePart("store", True, "LMDB, catalog 0f27f6bd1eb9c87c"),
        FakePart("rules", True, "4 rules, 2 list entries"),
        FakePart("keys", True, "3 keys"),
    )


class FakeReplay(msgspec.Struct):
    fraud_probability: float | None = 0.41
    action: str = "review"
    same: bool = True
    model_version: str = "3"
    why: str | None = None


@dataclass
class FakePackage:
    card: ModelCard


@dataclass
class FakeModel:
    version: str
    artefact: FakePackage


@dataclass
class FakeModels:
    champion: FakeModel | None = field(default_factory=lambda: FakeModel("3", FakePackage(card())))
    challenger: FakeModel | None = None
    fallback: FakeModel | None = None


class FakeLane:
    """Nobody else is in it."""

    async def run(self, work: Callable[[], Any]) -> Any:
        return work()


class FakeAudit:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def write(self, actor: str, action: str, details: dict[str, Any]) -> None:
        self.lines.append((actor, action, details))


class FakeService:
    """`replayed` is what a replay gives, `state` what it says of its health, `labels` the verdicts that it was told."""

    def __init__(self, warehouse: Path) -> None:
        self.settings = Settings(
            _env_file=None, source=Path("sample.yaml"), warehouse=warehouse, rules=warehouse / "rules.yaml"
        )  # type: ignore[call-arg]
        self.store = MemoryStore()
        self.models = FakeModels()
        self.rules = self.loaded_rules()
        self.rules_problem: str | None = None
        self.lane = FakeLane()
        self.audit = FakeAudit()
        self.guard = FakeGuard()
        self.attributes = ("age",)
        self.replayed = FakeReplay()
        self.state = FakeHealth()
        self.labels: list[tuple[LabelReport, str]] = []

    def loaded_rules(self) -> RuleSet:
        """No rules, and the lists as they are on disk."""
        return RuleSet.load(self.settings.rules, self.settings.lists, CATALOG, rules_required=False)

    @property
    def worker(self) -> "FakeService":
        """The service is its own stage."""
        return self

    async def decide(self, body: bytes) -> Decision:
        event = TransactionDecoder(self.attributes).decode(body)
        found = decided(event["transaction_id"], at=event["event_time"], event=event | {"known_fraud": 0})
        file(self.store, found)
        return found.decision

    async def label(self, report: LabelReport, by: str) -> bool:
        self.labels.append((report, by))
        assert report.reported_at is not None
        judge(self.store, report.transaction_id, report.is_fraud, report.reported_at, by)
        return True

    def replay(self, decision_id: str) -> FakeReplay:
        return self.replayed

    def health(self) -> FakeHealth:
        return self.state
