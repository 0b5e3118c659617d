"""Numbers to names: identifiers that tell nothing about their bearer, and IPv4 addresses.

Each identifier is a number below 2**40, scrambled one to one, so that a fraudster's device or an
invented customer does not show by its name.
"""

import numpy as np
import polars as pl

from fraud_platform.transactions.simulator.streams import FloatArray, IntArray
from fraud_platform.transactions.simulator.world import HOSTING_NETWORK, NETWORK

NONE = -1
"""Stands for a missing number in integer arrays."""

_MASK = np.uint64(2**40 - 1)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_BORROWED, _STOLEN = 2**38, 2**39
_A_DAY = 2**22

CUSTOMER_NUMBERS = 10**8
"""Numbers of the population's customers lie below; invented identities begin here."""


def scrambled(numbers: IntArray) -> IntArray:
    """A one-to-one map of [0, 2**40) onto itself; NONE stays NONE."""
    x = numbers.astype(np.uint64) & _MASK
    for _ in range(2):
        x = (x * _ODD) & _MASK
        x ^= x >> np.uint64(19)
    return np.where(numbers == NONE, NONE, x.astype(np.int64))


def names(prefix: str, numbers: IntArray) -> pl.Series:
    """Identifiers such as `C0123456789012`, null for NONE; the same number always gives the same one."""
    unique, positions = np.unique(numbers, return_inverse=True)
    codes = pl.Series(scrambled(unique))
    text = pl.select(pl.when(codes >= 0).then(pl.lit(prefix) + codes.cast(pl.String).str.zfill(13))).to_series()
    return text.gather(positions)


def own_device(customer: IntArray, slot: IntArray, generation: IntArray) -> IntArray:
    """The number of a customer's device; it changes when the device is replaced."""
    return (customer * 4 + slot) * 64 + generation


def own_card(customer: IntArray, slot: IntArray, generation: IntArray) -> IntArray:
    """The number of a customer's card; it changes when the card is reissued."""
    return (customer * 2 + slot) * 64 + generation


def borrowed_device(day: int, index: IntArray) -> IntArray:
    """A device that an honest customer uses on one day only."""
    return _BORROWED + day * _A_DAY + index


def stolen_device(day: int, index: IntArray) -> IntArray:
    """A fraudster's device, first used by a campaign of that day."""
    return _STOLEN + day * _A_DAY + index


def invented_customer(day: int, index: IntArray) -> IntArray:
    """The number of a synthetic identity that was opened on a day."""
    return CUSTOMER_NUMBERS + day * 10_000 + index


def home_ip(customer: IntArray, country: IntArray, lease: IntArray) -> IntArray:
    """The address of a customer's own line during one lease of the provider."""
    host = scrambled(customer * 4_096 + lease) & 0xFFFFFF
    return (NETWORK[country] << 24) | host


def mobile_ip(country: IntArray, uniform: FloatArray) -> IntArray:
    """An address that many customers of a country's mobile networks share."""
    return ((NETWORK[country] + 1) << 24) | (uniform * 2_048).astype(np.int64)


def hosting_ip(uniform: FloatArray) -> IntArray:
    """An address of a VPN or hosting provider, shared by honest and dishonest."""
    return (HOSTING_NETWORK << 24) | (uniform * 1_024).astype(np.int64)


def foreign_ip(country: IntArray, uniform: FloatArray) -> IntArray:
    """Any address of a country's home networks."""
    return (NETWORK[country] << 24) | (uniform * 0xFFFFFF).astype(np.int64)


def dotted(addresses: IntArray) -> pl.Series:
    """IPv4 in dotted form, null for NONE."""
    number = pl.Series(addresses)
    octets = [((number // 2**shift) % 256).cast(pl.String) for shift in (24, 16, 8, 0)]
    return pl.select(pl.when(number >= 0).then(pl.concat_str(octets, separator="."))).to_series()
