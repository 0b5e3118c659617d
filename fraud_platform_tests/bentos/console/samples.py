"""Decisions, labels and a model card such as the console meets; each argument changes one thing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from fraud_platform.decisions.journal import (
    Decided,
    Decision,
    Labelled,
    Reason,
    decision_key,
    encode,
    entity_key,
    filed_under,
    label_key,
)
from fraud_platform.features.selection import CatalogOrigin
from fraud_platform.features.stores import Change, NewEntry, Store
from fraud_platform.models.artefact import FORMAT_VERSION, ModelCard
from fraud_platform.models.calibration import Calibrator
from fraud_platform.models.costs import CostMatrix, Thresholds
from fraud_platform.models.reference import Distribution, ReferenceProfile

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FINGERPRINT = "0f27f6bd1eb9c87c"
INPUTS = ("amount", "customer_count_1h", "is_foreign", "merchant_fraud_rate_7d")
REASONS = (
    Reason("customer_count_1h", "12 purchases in the last hour; this customer's usual is 1", 12.0, 0.31),
    Reason("is_foreign", "Abroad: the shop is in BR, the customer lives in DE", 1.0, 0.12),
    Reason("amount_to_customer_mean_30d", "8 times this customer's usual amount", 8.0, 0.04),
)


def decided(
    transaction_id: str = "tx-1",
    action: str = "review",
    *,
    at: datetime = NOW,
    reasons: tuple[Reason, ...] | None = None,
    event: dict[str, Any] | None = None,
    decision: dict[str, Any] | None = None,
    **other: Any,
) -> Decided:
    """One decision; `event`, `decision` and `other` go over what is usual for the action."""
    probability = {"approve": 0.004, "review": 0.41, "block": 0.93}[action]
    columns = {
        "transaction_id": transaction_id,
        "event_time": at,
        "customer_id": "customer-7",
        "amount_cents": 12_345,
        "merchant_id": "shop-3",
        "merchant_category": "electronics",
        "merchant_country": "BR",
        "currency": "EUR",
        "channel": "online",
        "device_id": "device-9",
        "ip_address": "203.0.113.7",
        "card_id": "card-5",
        "home_country": "DE",
        "latitude": None,
        "event_us": int(at.timestamp() * 1e6),
        "known_fraud": 0,
    } | (event or {})
    answer = Decision(
        **{
            "transaction_id": transaction_id,
            "decision_id": decision_key(transaction_id).hex(),
            "is_fraud": action != "approve",
            "fraud_probability": probability,
            "risk_level": "low" if action == "approve" else "high",
            "action": action,
            "expected_loss": int(probability * columns["amount_cents"]),
            "reasons": reasons if reasons is not None else (() if action == "approve" else REASONS),
            "model_version": "3",
            "catalog_fingerprint": FINGERPRINT,
            "timestamp": at + timedelta(milliseconds=3),
            "late": False,
        }
        | (decision or {})
    )
    return Decided(bytes(32), columns, other.pop("vector", bytes(4 * len(INPUTS))), answer, **other)


def file(store: Store, *decisions: Decided) -> None:
    """Commit decisions as the scorer does."""
    for found in decisions:
        key, content = decision_key(found.decision.transaction_id), encode(found)
        queue = {key: found.decision.expected_loss} if found.decision.action == "review" else {}
        change = Change({key: content}, {}, found.event["event_us"], [NewEntry(content, filed_under(found))], queue)
        store.commit(store.read([key], []), change)


def judge(store: Store, transaction_id: str, is_fraud: bool, at: datetime = NOW, by: str = "ana", **other: Any) -> None:
    """Commit a label as the scorer does."""
    key, waiting = label_key(transaction_id), decision_key(transaction_id)
    label = Labelled(
        transaction_id, is_fraud, int(at.timestamp() * 1e6), is_fraud, **{"source": "analyst", "by": by} | other
    )
    entry = NewEntry(encode(label), (entity_key("transaction_id", transaction_id),))
    change = Change({key: encode(label)}, {}, label.reported_us, [entry], {waiting: None})
    store.commit(store.read([key], []), change)


def card(**changes: Any) -> ModelCard:
    """The card of a small model, with the figures of an evaluation."""
    figures = {"roc_auc": 0.903, "average_precision": 0.41, "precision": 0.19, "recall": 0.78, "money_saved": 797_085.0}
    evaluation = {
        "rows": 5614,
        "frauds": 103,
        "roc_auc": 0.903,
        "intervals": {
            name: {"value": value, "low": value * 0.9, "high": min(value * 1.05, 1.0) if value <= 1 else value * 1.4}
            for name, value in figures.items()
        },
        "money": {
            "preventable": 1_065_647,
            "saved": 797_085,
            "saved_share": 0.748,
            "missed_frauds_cost": 144_362,
            "review_cost": 124_200,
            "blocked_good_cost": 0,
            "reviews": 414,
        },
        "calibration": {
            "error": 0.0056,
            "noise": 0.0041,
            "curve": [
                {"mean_predicted": p, "observed_rate": o, "rows": n}
                for p, o, n in ((0.004, 0.0, 3466), (0.03, 0.025, 445), (0.29, 0.31, 45), (0.85, 0.62, 16))
            ],
        },
        "by_fraud_type": {"stolen_card": {"frauds": 14, "found": 9, "recall": 0.643, "amount_missed": 27_030}},
        "by_segment": {
            "abroad": {"rows": 500, "frauds": 74, "precision": 0.23, "recall": 0.89, "saved": 610_825},
            "new customer": {"rows": 14, "frauds": 0, "precision": None, "recall": None, "saved": 0},
        },
    }
    days = ("2026-01-01", "2026-01-13", "2026-01-20", "2026-01-27", "2026-02-03")
    made = ModelCard(
        format_version=FORMAT_VERSION,
        model_name="fraud_model",
        algorithm="xgboost",
        parameters={"max_depth": 6, "learning_rate": 0.1},
        seed=1,
        native_file="model.ubj",
        feature_columns=INPUTS,
        importance=(0.5, 0.3, 0.2, 0.0),
        calibrator=Calibrator(),
        thresholds=Thresholds(0.047, 0.8),
        costs=CostMatrix(),
        reviews_a_day=100,
        catalog=CatalogOrigin(
            ("amount_cents", "card_id", "channel", "currency", "latitude", "merchant_country", "merchant_id"),
            ("age",),
            604_800_000_000,
            FINGERPRINT,
        ),
        source="sample",
        snapshot_hash="2d197bd4" * 8,
        periods={
            name: {"first": days[i], "end": days[i + 1]} for i, name in ((0, "train"), (1, "validation"), (3, "test"))
        },
        splits={"train": {"rows": 9730, "frauds": 161}},
        evaluation=evaluation,
        reference=ReferenceProfile(1, {}, 1, Distribution((), (), 0.0)),
        libraries={"xgboost": "3.2.0"},
        warnings=(),
    )
    return msgspec.structs.replace(made, **changes)
