"""Random streams: one independent, reproducible generator for each purpose and day."""

from datetime import date, timedelta
from enum import IntEnum

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
EPOCH = date(1970, 1, 1)


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of the output: never renumber."""

    MERCHANTS = 1
    CUSTOMERS = 2
    TRAVEL = 3
    SPENDING = 4
    SCHEDULE = 5
    CAMPAIGNS = 6
    REPORTS = 7
    DISPUTES = 8


def stream(seed: int, purpose: Purpose, *keys: int) -> np.random.Generator:
    """The generator of one purpose; the same arguments always give the same numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(purpose), *keys])))


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(number: int) -> date:
    """The inverse of `day_number`."""
    return EPOCH + timedelta(days=number)
