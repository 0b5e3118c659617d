"""The online driver: the features of events as they come, from the bounded states of their keys."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_platform.features.batch import key_codes
from fraud_platform.features.columns import dense_codes, rows_to_matrix, to_matrix
from fraud_platform.features.derive import Derivation
from fraud_platform.features.entity_folds import EntityFolds
from fraud_platform.features.entity_keys import Entity, EntityKeys
from fraud_platform.features.expressions import KNOWN_FRAUD, Column
from fraud_platform.features.fold import group_rows
from fraud_platform.features.plans import Aggregate
from fraud_platform.features.selection import Catalog
from fraud_platform.features.timeline import Timeline

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


class Batch(NamedTuple):
    """The same of a sequence of events, each seeing what the earlier ones left.

    Attributes:
        vectors: float32 (n, d).
        latest_us: int64 (n,).
        states: of the keys of all events, after all of them.
    """

    vectors: NDArray[np.float32]
    latest_us: NDArray[np.int64]
    states: States


class OnlineFeatures:
    """Computes the features of one catalog. One object a thread: it works in its own memory."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._labelled = [p for p, formula in enumerate(catalog.inputs) if formula == Column(KNOWN_FRAUD)]
        self._columns = sorted({*catalog.input_columns, *catalog.formula_columns})
        self._input_step = Derivation(catalog.inputs, self._columns, [])
        formulas = [feature.formula for feature in catalog.features]
        self._feature_step = Derivation(formulas, self._columns, catalog.all_rollings)
        self._entities = {entity: number for number, entity in enumerate(catalog.rollings)}
        self._folds = EntityFolds(
            [_aggregates_of(catalog, entity) for entity in self._entities],
            catalog.inputs,
            bytes.fromhex(catalog.fingerprint),
        )
        self._keys = EntityKeys(self._entities)
        self._labelled_keys = EntityKeys(
            entity for entity, rolls in catalog.rollings.items() if any(r.delayed for r in rolls)
        )

    def keys(self, event: Mapping[str, Any]) -> dict[Entity, bytes]:
        """The store's key for each entity of the event; an entity with a null part has none."""
        return self._keys.of(event)

    def labelled_keys(self, event: Mapping[str, Any]) -> dict[Entity, bytes]:
        """The keys whose states change when the event's label becomes known."""
        return self._labelled_keys.of(event)

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
        batch = self.compute_all([event], [keys], states)
        return Features(batch.vectors[0], batch.states, int(batch.latest_us[0]))

    def compute_all(
        self,
        events: Sequence[Mapping[str, Any]],
        keys: Sequence[Mapping[Entity, bytes]],
        states: Mapping[bytes, bytes | None],
    ) -> Batch:
        """What `compute` gives for each event in turn, on the states that the events before it left.

        Args:
            events: each as `compute` takes it, in the order in which they count.
            keys: what `keys` gave for each; states: what the store holds under all of them.

        Raises:
            StoreError, CatalogError: as `compute`, for any of the events; one at a time tells for which.
        """
        columns = rows_to_matrix(events, self._columns)
        inputs = np.ascontiguousarray(self._input_step.to_integers(columns).T)
        times = np.array([event["event_us"] for event in events], np.int64)
        each_key = [of_event.get(entity) for entity in self._entities for of_event in keys]
        taken = self._folds.take(each_key, states, times, inputs)
        vectors = np.empty((len(events), len(self.catalog.features)), np.float32)
        self._feature_step.to_floats(columns, np.ascontiguousarray(taken.seen.T), vectors)
        return Batch(vectors, taken.latest, taken.states)

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
                    state = self._folds.relabel(self._entities[entity], state, event["event_us"], source, change)
                after[key] = state
        return after


def timeline_of(catalog: Catalog, entity: Entity) -> Timeline:
    """The fold of one of the catalog's entities."""
    return Timeline(_aggregates_of(catalog, entity), catalog.inputs, bytes.fromhex(catalog.fingerprint))


def _aggregates_of(catalog: Catalog, entity: Entity) -> list[Aggregate]:
    return [Aggregate(rolling, catalog.window(rolling)) for rolling in catalog.rollings[entity]]


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
            latest, firsts = times[order[offsets[1:] - 1]], order[offsets[:-1]]
            keys, owners = EntityKeys([entity]), events.select(entity)[firsts]

            def fold(first: int, entity: Entity = entity, order: Any = order, offsets: Any = offsets) -> list[bytes]:
                timeline, states = timeline_of(catalog, entity), []
                last = min(first + _KEYS_AT_ONCE, offsets.size - 1)
                while first < last:
                    more, first = timeline.states_of(order, offsets, first, last, times, inputs, _ROOM_BYTES)
                    states += more
                return states

            starts = range(0, offsets.size - 1, _KEYS_AT_ONCE)
            for start, states in zip(starts, pool.map(fold, starts), strict=True):
                rows = owners[start : start + len(states)].iter_rows(named=True)
                for position, (owner, state) in enumerate(zip(rows, states, strict=True), start):
                    yield keys.of(owner)[entity], int(latest[position]), state
