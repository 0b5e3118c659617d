"""What one worker answers with: its models, rules, store and keys, and what a request does with them."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np

from bentos.fraud_scoring import metrics
from bentos.fraud_scoring.answers import Health, Part, Replay, Shown
from bentos.fraud_scoring.body import RequestRefused, check_fields_once
from bentos.fraud_scoring.guard import Guard
from bentos.fraud_scoring.lane import TOGETHER, Lane
from bentos.fraud_scoring.loading import Models
from bentos.fraud_scoring.rules_kept import keep
from bentos.fraud_scoring.watch import Watched, watch
from fraud_platform.audit import Audit
from fraud_platform.decisions.deciding import Event
from fraud_platform.decisions.deployment import read_deployment
from fraud_platform.decisions.journal import Decided, Decision, decision_key, decode
from fraud_platform.decisions.router import Router
from fraud_platform.decisions.ruleset import RuleSet
from fraud_platform.decisions.scorer import Outcome, Scorer
from fraud_platform.errors import FraudPlatformError, InvalidTransaction, StoreError
from fraud_platform.features.expressions import KNOWN_FRAUD
from fraud_platform.features.selection import Catalog
from fraud_platform.features.stores import Store
from fraud_platform.settings import Settings
from fraud_platform.transactions.label_request import LabelReport
from fraud_platform.transactions.request import TransactionDecoder

DECISION_ID_LENGTH = 32


@dataclass
class Worker:
    """All that a worker has. Only `lane` may touch the scorer once requests come."""

    settings: Settings
    scorer: Scorer
    decoder: TransactionDecoder
    loader: Models
    guard: Guard
    audit: Audit
    threaded: bool = False

    def __post_init__(self) -> None:
        self.lane = Lane(self.scorer, self.threaded)
        settings = self.settings
        self.watched = [
            Watched("models", [settings.deployment], self._reload_models),
            Watched("rules and lists", [settings.rules, settings.lists], self._reload_rules),
            Watched("keys", [settings.api_keys], self._reload_keys),
        ]

    @property
    def store(self) -> Store:
        return self.scorer.store

    @property
    def catalog(self) -> Catalog:
        return self.scorer.catalog

    @property
    def models(self) -> Router:
        return self.scorer.router

    @property
    def rules(self) -> RuleSet:
        return cast(RuleSet, self.scorer.rules)

    @property
    def rules_problem(self) -> str | None:
        """Why the files of rules and lists, as they are now, are not in force."""
        return self.watched[1].problem

    @property
    def attributes(self) -> Sequence[str]:
        return self.catalog.attributes

    @property
    def ahead_us(self) -> int:
        """How far ahead of the clock an event or a report may be, microseconds."""
        return self.settings.max_minutes_ahead * 60_000_000

    async def watch(self) -> None:
        """Follow the files of the configuration for ever."""
        await watch(self.watched, self.settings.reload_seconds)

    async def decide(self, body: bytes | msgspec.Raw) -> Decision:
        """Decode, score, commit.

        Raises:
            InvalidTransaction, ConflictingTransaction, CatalogError, StoreError: as decoder and scorer.
        """
        started = time.perf_counter()
        (answer,) = await self.lane.decide([self.event(body)])
        metrics.DECISION_SECONDS.observe(time.perf_counter() - started)
        return _counted(answer)

    async def decide_all(self, bodies: Sequence[bytes | msgspec.Raw]) -> list[Decision | Exception]:
        """Each one's decision or its error, in order; single transactions pass in between."""
        answers: list[Decision | Exception] = []
        for start in range(0, len(bodies), TOGETHER):
            events: list[Event] = []
            found: list[Decision | Exception | None] = []
            for body in bodies[start : start + TOGETHER]:
                try:
                    events.append(self.event(body))
                    found.append(None)
                except InvalidTransaction as error:
                    found.append(error)
            answers += await self._decide_together(events, found)
        return answers

    async def _decide_together(
        self, events: list[Event], found: list[Decision | Exception | None]
    ) -> list[Decision | Exception]:
        """`found`, with the gaps filled by what is decided on the events."""
        try:
            decided: Sequence[Outcome | Exception] = await self.lane.decide(events) if events else []
        except FraudPlatformError as error:
            decided = [error] * len(events)
        rest = iter(decided)
        return [_counted_or_error(next(rest)) if one is None else one for one in found]

    def event(self, body: bytes | msgspec.Raw) -> dict[str, Any]:
        """
        Raises:
            InvalidTransaction: if the body is no transaction.
        """
        event = self.decoder.decode(body)
        check_fields_once(body)
        return event

    async def label(self, report: LabelReport, by: str) -> bool:
        """Take a label in; whether it is news.

        Raises:
            StoreError: if the store cannot be read or written.
        """
        moment, scorer = report.reported_us, self.scorer
        news = await self.lane.run(
            lambda: scorer.label(
                report.transaction_id,
                report.is_fraud,
                moment,
                source=report.source,
                fraud_type=report.fraud_type,
                by=by,
            )
        )
        metrics.LABELS.labels(report.source, str(report.is_fraud).lower(), str(news).lower()).inc()
        if news:
            details = {"decision_id": decision_key(report.transaction_id).hex(), "source": report.source}
            await asyncio.to_thread(self.audit.write, by, "label_given", details | {"is_fraud": report.is_fraud})
        return news

    def decided(self, decision_id: str) -> Decided:
        """The record of a decision, by its id or its transaction's.

        Raises:
            RequestRefused: 404 if nothing was decided under that id.
            StoreError: if the store cannot be read.
        """
        keys = [decision_key(decision_id)]
        if len(decision_id) == DECISION_ID_LENGTH and set(decision_id) <= set("0123456789abcdef"):
            keys.append(bytes.fromhex(decision_id))
        records = self.store.read(keys, []).records
        for key in reversed(keys):
            record = records[key]
            found = decode(record) if record else None
            if isinstance(found, Decided):
                return found
        fix = "Give the decision_id or the transaction_id of an answer of POST /predict."
        raise RequestRefused(404, "unknown_decision", f"Nothing was decided under {decision_id[:64]!r}.", fix)

    def shown(self, decided: Decided) -> Shown:
        """A decision for a person to read."""
        vector = np.frombuffer(decided.vector, "<f4").tolist()
        features = dict(zip(self.catalog.names, vector, strict=False))
        transaction = {n: v for n, v in decided.event.items() if v is not None and n not in (KNOWN_FRAUD, "event_us")}
        return Shown(
            decided.decision,
            transaction,
            {name: None if math.isnan(value) else value for name, value in features.items()},
            decided.served_by,
            decided.shadow,
            decided.shadow_rules,
        )

    def replay(self, decision_id: str) -> Replay:
        """Decide again, from the stored features.

        Raises:
            RequestRefused: 404 for an unknown decision, 409 where its model is not loaded any more.
        """
        decided = self.decided(decision_id)
        again = self.scorer.replay(decided)
        decision = decided.decision
        if again is None:
            loaded = ", ".join(candidate.version for candidate in self.models.candidates) or "none"
            raise RequestRefused(
                409,
                "model_not_loaded",
                f"Model version {decision.model_version} decided, and is not loaded (loaded: {loaded}).",
                "Deploy that version as challenger in shadow, or as fallback, and replay again.",
            )
        now = again.decision
        differs = []
        if now.fraud_probability != decision.fraud_probability:
            differs.append(f"the probability was {decision.fraud_probability} and is {now.fraud_probability}")
        if now.action != decision.action:
            differs.append(f"the action was {decision.action} and is {now.action}")
        if differs and again.rules_digest != decided.rules_digest:
            differs.append("rules or lists have changed since")
        return Replay(
            decision, not differs, now.fraud_probability, now.action, now.model_version, "; ".join(differs) or None
        )

    def self_test(self) -> Decision:
        """A decision on a canned transaction: the whole path but the commit.

        Raises:
            FraudPlatformError: whatever stands in the way.
        """
        event = dict.fromkeys(self.catalog.columns | {"customer_id"}) | {
            "transaction_id": "self-test",
            "event_us": time.time_ns() // 1000,
            "customer_id": "self-test",
            "amount_cents": 1000,
        }
        return self.scorer.preview(event)

    def health(self) -> Health:
        """How the worker is; never raises for what can be said."""
        parts = [self._store_part(), self._model_part()]
        rules = f"{len(self.rules.rules)} rules and {len(self.rules.lists.entries)} entries of lists are in force."
        for one, detail in zip(self.watched, ("As the deployment says.", rules, "As the file says."), strict=True):
            parts.append(Part(one.what, one.problem is None, one.problem or detail))
        champion = self.models.champion
        status = "ok" if all(part.ok for part in parts) else "degraded"
        if not parts[0].ok:
            status = "unavailable"
        return Health(status, champion and champion.version, self.catalog.fingerprint, tuple(parts))

    def _store_part(self) -> Part:
        try:
            self.scorer.check_store()
            return Part("store", True, f"{self.settings.online_store_address}, {self.store.waiting()} to review")
        except StoreError as error:
            return Part("store", False, str(error))

    def _model_part(self) -> Part:
        champion = self.models.champion
        if champion is None:
            return Part("model", False, "No champion is loaded: the fallback or the rules decide.")
        if champion.guard.rests():
            return Part("model", False, f"Version {champion.version} failed or was too slow, and rests.")
        return Part("model", True, f"Version {champion.version} decides.")

    def show_gauges(self) -> None:
        """Bring up to date what is only known when asked for."""
        metrics.OUTBOX.set(self.store.last_sequence() - self.store.acknowledged())
        metrics.QUEUE.set(self.store.waiting())

    async def _reload_models(self) -> str | None:
        file, loader = self.settings.deployment, self.loader
        try:
            router, problems = await asyncio.to_thread(lambda: loader.router(read_deployment(file)))
        except FraudPlatformError as error:
            return str(error)
        if problems and router.champion is None and self.models.champion is not None:
            return "; ".join(problems)  # what serves is better than a fallback
        before = self.models.champion
        await self.lane.run(lambda: self._use(router))
        if router.champion is not None and router.champion is not before:
            details = {"champion": router.champion.version}
            await asyncio.to_thread(self.audit.write, "service", "model_taken_up", details)
        return "; ".join(problems) or None

    def _use(self, router: Router) -> None:
        self.scorer.router = router
        metrics.show_models(router)

    async def _reload_rules(self) -> str | None:
        settings = self.settings
        try:
            rules = await asyncio.to_thread(lambda: RuleSet.of_settings(settings, self.catalog))
        except FraudPlatformError as error:
            return str(error)
        if rules.digest == self.rules.digest:
            return None
        await self.lane.run(lambda: setattr(self.scorer, "rules", rules))
        await asyncio.to_thread(keep, settings, self.catalog, rules)
        details = {"digest": rules.digest, "rules": len(rules.rules)}
        await asyncio.to_thread(self.audit.write, "service", "rules_taken_up", details)
        return None

    async def _reload_keys(self) -> str | None:
        self.guard.reload()
        return self.guard.problem


def _counted(answer: Outcome | Exception) -> Decision:
    if isinstance(answer, Exception):
        raise answer
    metrics.count_decision(answer.decided, answer.new)
    return answer.decision


def _counted_or_error(answer: Outcome | Exception) -> Decision | Exception:
    return answer if isinstance(answer, Exception) else _counted(answer)
