"""The batch driver: the features of many events at once, from events in columns."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import cpu_count
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraud_platform.errors import CatalogError
from fraud_platform.features.columns import dense_codes, to_matrix
from fraud_platform.features.derive import Derivation
from fraud_platform.features.expressions import Column, Expression, Rolling, columns_of
from fraud_platform.features.fold import NULL, Groups
from fraud_platform.features.selection import Catalog

Array = NDArray[Any]
_SLICE_ROWS = 1 << 16
"""Rows that one thread derives at a time."""


def compute_features(
    events: pl.DataFrame, catalog: Catalog, skip: int = 0, threads: int | None = None
) -> NDArray[np.float32]:
    """Every feature of every event but the first `skip`, which are history only.

    Args:
        events: the columns of `catalog.columns`, `event_us` (int64, ascending) and `known_fraud`.
            It must reach back `catalog.look_back_us` before the first event whose features are wanted.
        threads: default: one a core.

    Returns:
        float32 (n - skip, len(catalog.features)), NaN where a feature is missing.

    Raises:
        CatalogError: if the events are not in order of time, or a sum leaves the range of int64.
    """
    aggregates = compute_aggregates(events, catalog, skip, threads)
    return derive_features(events[skip:], aggregates, catalog, threads)


def compute_aggregates(
    events: pl.DataFrame, catalog: Catalog, skip: int = 0, threads: int | None = None
) -> NDArray[np.int64]:
    """The rolling aggregates of every event but the first `skip`: int64 (len(catalog.all_rollings), n - skip)."""
    times = events["event_us"].to_numpy()
    if times.size and np.any(times[1:] < times[:-1]):
        raise CatalogError("Events must be in ascending order of event_us. Sort them before computing features.")
    inputs = _inputs(events, catalog)
    aggregates = np.full((len(catalog.all_rollings), times.size - skip), NULL, np.int64)
    place = {rolling: position for position, rolling in enumerate(catalog.all_rollings)}
    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        for entity, rollings in catalog.rollings.items():
            groups = Groups(key_codes(events, entity), times, skip)
            used = dict.fromkeys(_input_of(rolling) for rolling in rollings if rolling.column is not None)
            sorted_inputs = dict(zip(used, pool.map(groups.sort, map(inputs.__getitem__, used)), strict=True))
            _run_all(
                pool,
                (
                    partial(
                        groups.fold,
                        rolling.operation,
                        catalog.window(rolling),
                        sorted_inputs.get(_input_of(rolling)),
                        aggregates[place[rolling]],
                    )
                    for rolling in rollings
                ),
            )
    return aggregates


def derive_features(
    events: pl.DataFrame, aggregates: NDArray[np.int64], catalog: Catalog, threads: int | None = None
) -> NDArray[np.float32]:
    """The features from the events' columns and their aggregates (a, n): float32 (n, len(catalog.features))."""
    derivation = feature_derivation(catalog)
    matrix = np.empty((events.height, len(catalog.features)), np.float32)

    def derive(first: int) -> None:
        rows = slice(first, first + _SLICE_ROWS)
        columns = to_matrix(events[rows], catalog.formula_columns)
        derivation.to_floats(columns, np.ascontiguousarray(aggregates[:, rows]), matrix[rows])

    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        _run_all(pool, (partial(derive, first) for first in range(0, events.height, _SLICE_ROWS)))
    return matrix


def feature_derivation(catalog: Catalog) -> Derivation:
    """The step from `catalog.formula_columns` and `catalog.all_rollings` to the features."""
    formulas = [feature.formula for feature in catalog.features]
    return Derivation(formulas, catalog.formula_columns, catalog.all_rollings)


def key_codes(events: pl.DataFrame, entity: tuple[str, ...]) -> NDArray[np.int64]:
    """Each event's key as a dense number, -1 where any part of the key is null: int64 (n,)."""
    codes = dense_codes(events[entity[0]])
    for name in entity[1:]:
        part = dense_codes(events[name])
        paired = np.where((codes < 0) | (part < 0), -1, codes * (part.max(initial=0) + 1) + part)
        codes = dense_codes(pl.Series(paired).replace(-1, None))
    return codes


Input = tuple[bool, Expression | None]
"""What a rolling folds: whether as dense numbers (distinct), and of which formula."""


def _input_of(rolling: Rolling) -> Input:
    return rolling.operation == "distinct", rolling.column


def _inputs(events: pl.DataFrame, catalog: Catalog) -> dict[Input, NDArray[np.int64]]:
    """The column of every rolling: int64 (n,), NULL (dense numbers: -1) where missing."""
    wanted = dict.fromkeys(_input_of(rolling) for rolling in catalog.all_rollings)
    found: dict[Input, NDArray[np.int64]] = {}
    for dense, column in wanted:
        if column is None:
            continue
        if dense and isinstance(column, Column):
            found[dense, column] = dense_codes(events[column.name])
        else:
            names = sorted(columns_of(column))
            (values,) = Derivation([column], names, []).to_integers(to_matrix(events, names))
            found[dense, column] = dense_codes(pl.Series(values).replace(NULL, None)) if dense else values
    return found


def _run_all(pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], None]]) -> None:
    for future in [pool.submit(task) for task in tasks]:
        future.result()
