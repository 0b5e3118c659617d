"""The online driver: the features of one event, from the recent events of its keys.

The state of a key holds its events of the longest look-back, in order of time; the features come
from the same compiled fold and the same row step as in batch.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_platform.errors import StoreError
from fraud_platform.features.batch import fold_rollings, key_codes, to_columns
from fraud_platform.features.catalog import TEXT_COLUMNS, Catalog
from fraud_platform.features.derive import Derivation, to_int
from fraud_platform.features.expressions import Expression, Rolling
from fraud_platform.features.fold import Groups, group_rows

Entity = tuple[str, ...]
States = dict[bytes, bytes]


@dataclass(frozen=True)
class Features:
    """One event's model inputs, float32 (d,), and the states of its keys with the event in them."""

    vector: NDArray[np.float32]
    states: States


class OnlineFeatures:
    """Computes features of single events for one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._header = bytes.fromhex(catalog.fingerprint)
        self._inputs: dict[Entity, list[Expression]] = {
            entity: list(dict.fromkeys(r.column for r in rollings if r.column is not None))
            for entity, rollings in catalog.rollings.items()
        }

    def keys(self, event: Mapping[str, Any]) -> dict[Entity, bytes]:
        """The store's key for each entity of the event; an entity with a null part has none."""
        found: dict[Entity, bytes] = {}
        for entity in self.catalog.rollings:
            parts = [event.get(name) for name in entity]
            if None not in parts:
                found[entity] = _key(entity, parts)
        return found

    def compute(
        self, event: Mapping[str, Any], keys: Mapping[Entity, bytes], states: Mapping[bytes, bytes | None]
    ) -> Features:
        """The event's features as of its own time, and the states that hold it afterwards.

        Args:
            event: the columns of `catalog.columns`; `event_us` as int, text as str, None for missing.
            keys: what `keys` gave; states: what the store holds under them.

        Raises:
            StoreError: for a state that was written under another catalog.
        """
        columns = {name: _one_row(name, event.get(name)) for name in self.catalog.columns}
        now = np.array([event["event_us"]], np.int64)
        row_step = Derivation(columns, {})
        aggregates: dict[Rolling, NDArray[np.int64]] = {}
        after: States = {}
        for entity, rollings in self.catalog.rollings.items():
            inputs = self._inputs[entity]
            row = np.concatenate([now, *(to_int(row_step.evaluate(column)) for column in inputs)])
            key = keys.get(entity)
            history = self._decode(states[key] if key else None, len(row))
            position = int(np.searchsorted(history[:, 0], now[0], side="right"))
            events = np.insert(history, position, row, axis=0)
            code = -1 if key is None else 0
            groups = Groups(np.full(len(events), code, np.int64), np.ascontiguousarray(events[:, 0]))
            values = {column: np.ascontiguousarray(events[:, 1 + i]) for i, column in enumerate(inputs)}
            folded = fold_rollings(groups, rollings, self.catalog, values)
            aggregates.update({rolling: every[position : position + 1] for rolling, every in folded.items()})
            if key is not None:
                recent = events[events[:, 0] >= events[-1, 0] - self.catalog.look_back_us]
                after[key] = self._header + recent.tobytes()
        derivation = Derivation(columns, aggregates)
        vector = np.array([derivation.evaluate(feature.formula)[0] for feature in self.catalog.features], np.float32)
        return Features(vector, after)

    def states_of(self, events: pl.DataFrame) -> Iterator[tuple[bytes, bytes]]:
        """The state of every key after these events (ascending by time), to rebuild a store from."""
        columns = to_columns(events, self.catalog)
        row_step = Derivation(columns, {})
        times = events["event_us"].to_numpy()
        for entity in self.catalog.rollings:
            inputs = [to_int(row_step.evaluate(column)) for column in self._inputs[entity]]
            table = np.column_stack([times, *inputs])
            order, offsets = group_rows(key_codes(events, entity))
            table = table[order]
            parts = [events[name].gather(order[offsets[:-1]]).to_list() for name in entity]
            for group, values in enumerate(zip(*parts, strict=True)):
                rows = table[offsets[group] : offsets[group + 1]]
                yield _key(entity, values), self._header + rows.tobytes()

    def _decode(self, state: bytes | None, width: int) -> NDArray[np.int64]:
        if state is None:
            return np.empty((0, width), np.int64)
        if not state.startswith(self._header):
            raise StoreError(
                f"The online store holds the state of another catalog than {self.catalog.fingerprint}. "
                "Materialize `online_state` to rebuild it."
            )
        return np.frombuffer(state, np.int64, offset=len(self._header)).reshape(-1, width)


def _key(entity: Entity, parts: tuple[Any, ...] | list[Any]) -> bytes:
    """A digest, so that a key of any length fits any store."""
    text = "\x1f".join((*entity, *map(str, parts)))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _one_row(name: str, value: Any) -> NDArray[Any]:
    if name == "known_fraud":  # no label is known at the moment of the event
        return np.zeros(1)
    if name in TEXT_COLUMNS:
        return np.array([value], object)
    return np.array([np.nan if value is None else value], np.float64)
