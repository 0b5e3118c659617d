"""The columns that formulas read, as float64: numbers as they are, text as codes, NaN for missing.

`event_us` and `amount_cents` are exact in float64: both stay below 2**53.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

CODE_BITS = 52
"""So many bits of a text's digest that float64 holds the code exactly. Two texts share a code with
probability 2**-52; formulas only ask whether two texts are the same, or count those of one key."""


@lru_cache(maxsize=1 << 16)
def text_code(text: str) -> int:
    """The number that stands for a text: a non-negative integer below 2**52, the same on every machine."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - CODE_BITS)


def to_matrix(events: pl.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """The columns of many events: float64 (len(names), n)."""
    matrix = np.empty((len(names), events.height))
    for row, name in zip(matrix, names, strict=True):
        series = events[name]
        if series.dtype == pl.String:
            row[:] = _text_codes(series)
        else:
            row[:] = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return matrix


def rows_to_matrix(events: Sequence[Mapping[str, Any]], names: Sequence[str]) -> NDArray[np.float64]:
    """The same of events that are rows: float64 (len(names), n)."""
    values = [
        np.nan if value is None else text_code(value) if isinstance(value, str) else value
        for name in names
        for event in events
        for value in (event.get(name),)
    ]
    return np.array(values, np.float64).reshape(len(names), len(events))


def dense_codes(series: pl.Series) -> NDArray[np.int64]:
    """Each value as a dense number in order of first appearance, -1 for null: int64 (n,)."""
    indices = series.to_arrow().dictionary_encode().indices
    return indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)


def _text_codes(series: pl.Series) -> NDArray[np.float64]:
    encoded = series.to_arrow().dictionary_encode()
    codes = np.array([text_code(text) for text in encoded.dictionary.to_pylist()] + [np.nan])
    return codes[encoded.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)]
