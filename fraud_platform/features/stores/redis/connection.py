"""The connection to Redis, the names of a namespace's keys, and errors that say what to do."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.batches import BATCH

VERSION_BYTES = 8
"""Every record and state begins with its version, the last sequence of the commit that wrote it: unlike a count
of its own, it is not used again when a state expires and comes back between a read and its commit."""
NEVER = bytes(VERSION_BYTES)
"""The version of what a rebuild wrote."""

TIMEOUT = 1.5
"""Seconds to connect, and to answer; `?socket_timeout=` in the URL says otherwise."""

_LOST = (ConnectionError, TimeoutError)
_REFUSED = (BusyLoadingError, AuthenticationError)
"""Kinds of ConnectionError by which the server says that it did nothing."""
_FIXES: tuple[tuple[type[RedisError], str], ...] = (
    (BusyLoadingError, "It is loading its data: try again when it has."),
    (AuthenticationError, "Correct the user and the password in the URL."),
    (ConnectionError, "Start it, or correct the URL."),
    (TimeoutError, "Find out what keeps it busy, or give it longer: ?socket_timeout= in the URL."),
    (OutOfMemoryError, "Raise its maxmemory."),
    (ReadOnlyError, "This is a replica: give the URL of the primary."),
    (MovedError, "This node of the cluster does not hold the namespace: give the URL of the one."),
    (NoPermissionError, "Let this user run scripts and all commands on the namespace's keys."),
    (RedisError, "Check that it is Redis 6.2, Valkey or newer and that nothing else uses the keys."),
)
"""The first that fits the error counts."""


class Connection:
    """A client, which connects when it is first asked something, and one namespace.

    All keys of a namespace have one hash tag, so that a cluster keeps them together on one node.

    Args:
        url, namespace: as `RedisStore` takes them.

    Raises:
        StoreError: if the URL or the namespace cannot be used.
    """

    def __init__(self, url: str, namespace: str) -> None:
        if not namespace or set(namespace) & set("{}"):
            raise StoreError(f"{namespace!r} cannot be the online store's namespace: give a name without braces.")
        try:
            # A command that was sent is never sent again by the client: the first may have been carried out.
            self.client = redis.Redis.from_url(
                url,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
            )
            pool = self.client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # which connects nowhere, but knows its options
        except (ValueError, TypeError) as error:
            raise StoreError(f"The URL of Redis cannot be used: {error}. Write redis://host:6379/0.") from error
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # no password
        self.tag = tag = f"{{{namespace}}}:".encode()
        self.generation, self.rebuilds, self.identity = tag + b"generation", tag + b"rebuilds", tag + b"identity"
        self.sequence, self.outbox, self.acknowledged = tag + b"sequence", tag + b"outbox", tag + b"acknowledged"
        self.queue, self.priorities = tag + b"queue", tag + b"priorities"
        self.record_prefix, self.state_prefix, self.filed_prefix = tag + b"record:", tag + b"state:", tag + b"filed:"

    def states_of(self, generation: bytes) -> bytes:
        """What the keys of a generation's states begin with; the first generation, never published, is 0."""
        return b"%s%d:" % (self.state_prefix, generation_number(generation))

    def scan(self, prefix: bytes) -> Iterator[bytes]:
        """The keys that begin with this; some may come twice."""
        return self.client.scan_iter(re.sub(rb"([*?\[\]\\])", rb"\\\1", prefix) + b"*", BATCH)

    def remove_states(self, first: int, before: int) -> None:
        """Remove the states of the generations in [first, before), but never of the one that serves."""
        with self.explained("swept"):
            serving = generation_number(cast(bytes | None, self.client.get(self.generation)))
            doomed: list[bytes] = []
            for key in self.scan(self.state_prefix):
                number = int(key[len(self.state_prefix) :].partition(b":")[0])
                if first <= number < before and number != serving:
                    doomed.append(key)
                if len(doomed) >= BATCH:
                    self.client.unlink(*doomed)
                    doomed.clear()
            if doomed:
                self.client.unlink(*doomed)

    def asked_again(self, question: Callable[[], Any]) -> Any:
        """The answer to what only reads: asked once more where the connection was lost."""
        with self.explained("read"):
            try:
                return question()
            except _LOST:
                return question()

    @contextmanager
    def explained(self, what: str, in_doubt: str = "") -> Iterator[None]:
        """Turn Redis's errors into ours; `in_doubt` is said where the command may have been carried out."""
        try:
            yield
        except RedisError as error:
            fix = next(fix for kind, fix in _FIXES if isinstance(error, kind))
            if isinstance(error, _LOST) and not isinstance(error, _REFUSED):
                fix = f"{in_doubt} {fix}".strip()
            raise StoreError(f"The online store at {self.place} cannot be {what}: {error}. {fix}") from error


def generation_number(generation: bytes | None) -> int:
    """The number of a generation, which is followed by the fingerprint; 0 before the first was published."""
    return int(generation.partition(b":")[0]) if generation else 0
