"""What the console asks of the service that it is part of: its whole view of the rest."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from starlette.requests import Request

from bentos.fraud_scoring.sessions import Session
from fraud_platform.decisions.journal import Decision
from fraud_platform.decisions.policy import Action
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.features.stores import Store
from fraud_platform.settings import Settings
from fraud_platform.transactions.label_request import LabelReport

T = TypeVar("T")


class Replay(Protocol):
    """What came of deciding again on what was stored."""

    @property
    def fraud_probability(self) -> float | None: ...
    @property
    def action(self) -> Action: ...
    @property
    def same(self) -> bool: ...
    @property
    def model_version(self) -> str: ...
    @property
    def why(self) -> str | None: ...


class LoadedModel(Protocol):
    """A model that this worker holds; the `card` of its artefact is a ModelCard."""

    @property
    def version(self) -> str: ...
    @property
    def artefact(self) -> Any: ...


class Models(Protocol):
    """Which model does what; None where there is none."""

    @property
    def champion(self) -> LoadedModel | None: ...
    @property
    def challenger(self) -> LoadedModel | None: ...
    @property
    def fallback(self) -> LoadedModel | None: ...


class Part(Protocol):
    """One part of the service, and whether it can be used."""

    @property
    def name(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...


class Health(Protocol):
    """What GET /health says. `status` is ok, degraded or unavailable."""

    @property
    def status(self) -> str: ...
    @property
    def parts(self) -> Sequence[Part]: ...


class Guard(Protocol):
    """Sessions. What it refuses it raises as RequestRefused (401, 403, 429)."""

    def session(self, request: Request) -> Session | None:
        """None where the person has to log in first."""
        ...

    def login(self, request: Request, key: str) -> str:
        """The value of the Set-Cookie header."""
        ...

    def logout(self, request: Request) -> str:
        """The value of the Set-Cookie header that ends the session."""
        ...

    def check_csrf(self, request: Request, session: Session, token: str | None = None) -> None: ...
    def check_origin(self, request: Request) -> None: ...


class Audit(Protocol):
    def write(self, actor: str, action: str, details: Mapping[str, object]) -> None:
        """Take down one change; an error keeps it from taking place."""
        ...


class Lane(Protocol):
    """Where whatever uses the scorer waits for its turn."""

    async def run(self, work: Callable[[], T]) -> T: ...


class ConsoleService(Protocol):
    """A worker, as far as the console knows it. `attributes`: the source's numeric columns beyond the contract."""

    @property
    def settings(self) -> Settings: ...
    @property
    def store(self) -> Store: ...
    @property
    def models(self) -> Models: ...
    @property
    def rules(self) -> RuleSet: ...
    @property
    def rules_problem(self) -> str | None:
        """Why the files of rules and lists, as they are now, are not in force."""
        ...

    @property
    def audit(self) -> Audit: ...
    @property
    def guard(self) -> Guard: ...
    @property
    def attributes(self) -> Sequence[str]: ...
    @property
    def lane(self) -> Lane: ...

    async def decide(self, body: bytes) -> Decision:
        """
        Raises:
            InvalidTransaction, ConflictingTransaction, StoreError, CatalogError: as POST /predict.
        """
        ...

    async def label(self, report: LabelReport, by: str) -> bool:
        """Take in a verdict; whether it is news."""
        ...

    def replay(self, decision_id: str) -> Replay:
        """Decide again on what was stored, and leave no trace. Only in the lane.

        Raises:
            RequestRefused: if its model is not loaded any more.
        """
        ...

    def health(self) -> Health:
        """Only in the lane."""
        ...


class ConsoleStage(Protocol):
    """Where the console finds its worker."""

    @property
    def worker(self) -> ConsoleService:
        """
        Raises:
            StoreError: before its model is loaded.
        """
        ...
