"""How both stores keep the queue in order: by bytes, exact over the whole range of priorities."""

RANK_BYTES = 8


def rank(priority: int) -> bytes:
    """Eight bytes that sort the higher priority first.

    >>> sorted([rank(0), rank(2**62), rank(7)]) == [rank(2**62), rank(7), rank(0)]
    True
    """
    return (2**63 - 1 - priority).to_bytes(RANK_BYTES, "big")
