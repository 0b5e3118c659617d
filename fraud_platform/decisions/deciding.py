"""From a transaction's features to a decision: model, rules and lists, policy, reasons. It touches no store."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fraud_platform.decisions.journal import Decided, Decision, decision_key
from fraud_platform.decisions.policy import NO_MATCHES, Matches, RiskLevel, combine
from fraud_platform.decisions.router import Candidate, Routed, Router
from fraud_platform.errors import ArtefactError
from fraud_platform.features.selection import Catalog
from fraud_platform.models.costs import CostMatrix

Event = Mapping[str, Any]
Observer = Callable[[str, float], None]
"""Told the name of a stage (read, features, model, rules and reasons, commit) and the seconds that it took."""


class Rules(Protocol):
    """What is asked of rules and lists; `decisions.ruleset.RuleSet` is one."""

    @property
    def digest(self) -> str: ...

    def match(self, event: Event, vector: NDArray[np.float32]) -> Matches: ...


class NoRules:
    """Matches nothing."""

    digest = ""

    def match(self, event: Event, vector: NDArray[np.float32]) -> Matches:
        return NO_MATCHES


class Known(NamedTuple):
    """A transaction as far as it is known before the models are asked.

    Attributes:
        digest: of the transaction as it was sent.
        event: its columns, with `known_fraud` as the states took it in.
        vector: float32 (d,), its features.
        late: whether a later event of one of its keys was known already.
    """

    digest: bytes
    event: Event
    vector: NDArray[np.float32]
    late: bool


class Decider:
    """Decides with a worker's models and rules, which may be replaced between two calls.

    Raises:
        ArtefactError: if a model was trained on another catalog.
    """

    def __init__(self, router: Router, catalog: Catalog, rules: Rules | None, observe: Observer) -> None:
        for candidate in router.candidates:
            check_catalog(candidate, catalog)
        self.router = router
        self.rules: Rules = rules or NoRules()
        self._fingerprint = catalog.fingerprint
        self._observe = observe

    def decide(self, known: Sequence[Known], vectors: NDArray[np.float32]) -> list[Decided]:
        """A decision on each transaction; `vectors` (n, d) are theirs."""
        started = time.perf_counter()
        routed = self.router.route(vectors, [one.event["customer_id"] for one in known])
        ended = time.perf_counter()
        self._observe("model", ended - started)
        found = [self._decided(one, by) for one, by in zip(known, routed, strict=True)]
        self._observe("rules and reasons", time.perf_counter() - ended)
        return found

    def again(self, decided: Decided) -> Decided | None:
        """Decide again from what was stored: the same features, by the same version of the model.

        None where that version is not loaded. Rules and thresholds are those of now.
        """
        vector = np.frombuffer(decided.vector, "<f4").astype(np.float32)
        probability = None
        candidate = self.router.version(decided.decision.model_version)
        if decided.served_by != "rules":
            found = candidate.ask(vector[np.newaxis, :]) if candidate else None
            if found is None:
                return None
            probability = found[0]
        by = Routed(decided.served_by, candidate, probability, degraded=decided.decision.degraded)
        return self._decided(Known(decided.request_digest, decided.event, vector, decided.decision.late), by)

    def _decided(self, known: Known, by: Routed) -> Decided:
        event, candidate = known.event, by.candidate
        risk: RiskLevel = "medium"
        model_action = None
        if candidate is not None and by.probability is not None:
            risk, model_action = candidate.policy.judge(by.probability)
        matches = self.rules.match(event, known.vector)
        action, matched = combine(model_action, matches)
        if action != "approve":
            risk = "high"
        elif risk == "high":
            risk = "medium"  # the model would not have approved, and a rule or a list did
        reasons = ()
        if action != "approve" and candidate is not None and candidate.reasons is not None:
            reasons = candidate.reasons.of(event, known.vector, probability=by.probability)
        decision = Decision(
            transaction_id=event["transaction_id"],
            decision_id=decision_key(event["transaction_id"]).hex(),
            is_fraud=action != "approve",
            fraud_probability=by.probability,
            risk_level=risk,
            action=action,
            expected_loss=expected_loss(by.probability, event["amount_cents"], self._costs(candidate)),
            reasons=reasons,
            matched_rules=matched,
            model_version=candidate.version if candidate else "none",
            catalog_fingerprint=self._fingerprint,
            timestamp=datetime.now(UTC),
            late=known.late,
            degraded=by.degraded,
        )
        return Decided(
            request_digest=known.digest,
            event=dict(event),
            vector=known.vector.tobytes(),
            decision=decision,
            served_by=by.served_by,
            shadow=by.shadow,
            shadow_rules=tuple(match.name for match in matches.shadow),
            rules_digest=self.rules.digest,
        )

    def _costs(self, candidate: Candidate | None) -> CostMatrix:
        """Those of the model that decided; without one, those of any that is loaded."""
        known = candidate or next(iter(self.router.candidates), None)
        return known.costs if known else CostMatrix()


def check_catalog(candidate: Candidate, catalog: Catalog) -> None:
    """
    Raises:
        ArtefactError: if the model was trained on another catalog.
    """
    trained_on = candidate.artefact.card.catalog.fingerprint
    if trained_on != catalog.fingerprint:
        raise ArtefactError(
            f"Model {candidate.version} was trained on catalog {trained_on}, "
            f"but this code computes catalog {catalog.fingerprint}. Train it again, or serve it with its own Bento."
        )


def expected_loss(probability: float | None, amount_cents: int, costs: CostMatrix) -> int:
    """What approving costs on average, minor units; all that can be lost where no probability is known.

    >>> expected_loss(0.25, 10_000, CostMatrix(missed_fraud_fee=2_000))
    3000
    """
    loss = amount_cents + costs.missed_fraud_fee
    return loss if probability is None else round(probability * loss)
