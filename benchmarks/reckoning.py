"""What a store holds, held against what its clients were answered, and its features against every other way to them."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from installations import Installation

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from fraud_platform.decisions.journal import Decided
    from fraud_platform.features.stores import Store

AT_ONCE = 1_000


@dataclass(frozen=True)
class Reckoning:
    """What is wrong with a store, counted.

    Attributes:
        decisions: transactions that were answered.
        lost: those of them whose record or outbox entry is missing or says something else than the answer.
        duplicated: outbox entries on a transaction that another entry is on.
        feature_mismatches: features of decisions that come out otherwise when they are computed again, one event after
            the other in the order of the outbox or, of events that came in order, by the batch engine.
        other_scores: decisions whose score is not what their model gives on their features.
    """

    decisions: int
    lost: int
    duplicated: int
    feature_mismatches: int
    other_scores: int


def reckon(
    installation: Installation, store: "Store", answers: Mapping[str, bytes], models: Mapping[str, Path], aside: Path
) -> Reckoning:
    """
    Args:
        store: that the service wrote to.
        answers: by transaction_id, the bodies of the answers.
        models: by version, the artefacts that decided.
        aside: a folder for another store.
    """
    entries = outbox(store)
    return Reckoning(
        decisions=len(answers),
        lost=lost(store, entries, answers),
        duplicated=duplicated([entry.decision.transaction_id for entry in entries]),
        feature_mismatches=replay_mismatches(installation, entries, aside) + batch_mismatches(installation, entries),
        other_scores=other_scores(entries, models),
    )


def outbox(store: "Store") -> "list[Decided]":
    """The decisions in the order of their commits."""
    from fraud_platform.decisions.journal import Decided, decode

    found: list[Decided] = []
    after = 0
    while entries := store.entries(after, AT_ONCE):
        after = entries[-1].sequence
        found += [one for entry in entries if isinstance(one := decode(entry.content), Decided)]
    return found


def lost(store: "Store", entries: "list[Decided]", answers: Mapping[str, bytes]) -> int:
    """How many answers are not what record and outbox both say."""
    import msgspec

    from fraud_platform.decisions.journal import Decided, Decision, decision_key, decode

    sent_on = {entry.decision.transaction_id: entry.decision for entry in entries}
    wrong = 0
    for transaction_id, answer in answers.items():
        decision = msgspec.json.decode(answer, type=Decision)
        key = decision_key(transaction_id)
        record = store.read([key], []).records[key]
        kept = decode(record) if record else None
        wrong += not (isinstance(kept, Decided) and kept.decision == decision == sent_on.get(transaction_id))
    return wrong


def duplicated(ids: list[str]) -> int:
    """
    >>> duplicated(["a", "b", "a", "a"])
    2
    """
    return sum(times - 1 for times in Counter(ids).values())


def replay_mismatches(installation: Installation, entries: "list[Decided]", aside: Path) -> int:
    """Every event again, one after the other, on the states after the history."""
    from fraud_platform.features.online import OnlineFeatures
    from fraud_platform.features.stores.lmdb import LmdbStore

    history = LmdbStore(aside)
    installation.rebuild(history)
    online = OnlineFeatures(installation.catalog)
    states: dict[bytes, bytes | None] = {}
    found = np.empty((len(entries), len(installation.catalog.features)), np.float32)
    for row, entry in enumerate(entries):
        keys = online.keys(entry.event)
        unknown = [key for key in keys.values() if key not in states]
        states |= history.read([], unknown).states
        features = online.compute(entry.event, keys, states)
        states |= features.states
        found[row] = features.vector
    history.close()
    return _differences(installation, "replay", entries, found)


def batch_mismatches(installation: Installation, entries: "list[Decided]") -> int:
    """All events again, together with the history, as one table; those are compared that met no other out of order."""
    import polars as pl

    from fraud_platform.features.batch import compute_features
    from fraud_platform.features.events import read_events
    from fraud_platform.features.online import OnlineFeatures
    from fraud_platform.warehouse import connect

    catalog, last = installation.catalog, installation.last_day()
    with connect(installation.original.database, read_only=True) as connection:
        history = read_events(connection, catalog, last + timedelta(days=1), last)
    live = _in_columns(entries, history.schema).with_row_index("place").sort("event_us", "transaction_id")
    computed = compute_features(pl.concat([history, live.drop("place")]), catalog, skip=history.height)
    found = np.empty_like(computed)
    found[live["place"].to_numpy()] = computed
    keys = OnlineFeatures(catalog).keys
    early = overtaken([(entry.event["event_us"], list(keys(entry.event).values())) for entry in entries])
    return _differences(installation, "batch", entries, found, early | [entry.decision.late for entry in entries])


def overtaken(events: list[tuple[int, list[bytes]]]) -> "NDArray[np.bool_]":
    """Of events in the order of their commits (when, keys), those before which one of their keys' events belongs
    that was committed after them.

    >>> overtaken([(1, [b"a"]), (3, [b"a", b"b"]), (3, [b"b"]), (2, [b"a"])]).tolist()
    [False, True, False, False]
    """
    found = np.zeros(len(events), bool)
    earliest: dict[bytes, int] = {}
    for row in reversed(range(len(events))):
        moment, keys = events[row]
        for key in keys:
            later = earliest.get(key, moment)
            found[row] |= later < moment
            earliest[key] = min(later, moment)
    return found


def other_scores(entries: "list[Decided]", models: Mapping[str, Path]) -> int:
    """Decisions with another score than the model that they name gives, or by a model that was never deployed."""
    from fraud_platform.models.artefact import Artefact

    wrong = 0
    by_version: dict[str, list[Decided]] = {}
    for entry in entries:
        if entry.decision.fraud_probability is not None:
            by_version.setdefault(entry.decision.model_version, []).append(entry)
    for version, decided in by_version.items():
        if version not in models:
            wrong += len(decided)
            continue
        expected = Artefact.load(models[version]).predict(_vectors(decided))
        wrong += int((expected != [entry.decision.fraud_probability for entry in decided]).sum())
    return wrong


def _differences(
    installation: Installation,
    engine: str,
    entries: "list[Decided]",
    found: "NDArray[np.float32]",
    left_out: "NDArray[np.bool_] | None" = None,
) -> int:
    import polars as pl

    from fraud_platform.monitoring.parity import compare

    ids = pl.Series([entry.decision.transaction_id for entry in entries])
    comparison = compare(engine, ids, installation.catalog, _vectors(entries), found, left_out)
    print(f"{engine}: {comparison.mismatches} features differ of {comparison.events:,} decisions", file=sys.stderr)
    for example in comparison.examples:
        print(f"  {example}", file=sys.stderr)
    return comparison.mismatches


def _vectors(entries: "list[Decided]") -> "NDArray[np.float32]":
    return np.frombuffer(b"".join(entry.vector for entry in entries), "<f4").reshape(len(entries), -1)


def _in_columns(entries: "list[Decided]", schema: "pl.Schema") -> "pl.DataFrame":
    """The events as the warehouse would have them."""
    import polars as pl

    rows = [
        {**entry.event, "day": datetime.fromtimestamp(entry.event["event_us"] // 1_000_000, UTC).date()}
        for entry in entries
    ]
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in schema}, schema=schema)
