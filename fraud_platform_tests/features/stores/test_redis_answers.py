"""A server that answers by a script: errors come with a fix, and only what reads is sent again."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from fraud_platform.errors import StoreError
from fraud_platform.features.stores.redis import RedisStore
from fraud_platform_tests.features.stores.counting import KEY
from fraud_platform_tests.features.stores.places import change, opened

pytestmark = pytest.mark.redis


class Scripted(socketserver.StreamRequestHandler):
    """Answers each command with the next of the server's replies, the last for ever; hangs up where it is None."""

    def handle(self) -> None:
        replies: list[bytes | None] = self.server.replies  # type: ignore[attr-defined]
        while header := self.rfile.readline():
            command = [self.rfile.read(int(self.rfile.readline()[1:]) + 2) for _ in range(int(header[1:]))]
            if command[0] == b"CLIENT\r\n":  # how the client introduces itself
                self.wfile.write(b"+OK\r\n")
                continue
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
            if reply is None:
                return
            self.wfile.write(reply + b"\r\n")


@contextmanager
def answering(*replies: bytes | None) -> Iterator[str]:
    """The URL of a server that gives these answers."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Scripted) as server:
        server.replies = list(replies)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()


NOTHING = b"*1\r\n$-1"
IDENTITY = b"$4\r\nname"
REPLIES = [b"*0", b"$-1", b"*0", b"*0", b":0", b"$-1", IDENTITY]
"""What `asks` are answered."""


def asks(store: RedisStore) -> list[Callable[[], object]]:
    """Whatever only reads, but for a read itself."""
    return [
        lambda: store.entries(0, 1),
        lambda: store.last_sequence(),
        lambda: store.filed(KEY, 1),
        lambda: store.queue(1),
        lambda: store.waiting(),
        lambda: store.acknowledged(),
        lambda: store.identity(),
    ]


@pytest.mark.parametrize(
    ("reply", "fix"),
    [
        (b"-LOADING Redis is loading the dataset in memory", "try again when it has"),
        (b"-NOAUTH Authentication required.", "Correct the user and the password"),
        (b"-NOPERM No permissions to access a key", "Let this user run scripts"),
        (b"-MOVED 1234 127.0.0.1:7001", "node of the cluster does not hold the namespace"),
        (b"-MISCONF Errors writing to the AOF file: No space left on device", "No space left on device"),
        (b"-ERR unknown command", r"Check that it is Redis 6\.2"),
    ],
)
def test_errors_of_the_server_come_with_a_fix(reply: bytes, fix: str) -> None:
    with answering(NOTHING, reply) as url, closing(opened(url)) as store:
        snapshot = store.read([], [])
        for attempt in (
            lambda: store.read([], []),
            lambda: store.commit(snapshot, change({}, {}, 0, b"")),
            *asks(store),
            lambda: store.acknowledge(1, 0),
        ):
            with pytest.raises(StoreError, match=fix) as caught:
                attempt()
            assert "may or may not" not in str(caught.value)


def test_a_read_that_loses_its_connection_is_asked_once_more() -> None:
    with answering(None, NOTHING, None) as url, closing(opened(url)) as store:
        assert store.read([], []).states == {}
        with pytest.raises(StoreError, match=r"cannot be read: .*Start it"):
            store.read([], [])


@pytest.mark.parametrize("asked", range(7))
def test_whatever_only_reads_is_asked_once_more(asked: int) -> None:
    with answering(None, REPLIES[asked], None) as url, closing(opened(url)) as store:
        assert not asks(store)[asked]() or REPLIES[asked] == IDENTITY
        with pytest.raises(StoreError, match=r"cannot be read: .*Start it"):
            asks(store)[asked]()


def test_a_commit_that_loses_its_connection_is_not_sent_again() -> None:
    with answering(NOTHING, None, b":1") as url, closing(opened(url)) as store:
        snapshot = store.read([], [])
        with pytest.raises(StoreError, match="It may or may not have been: send the same request again"):
            store.commit(snapshot, change({}, {}, 0, b""))
