"""Registered versions as a person reads them: one row a version, and all that one version says of itself."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fraud_platform.features.listing import aligned
from fraud_platform.models import registry
from fraud_platform.models.artefact import read_card
from fraud_platform.models.registry import HistoryEntry, RegisteredVersion

HEADLINE = ("money_saved", "average_precision", "roc_auc", "card_precision_at_k")
"""The figures of the run that made a version, as far as it has them."""

ABSENT = "-"
SHORT = 8
"""Characters of a hash that tell training sets apart."""


def list_versions(tracking_uri: str, name: str, limit: int) -> list[str]:
    """The newest versions as a table.

    Raises:
        RegistryError: if MLflow does not answer.
    """
    found = registry.versions(tracking_uri, name)
    if not found:
        return [f"No version of {name} is registered in MLflow at {tracking_uri}."]
    head = ("version", "aliases", "algorithm", "created (UTC)", *HEADLINE, "snapshot", "catalog")
    rows = [_row(version, registry.run_metrics(tracking_uri, version.run_id)) for version in found[:limit]]
    older = [f"… and {len(found) - limit} older"] if len(found) > limit else []
    return [*aligned([head, *rows]), *older]


def show_version(tracking_uri: str, name: str, version_or_alias: str, folder: Path) -> list[str]:
    """What one version says of itself, from its artefact, and its history.

    Args:
        folder: where artefacts are kept; the version's is fetched there.

    Raises:
        RegistryError: if MLflow does not answer or lacks the version.
        ArtefactError: if its artefact is damaged.
    """
    version = registry.find(tracking_uri, name, version_or_alias)
    artefact = registry.download(tracking_uri, version, folder)
    entries = registry.history(tracking_uri, name)
    about = [entry for entry in entries if version.version in (entry.from_version, entry.to_version)]
    title = f"Version {version.version} of {name}{f' ({aliases})' if (aliases := ', '.join(version.aliases)) else ''}"
    facts = {
        "created": _moment(version),
        "run": version.run_id,
        "artefact": str(artefact),
        **dict(_facts(msgspec.to_builtins(read_card(artefact)))),
    }
    return [title, *aligned([(f"  {key}", value) for key, value in facts.items()]), *_history(about)]


def _row(version: RegisteredVersion, metrics: dict[str, float]) -> Sequence[str]:
    tags = version.tags
    return (
        str(version.version),
        ", ".join(version.aliases) or ABSENT,
        tags.get("algorithm", ABSENT),
        _moment(version),
        *(_figure(metrics[name]) if name in metrics else ABSENT for name in HEADLINE),
        tags.get("snapshot_hash", ABSENT)[:SHORT],
        tags.get("catalog_fingerprint", ABSENT),
    )


def _facts(card: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person asks of a card, in this order; what it has not is left out."""
    yield "algorithm", card["algorithm"]
    yield "source", card["source"]
    yield "catalog", f"{card['catalog']['fingerprint']}, {len(card['feature_columns'])} inputs"
    yield "training set", card["snapshot_hash"]
    yield "seed", str(card["seed"])
    for part in ("threshold", "thresholds", "parameters", "periods", "splits", "calibration", "evaluation"):
        if part in card:
            yield from _flat(part, card[part])
    for number, warning in enumerate(card["warnings"], 1):
        yield f"warning {number}", warning


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A value of one word, or those in it; lists, and times in microseconds, are for machines."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not str(key).endswith("_us"):
                yield from _flat(f"{name} {key}", inner)
    elif not isinstance(value, list | tuple):
        yield name, ABSENT if value is None else _figure(value) if isinstance(value, int | float) else str(value)


def _history(entries: Sequence[HistoryEntry]) -> list[str]:
    if not entries:
        return ["history: none"]
    rows = [(f"  {entry.at:%Y-%m-%d %H:%M}", _words(entry), f"by {entry.by}", entry.why) for entry in entries]
    return ["history (UTC)", *aligned(rows)]


def _words(entry: HistoryEntry) -> str:
    if entry.event == "refused":
        return f"version {entry.to_version} refused"
    verb = "promoted" if entry.event == "promoted" else "put back"
    instead = f" in place of {entry.from_version}" if entry.from_version else ""
    return f"version {entry.to_version} {verb}{instead}"


def _moment(version: RegisteredVersion) -> str:
    return f"{version.created:%Y-%m-%d %H:%M}" if version.created else ABSENT


def _figure(value: float) -> str:
    if isinstance(value, bool):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.4g}"
