"""The steps that a rebuild takes: small enough that the commits of others wait only milliseconds for one."""

from collections.abc import Iterable, Iterator

BATCH = 1_000
BATCH_BYTES = 4 << 20


def batches(values: Iterable[tuple[bytes, bytes]]) -> Iterator[dict[bytes, bytes]]:
    """Runs of at most BATCH values and, but for the last of a run, BATCH_BYTES; a key's last value counts.

    >>> list(batches([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]))
    [{b'a': b'3', b'b': b'2'}]
    """
    batch: dict[bytes, bytes] = {}
    size = 0
    for key, value in values:
        batch[key] = value
        size += len(value)
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch
