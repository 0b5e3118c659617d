"""What the console reads: decisions, cases, the queue and what belongs to them, as plain structs.

Built on the store's protocol, the journal, the models' cards and the rules; it knows nothing of HTTP and changes
nothing. Every method may take milliseconds of reading: call it in a thread.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from bentos.fraud_scoring import metrics
from bentos.fraud_scoring.cases import Case, Found, Glance, Glanced, GlancedLabel, Queue, Recent, Related, Row, Wanted
from bentos.fraud_scoring.console.needs import ConsoleService, Health
from bentos.fraud_scoring.health_view import HealthView, health_view
from bentos.fraud_scoring.model_view import ModelPage, model_page
from bentos.fraud_scoring.rules_view import Rulebook, rulebook
from fraud_platform.decisions.backtest_report import BacktestReport, read_report, report_file
from fraud_platform.decisions.deployment import LastPromotion, read_deployment
from fraud_platform.decisions.journal import (
    Decided,
    Labelled,
    decision_key,
    decode,
    entity_key,
    label_key,
    reason_key,
)
from fraud_platform.decisions.lists import parse_lists
from fraud_platform.decisions.rule_files import read_file
from fraud_platform.errors import RulesError, ServiceError, WarehouseError
from fraud_platform.features.stores import Entry, Store
from fraud_platform.settings import Settings

WINDOW = 250
"""Entries of the outbox that are read at once; the summary of what was decided of late is over the newest window."""
LOOKED_THROUGH = 2_000
"""Entries that are looked through for those that a filter wants, at most."""
RELATED_COLUMNS = ("card_id", "device_id", "merchant_id")
HISTORY = 60
"""Decisions of a customer that a page shows, at most."""

_GLANCE = msgspec.msgpack.Decoder(Glance | GlancedLabel)
_DECISION_ID = re.compile(r"[0-9a-fA-F]{32}\Z")


class CaseNotFound(Exception):
    """The store has no decision of that id."""


class Desk:
    """The read model on what one service holds."""

    def __init__(self, service: ConsoleService) -> None:
        self._service = service
        self._store: Store = service.store

    def last(self) -> int:
        """The sequence of the newest entry."""
        return self._store.last_sequence()

    def waiting(self) -> int:
        """How many decisions wait for a verdict."""
        return self._store.waiting()

    def recent(self, after: int, limit: int, wanted: Wanted | None = None) -> Recent:
        """The newest `limit` wanted decisions whose sequence is greater than `after`."""
        wanted = wanted or Wanted()
        last = upper = self._store.last_sequence()
        found: list[Decided] = []
        seen: list[Glanced] = []
        while upper > after and len(found) < limit and last - upper < LOOKED_THROUGH:
            lower = max(upper - WINDOW, after)
            window = [entry for entry in self._store.entries(lower, upper - lower) if entry.sequence <= upper]
            if not window:  # older ones were removed once the warehouse had them
                upper = after
                break
            for entry in reversed(window):
                if isinstance(glance := _GLANCE.decode(entry.content), Glance):
                    seen.append(glance.decision)
                    if len(found) < limit and wanted.matches(glance.decision) and (decided := _decision(entry)):
                        found.append(decided)
            upper = lower
        newest = seen[:WINDOW]
        return Recent(
            rows=self._rows(found),
            last=last,
            actions=Counter(decision.action for decision in newest),
            degraded=sum(decision.degraded for decision in newest),
            looked_through=len(seen),
            exhausted=upper > after and len(found) < limit,
        )

    def queue(self, limit: int) -> Queue:
        """The first `limit` decisions that wait."""
        keys = self._store.queue(limit)
        records = self._store.read(keys, []).records if keys else {}
        waiting = [decode(content) for key in keys if (content := records[key]) is not None]
        rows = self._rows([decided for decided in waiting if isinstance(decided, Decided)])
        return Queue(rows, self._store.waiting())

    def row(self, decision_id: str) -> Row:
        """
        Raises:
            CaseNotFound: if the store has no such decision.
        """
        decided = self._record(_key_of(decision_id))
        if decided is None:
            raise CaseNotFound(decision_id)
        return self._rows([decided])[0]

    def case(self, decision_id: str) -> Case:
        """
        Raises:
            CaseNotFound: if the store has no such decision.
        """
        row = self.row(decision_id)
        decided = row.decided
        return Case(
            row,
            labels=self._labels(decided.decision.transaction_id, row.label),
            history=self.history(decided.event["customer_id"]),
            related=self.similar(decided),
        )

    def label(self, transaction_id: str) -> Labelled | None:
        """The newest verdict on a transaction."""
        return self._newest_labels([transaction_id])[transaction_id]

    def history(self, customer_id: str, limit: int = HISTORY) -> tuple[Row, ...]:
        """The customer's decisions, the newest first."""
        return self._filed(entity_key("customer_id", customer_id), limit)

    def similar(self, decided: Decided, limit: int = 8) -> tuple[Related, ...]:
        """Cases that were not approved for the same first reason, or by the same card, device or merchant.

        Without the case itself; what has none is left out.
        """
        own = decided.decision.transaction_id
        kinds = [("reason", reason.feature, reason_key(reason.feature)) for reason in decided.decision.reasons[:1]]
        kinds += [
            (column, value, entity_key(column, value))
            for column in RELATED_COLUMNS
            if (value := decided.event.get(column)) is not None
        ]
        found = [(kind, value, self._filed(key, limit + 1)) for kind, value, key in kinds]
        others = [
            Related(kind, value, tuple(row for row in rows if row.decided.decision.transaction_id != own)[:limit])
            for kind, value, rows in found
        ]
        return tuple(related for related in others if related.rows)

    def search(self, text: str, limit: int = 50) -> Found:
        """What is known by a decision's or transaction's id, or about a customer, card, device or merchant."""
        keys = dict.fromkeys([_key_of(text), decision_key(text)])
        exact = [decided for key in keys if key is not None and (decided := self._record(key)) is not None]
        groups = [
            Related(column, text, rows)
            for column in ("customer_id", *RELATED_COLUMNS)
            if (rows := self._filed(entity_key(column, text), limit))
        ]
        return Found(self._rows(exact), tuple(groups), None if exact else self.label(text))

    def inputs(self, decided: Decided) -> tuple[tuple[str, float | None], ...]:
        """The model's inputs at the decision, by name; nothing where no loaded model has that catalog."""
        vector = np.frombuffer(decided.vector, dtype="<f4")
        models = self._service.models
        for model in (models.champion, models.challenger, models.fallback):
            card = model.artefact.card if model is not None else None
            if card is not None and card.catalog.fingerprint == decided.decision.catalog_fingerprint:
                names = card.feature_columns
                return tuple(zip(names, map(_number, vector), strict=True)) if len(names) == len(vector) else ()
        return ()

    def model_card(self) -> ModelPage:
        """The models that this worker holds, and the last promotion as the deployment file tells it."""
        return model_page(self._service.models, *_promotion(self._service.settings.deployment))

    def rules(self) -> Rulebook:
        """Rules and lists with their backtests. Lists that were just changed are shown before they are in force."""
        service = self._service
        entries, problem = service.rules.lists.entries, service.rules_problem
        if service.rules.stale():
            try:
                entries = parse_lists(read_file(service.settings.lists)).entries
            except RulesError as error:
                problem = problem or str(error)
        return rulebook(service.rules, entries, problem, *_backtest(service.settings))

    def health(self, found: Health) -> HealthView:
        """Parts, latency, counts, outbox and drift.

        Args:
            found: what the service says of itself.
        """
        text = metrics.render()[0].decode()
        return health_view(found, self._store, text, self._service.settings.reports)

    def _record(self, key: bytes | None) -> Decided | None:
        content = None if key is None else self._store.read([key], []).records[key]
        decided = decode(content) if content else None
        return decided if isinstance(decided, Decided) else None

    def _filed(self, key: bytes, limit: int) -> tuple[Row, ...]:
        """The decisions filed under a key, the newest first."""
        return self._rows(
            decided for entry in self._store.filed(key, limit) if (decided := _decision(entry)) is not None
        )

    def _labels(self, transaction_id: str, newest: Labelled | None) -> tuple[Labelled, ...]:
        entries = self._store.filed(entity_key("transaction_id", transaction_id), HISTORY)
        labels = [label for entry in entries if isinstance(label := decode(entry.content), Labelled)]
        if newest is not None and not any(_same_verdict(label, newest) for label in labels):
            labels.insert(0, newest)
        return tuple(sorted(labels, key=lambda label: label.reported_us, reverse=True))

    def _rows(self, decisions: Iterable[Decided]) -> tuple[Row, ...]:
        decisions = list(decisions)
        labels = self._newest_labels([decided.decision.transaction_id for decided in decisions])
        return tuple(Row(decided, labels[decided.decision.transaction_id]) for decided in decisions)

    def _newest_labels(self, transaction_ids: Sequence[str]) -> dict[str, Labelled | None]:
        keys = {transaction_id: label_key(transaction_id) for transaction_id in transaction_ids}
        records = self._store.read(list(keys.values()), []).records if keys else {}
        found = {of: decode(content) if (content := records[key]) else None for of, key in keys.items()}
        return {of: label if isinstance(label, Labelled) else None for of, label in found.items()}


def _decision(entry: Entry) -> Decided | None:
    found = decode(entry.content)
    return found if isinstance(found, Decided) else None


def _key_of(decision_id: str) -> bytes | None:
    """The record's key, None where this is no decision's id."""
    return bytes.fromhex(decision_id) if _DECISION_ID.match(decision_id) else None


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def _promotion(deployment: Path) -> tuple[LastPromotion | None, str | None]:
    """How the champion came to serve, or why it cannot be told."""
    try:
        return read_deployment(deployment).promotion, None
    except ServiceError as error:
        return None, str(error)


def _backtest(settings: Settings) -> tuple[BacktestReport | None, str | None]:
    """The latest backtest of the rules, or why it cannot be shown."""
    try:
        return read_report(report_file(settings)), None
    except WarehouseError as error:
        return None, str(error)


def _same_verdict(one: Labelled, other: Labelled) -> bool:
    return (one.reported_us, one.is_fraud, one.source) == (other.reported_us, other.is_fraud, other.source)
