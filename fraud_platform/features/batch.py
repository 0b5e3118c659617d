"""The batch driver: the features of many events at once, from events in columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    aggregates = np.full((len(catalog.all_rollings), times.size - skip), NULL, np.int64)
    place = {rolling: position for position, rolling in enumerate(catalog.all_rollings)}
    with ThreadPoolExecutor(threads or cpu_count()) as pool:
        names = list(dict.fromkeys(name for entity in catalog.rollings for name in entity))
        codes = dict(zip(names, pool.map(lambda name: dense_codes(events[name]), names), strict=True))
        inputs = _inputs(events, catalog, codes, pool)
        for entity, rollings in catalog.rollings.items():
            groups = Groups(key_codes([codes[name] for name in entity]), times, skip)
            used = [name for name in dict.fromkeys(map(_input_of, rollings)) if name is not None]
            sorted_inputs: dict[Input | None, NDArray[np.int64]] = dict(
                zip(used, pool.map(groups.sort, map(inputs.__getitem__, used)), strict=True)
            )
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


def key_codes(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Each event's key as a dense number, -1 where any part of the key is null: int64 (n,).

    Args:
        parts: the `dense_codes` of each column of the entity.
    """
    codes = parts[0]
    for part in parts[1:]:
        paired = np.where((codes < 0) | (part < 0), -1, codes * (part.max(initial=0) + 1) + part)
        codes = dense_codes(pl.Series(paired).replace(-1, None))
    return codes


Input = tuple[bool, Expression]
"""What a rolling folds: whether as dense numbers (distinct), and of which formula."""


def _input_of(rolling: Rolling) -> Input | None:
    return None if rolling.column is None else (rolling.operation == "distinct", rolling.column)


def _inputs(
    events: pl.DataFrame, catalog: Catalog, codes: Mapping[str, NDArray[np.int64]], pool: ThreadPoolExecutor
) -> dict[Input, NDArray[np.int64]]:
    """The column of every rolling: int64 (n,), NULL (dense numbers: -1) where missing."""

    def fill(one: Input) -> NDArray[np.int64]:
        dense, column = one
        if dense and isinstance(column, Column):
            known = codes.get(column.name)
            return dense_codes(events[column.name]) if known is None else known
        names = sorted(columns_of(column))
        (values,) = Derivation([column], names, []).to_integers(to_matrix(events, names))
        return dense_codes(pl.Series(values).replace(NULL, None)) if dense else values

    wanted = [name for name in dict.fromkeys(map(_input_of, catalog.all_rollings)) if name is not None]
    return dict(zip(wanted, pool.map(fill, wanted), strict=True))


def _run_all(pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], None]]) -> None:
    for future in [pool.submit(task) for task in tasks]:
        future.result()
