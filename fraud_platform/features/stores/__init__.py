"""What an online store does; each store is one module of this package."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["committed", "changed", "exists"]


@dataclass(frozen=True)
class StoredDecision:
    """A decision as it was answered, with the digest of the request that it answered."""

    request_digest: bytes
    decision: bytes


class Store(Protocol):
    """State by key, and decisions by transaction id, committed together.

    A reader computes on what `read` gave; `commit` refuses where any of it changed in between, so
    that many processes can write at once and lose nothing.
    """

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The state of each key, None where there is none."""
        ...

    def decision(self, transaction_id: str) -> StoredDecision | None:
        """The decision that was committed for this transaction."""
        ...

    def commit(
        self,
        transaction_id: str,
        stored: StoredDecision,
        before: Mapping[bytes, bytes | None],
        after: Mapping[bytes, bytes],
    ) -> Outcome:
        """Write the new states and the decision, all or nothing.

        Returns:
            "exists" where the transaction was decided before, "changed" where a key's state is no
            longer what `before` says (read again and retry); nothing is written in either case.
        """
        ...

    def rebuild(self, fingerprint: str, states: Iterable[tuple[bytes, bytes]]) -> int:
        """Replace the states of all keys at once; decisions stay. Returns the number of keys."""
        ...

    def fingerprint(self) -> str | None:
        """The fingerprint of the catalog that the states belong to; None for an empty store."""
        ...

    def close(self) -> None: ...
