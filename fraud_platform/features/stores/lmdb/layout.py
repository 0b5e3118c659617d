"""How the tables' keys and values are laid out.

records     key                        version + record
states      generation + key           version + latest event time + state
outbox      sequence                   number of keys + the keys it is filed under + content
filed       key + sequence             nothing
queue       rank of the priority + key nothing
priorities  key                        rank of the priority that the key waits with
meta        the names below
"""

from collections.abc import Sequence

from fraud_platform.features.stores import KEY_BYTES

VERSION_BYTES = 8
"""Every record and state begins with its version, the last sequence of the commit that wrote it: unlike a count
of its own, it is not used again when a state expires and comes back between a read and its commit."""
STATE_HEADER = VERSION_BYTES + 8
"""A state goes on with the latest event time that it holds."""
NEVER = bytes(VERSION_BYTES)
"""The version of what a rebuild wrote, the generation before the first rebuild, the sequence before the first."""

GENERATION = b"generation"
"""Of the states that serve: a rebuild's can lie beside them."""
REBUILDS = b"rebuilds"
FINGERPRINT = b"fingerprint"
ACKNOWLEDGED = b"acknowledged"
IDENTITY = b"identity"


def number(value: int) -> bytes:
    """Big-endian, so that LMDB's order of bytes is the order of numbers."""
    return value.to_bytes(VERSION_BYTES, "big")


def header(version: bytes, event_us: int) -> bytes:
    return version + event_us.to_bytes(8, "big", signed=True)


def event_us(state: bytes | memoryview) -> int:
    return int.from_bytes(state[VERSION_BYTES:STATE_HEADER], "big", signed=True)


def outbox_value(content: bytes, under: Sequence[bytes]) -> bytes:
    """An entry knows what it is filed under, so that whoever removes it need not look for its filings."""
    return b"".join((len(under).to_bytes(1), *under, content))


def content_of(value: bytes) -> bytes:
    return value[1 + KEY_BYTES * value[0] :]


def filed_under(value: bytes) -> list[bytes]:
    return [value[1 + KEY_BYTES * n : 1 + KEY_BYTES * (n + 1)] for n in range(value[0])]
