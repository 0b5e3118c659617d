"""Columns of integers as bytes: as many bytes a value as the column needs, all highest bytes first, then the next.

So a column of any width, at any place, is written and read in loops over bytes side by side, which the
compiler vectorises (positions are unsigned: see `window_reads`). NULL is the least integer of the
column's width. A column in which nothing stands, neither event nor value, takes no bytes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud_platform.features.compilation import compiled_in_place
from fraud_platform.features.fold import NULL

Int64 = NDArray[np.int64]
Bytes = NDArray[np.uint8]

WIDEST = 8
_BITS = 8
_TOP_BIT = 1 << (_BITS - 1)


@compiled_in_place
def width_of(columns: Int64, column: int, size: Any, empty: Any) -> int:
    """The bytes that each of a column's values needs; 0 where all are what an empty bucket holds."""
    bits = others = np.int64(0)
    for position in range(np.uint64(size)):
        value = columns[column, position]
        sign = value >> 63
        bits |= 0 if value == NULL else (value ^ sign) - sign
        others |= value ^ empty
    if others == 0:
        return 0
    width = 1
    while width < WIDEST and bits >> (_BITS * width - 1):
        width += 1
    return width


@compiled_in_place
def put_column(columns: Int64, column: int, size: Any, width: int, buffer: Bytes, place: Any) -> Any:
    """Write a column's first values at a place of the buffer; returns the place after them."""
    count, start = np.uint64(size), np.uint64(place)
    for byte in range(width - 1, -1, -1):
        null = _TOP_BIT if byte == width - 1 else 0
        for position in range(count):
            value = columns[column, position]
            buffer[start + position] = null if value == NULL else np.uint8(value >> (_BITS * byte))
        start += count
    return place + width * size


@compiled_in_place
def take_column(columns: Int64, column: int, size: Any, width: Any, empty: Any, buffer: Bytes, place: Any) -> Any:
    """Read a column's first values at a place of the buffer, which must hold them; returns the place after them."""
    count, start = np.uint64(size), np.uint64(place)
    if width == 0:
        for position in range(count):
            columns[column, position] = empty
        return place
    for position in range(count):
        columns[column, position] = np.int8(buffer[start + position])
    for _ in range(1, width):
        start += count
        for position in range(count):
            columns[column, position] = columns[column, position] << _BITS | buffer[start + position]
    least = np.int64(-1) << (_BITS * width - 1)
    for position in range(count):
        value = columns[column, position]
        columns[column, position] = NULL if value == least else value
    return place + width * size
