"""The online driver: the features of one event, from the bounded state of its keys."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_platform.features.batch import feature_derivation, key_codes
from fraud_platform.features.columns import dense_codes, to_matrix, to_vector
from fraud_platform.features.derive import Derivation
from fraud_platform.features.expressions import KNOWN_FRAUD, Column
from fraud_platform.features.fold import NULL, group_rows
from fraud_platform.features.selection import Catalog
from fraud_platform.features.timeline import Aggregate, Timeline

Entity = tuple[str, ...]
States = dict[bytes, bytes]

_KEYS_AT_ONCE = 20_000
_ROOM_BYTES = 32 << 20


@dataclass(frozen=True)
class Features:
    """One event's model inputs, and what its keys hold afterwards.

    Attributes:
        vector: float32 (d,).
        states: the states of the event's keys with the event in them.
        latest_us: the latest instant of any of its keys, the event included, microseconds. An event
            before it came late: see `timeline` for what it sees then.
    """

    vector: NDArray[np.float32]
    states: States
    latest_us: int


class OnlineFeatures:
    """Computes features of single events for one catalog. One object a thread: it works in its own memory."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._inputs = catalog.inputs
        self._labelled = [p for p, formula in enumerate(self._inputs) if formula == Column(KNOWN_FRAUD)]
        self._input_columns = catalog.input_columns
        self._input_step = Derivation(self._inputs, self._input_columns, [])
        self._feature_step = feature_derivation(catalog)
        self._timelines = {entity: timeline_of(catalog, entity) for entity in catalog.rollings}
        self._amended = [entity for entity, rollings in catalog.rollings.items() if any(r.delayed for r in rollings)]

    def keys(self, event: Mapping[str, Any]) -> dict[Entity, bytes]:
        """The store's key for each entity of the event; an entity with a null part has none."""
        return _keys(event, self._timelines)

    def labelled_keys(self, event: Mapping[str, Any]) -> dict[Entity, bytes]:
        """The keys whose states change when the event's label becomes known."""
        return _keys(event, self._amended)

    def compute(
        self, event: Mapping[str, Any], keys: Mapping[Entity, bytes], states: Mapping[bytes, bytes | None]
    ) -> Features:
        """The event's features as of its own time, and the states that hold it afterwards.

        Args:
            event: the columns of `catalog.columns`; `event_us` as int, text as str, None for missing;
                `known_fraud` is 1 where its label came before it did.
            keys: what `keys` gave; states: what the store holds under them.

        Raises:
            StoreError: for a state that was written under another catalog, or is damaged.
            CatalogError: if a sum leaves the range of int64.
        """
        time = event["event_us"]
        inputs = self._input_step.to_integers(to_vector(event, self._input_columns))[:, 0]
        aggregates = np.empty((len(self.catalog.all_rollings), 1), np.int64)
        after: States = {}
        latest, place = time, 0
        for entity, timeline in self._timelines.items():
            seen = aggregates[place : place + timeline.size, 0]
            place += timeline.size
            key = keys.get(entity)
            if key is None:
                seen[:] = NULL
                continue
            seen[:], key_latest, after[key] = timeline.step(states[key], time, inputs)
            latest = max(latest, key_latest)
        vector = np.empty((1, len(self.catalog.features)), np.float32)
        self._feature_step.to_floats(to_vector(event, self.catalog.formula_columns), aggregates, vector)
        return Features(vector[0], after, latest)

    def relabel(
        self,
        event: Mapping[str, Any],
        keys: Mapping[Entity, bytes],
        states: Mapping[bytes, bytes | None],
        change: int,
    ) -> States:
        """The states of an event's keys after its known fraud changed by 1 or -1.

        Args:
            keys: what `labelled_keys` gave; states: what the store holds under them. A key without a
                state is left without one: it did not see the event, or has let it go.

        Raises:
            StoreError, CatalogError: as `compute`.
        """
        after: States = {}
        for entity, key in keys.items():
            state = states[key]
            if state is not None:
                for source in self._labelled:
                    state = self._timelines[entity].relabel(state, event["event_us"], source, change)
                after[key] = state
        return after


def timeline_of(catalog: Catalog, entity: Entity) -> Timeline:
    """The fold of one of the catalog's entities."""
    aggregates = [Aggregate(rolling, catalog.window(rolling)) for rolling in catalog.rollings[entity]]
    return Timeline(aggregates, catalog.inputs, bytes.fromhex(catalog.fingerprint))


def states_of(events: pl.DataFrame, catalog: Catalog, threads: int | None = None) -> Iterator[tuple[bytes, int, bytes]]:
    """Each key, its latest event time and its state after these events (ascending by time).

    What a store is rebuilt from; keys are folded on all cores.
    """
    columns = to_matrix(events, catalog.input_columns)
    inputs = np.ascontiguousarray(Derivation(catalog.inputs, catalog.input_columns, []).to_integers(columns).T)
    times = events["event_us"].to_numpy()
    codes = {name: dense_codes(events[name]) for name in {name for entity in catalog.rollings for name in entity}}
    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        for entity in catalog.rollings:
            order, offsets = group_rows(key_codes([codes[name] for name in entity]))
            latest = times[order[offsets[1:] - 1]]
            firsts = order[offsets[:-1]]
            parts = [events[name].gather(firsts) for name in entity]

            def fold(first: int, entity: Entity = entity, order: Any = order, offsets: Any = offsets) -> list[bytes]:
                timeline, states = timeline_of(catalog, entity), []
                last = min(first + _KEYS_AT_ONCE, offsets.size - 1)
                while first < last:
                    more, first = timeline.states_of(order, offsets, first, last, times, inputs, _ROOM_BYTES)
                    states += more
                return states

            starts = range(0, offsets.size - 1, _KEYS_AT_ONCE)
            for start, states in zip(starts, pool.map(fold, starts), strict=True):
                keys = zip(*(part[start : start + len(states)].to_list() for part in parts), strict=True)
                for position, (values, state) in enumerate(zip(keys, states, strict=True), start):
                    yield _key(entity, values), int(latest[position]), state


def _keys(event: Mapping[str, Any], entities: Any) -> dict[Entity, bytes]:
    found: dict[Entity, bytes] = {}
    for entity in entities:
        parts = [event.get(name) for name in entity]
        if None not in parts:
            found[entity] = _key(entity, parts)
    return found


def _key(entity: Entity, parts: tuple[Any, ...] | list[Any]) -> bytes:
    """A digest, so that a key of any length fits any store."""
    text = "\x1f".join((*entity, *map(str, parts)))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
