"""The batch driver: the features of many events at once, from events in columns."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError
from fraud_platform.features.catalog import Catalog
from fraud_platform.features.derive import Derivation, to_int
from fraud_platform.features.expressions import Expression, Rolling
from fraud_platform.features.fold import Groups

Array = NDArray[Any]


def compute_features(events: pl.DataFrame, catalog: Catalog, threads: int = 2) -> NDArray[np.float32]:
    """Every feature of every event.

    Args:
        events: the columns of `catalog.columns`, `event_us` (int64, ascending) and `known_fraud`.
            It must reach back `catalog.look_back_us` before the first event whose features are wanted.

    Returns:
        float32 (n, len(catalog.features)), NaN where a feature is missing.

    Raises:
        CatalogError: if the events are not in order of time, or a sum leaves the range of int64.
    """
    times = events["event_us"].to_numpy()
    if times.size and np.any(np.diff(times) < 0):
        raise CatalogError("Events must be in ascending order of event_us. Sort them before computing features.")
    columns = to_columns(events, catalog)
    row_step = Derivation(columns, {})
    aggregates: dict[Rolling, NDArray[np.int64]] = {}
    for entity, rollings in catalog.rollings.items():
        inputs: dict[Expression, NDArray[np.int64]] = {
            r.column: to_int(row_step.evaluate(r.column)) for r in rollings if r.column is not None
        }
        aggregates.update(fold_rollings(Groups(key_codes(events, entity), times), rollings, catalog, inputs, threads))
    derivation = Derivation(columns, aggregates)
    matrix = np.empty((events.height, len(catalog.features)), np.float32)
    for position, feature in enumerate(catalog.features):
        matrix[:, position] = derivation.evaluate(feature.formula)
    return matrix


def fold_rollings(
    groups: Groups,
    rollings: list[Rolling],
    catalog: Catalog,
    inputs: Mapping[Expression, NDArray[np.int64]],
    threads: int = 1,
) -> dict[Rolling, NDArray[np.int64]]:
    """The aggregates of one entity; the compiled fold releases the GIL, so threads share the work.

    Args:
        inputs: the column of each rolling, int64 (n,) with NULL where missing.
    """

    def fold(rolling: Rolling) -> NDArray[np.int64]:
        values = None if rolling.column is None else inputs[rolling.column]
        return groups.fold(rolling.operation, values, rolling.span_us, rolling.step_us, catalog.delay_us(rolling))

    if threads == 1:
        return {rolling: fold(rolling) for rolling in rollings}
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(rollings, pool.map(fold, rollings), strict=True))


def to_columns(events: pl.DataFrame, catalog: Catalog) -> dict[str, Array]:
    """The columns that formulas read: numbers as float64 (NaN for null), text as objects (None for null).

    `event_us` and `amount_cents` are exact in float64: both stay below 2**53.
    """
    columns: dict[str, Array] = {}
    for name in catalog.columns:
        series = events[name]
        if series.dtype == pl.String:
            columns[name] = series.to_numpy().astype(object)
        else:
            columns[name] = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return columns


def key_codes(events: pl.DataFrame, entity: tuple[str, ...]) -> NDArray[np.int64]:
    """Each event's key as a dense number, -1 where any part of the key is null: int64 (n,)."""
    codes = _dense(events[entity[0]])
    for name in entity[1:]:
        part = _dense(events[name])
        paired = np.where((codes < 0) | (part < 0), -1, codes * (part.max(initial=0) + 1) + part)
        codes = _dense(pl.Series(paired).replace(-1, None))
    return codes


def _dense(series: pl.Series) -> NDArray[np.int64]:
    indices = series.to_arrow().dictionary_encode().indices
    return indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
