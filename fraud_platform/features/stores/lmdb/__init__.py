"""The embedded store: LMDB, one writer at a time across processes, readers never wait."""

from fraud_platform.features.stores.lmdb.store import LmdbStore

__all__ = ["LmdbStore"]
