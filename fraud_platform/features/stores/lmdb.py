"""The embedded store: LMDB, one writer at a time across processes, readers never wait."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import lmdb

from fraud_platform.errors import StoreError
from fraud_platform.features.stores import Outcome, StoredDecision

DIGEST_BYTES = 32
_FINGERPRINT = b"catalog_fingerprint"


class LmdbStore:
    """A store in one folder. Safe for many processes; open it once in each.

    Args:
        folder: created if missing.
        map_bytes: the largest size the store may grow to. The file is sparse: it takes what it holds.
        durable: whether a commit waits for the disk (True) or for the operating system.
    """

    def __init__(self, folder: Path, map_bytes: int = 64 << 30, durable: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._env = lmdb.open(
                str(folder), map_size=map_bytes, max_dbs=3, sync=durable, metasync=durable, lock=True, max_readers=512
            )
        except lmdb.Error as error:
            raise StoreError(
                f"Cannot open the online store in {folder}: {error}. "
                "Delete the folder and materialize `online_state` to build it again."
            ) from error
        self._states = self._env.open_db(b"states")
        self._decisions = self._env.open_db(b"decisions")
        self._meta = self._env.open_db(b"meta")

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        with _explained("read"), self._env.begin(db=self._states) as view:
            return [view.get(key) for key in keys]

    def decision(self, transaction_id: str) -> StoredDecision | None:
        with _explained("read"), self._env.begin(db=self._decisions) as view:
            found = view.get(_decision_key(transaction_id))
        return None if found is None else StoredDecision(found[:DIGEST_BYTES], found[DIGEST_BYTES:])

    def commit(
        self,
        transaction_id: str,
        stored: StoredDecision,
        before: Mapping[bytes, bytes | None],
        after: Mapping[bytes, bytes],
    ) -> Outcome:
        with _explained("written"), self._env.begin(write=True) as write:
            key = _decision_key(transaction_id)
            if write.get(key, db=self._decisions) is not None:
                return "exists"
            if any(write.get(state_key, db=self._states) != state for state_key, state in before.items()):
                return "changed"
            for state_key, state in after.items():
                write.put(state_key, state, db=self._states)
            write.put(key, stored.request_digest + stored.decision, db=self._decisions)
        return "committed"

    def rebuild(self, fingerprint: str, states: Iterable[tuple[bytes, bytes]]) -> int:
        keys = 0
        with _explained("rebuilt"), self._env.begin(write=True) as write:
            write.drop(self._states, delete=False)
            for key, state in states:
                write.put(key, state, db=self._states)
                keys += 1
            write.put(_FINGERPRINT, fingerprint.encode(), db=self._meta)
        with _explained("written to disk"):
            self._env.sync(True)
        return keys

    def fingerprint(self) -> str | None:
        with _explained("read"), self._env.begin(db=self._meta) as view:
            found = view.get(_FINGERPRINT)
        return None if found is None else found.decode()

    def close(self) -> None:
        self._env.close()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except lmdb.Error as error:
        raise StoreError(f"The online store cannot be {what}: {error}. Check the disk's free space.") from error


def _decision_key(transaction_id: str) -> bytes:
    """A digest, because an LMDB key holds 511 bytes at most."""
    return hashlib.blake2b(transaction_id.encode(), digest_size=16).digest()
