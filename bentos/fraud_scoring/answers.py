"""What the routes answer with, beside a decision: the types that the OpenAPI document describes."""

from typing import Any

import msgspec

from fraud_platform.decisions.journal import Decision, ServedBy, Shadow
from fraud_platform.decisions.policy import Action


class Replay(msgspec.Struct, frozen=True):
    """A decision made again from what was stored.

    Attributes:
        decision: as it was answered.
        same: whether probability and action are the same again.
        fraud_probability, action: as they come out now.
        why: what differs, in words; None where nothing does.
    """

    decision: Decision
    same: bool
    fraud_probability: float | None
    action: Action
    model_version: str
    why: str | None = None


class Shown(msgspec.Struct, frozen=True):
    """A decision with what was stored beside it.

    Attributes:
        transaction: as it was sent.
        features: the model's inputs by name, None where missing.
    """

    decision: Decision
    transaction: dict[str, Any]
    features: dict[str, float | None]
    served_by: ServedBy
    shadow: Shadow | None
    shadow_rules: tuple[str, ...]


class Part(msgspec.Struct, frozen=True):
    """One thing that the service needs, and how it is."""

    name: str
    ok: bool
    detail: str


class Health(msgspec.Struct, frozen=True):
    """`ok`, `degraded` (it decides, but not as it should) or `unavailable`."""

    status: str
    model_version: str | None
    catalog_fingerprint: str
    parts: tuple[Part, ...]
