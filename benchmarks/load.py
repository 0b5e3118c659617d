"""Open-loop HTTP load from one thread: a request is due at its moment, whatever became of those before it.

A latency runs from that moment to the last byte of the answer, so that a server that stalls is charged for all
who would have come meanwhile. Requests go over keep-alive connections, one at a time on each; what is due while
all are busy waits in line, and its waiting counts. A client may send again what a lost connection or a 5xx left
unanswered, as a real one does.

The thread waits with `select`, whose timeouts are of microseconds: an event loop's are of milliseconds, which is as
long as what is measured. Against `bare.py` at 4,000 requests a second it is busy a fifth of the time, so that on a core
of its own it is no limit below some 15,000.
"""

import heapq
import select
import socket
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import httptools

Scheduled = tuple[float, bytes]
"""When a request is due, seconds after the start, and its bytes."""

AHEAD_SECONDS = 0.1
"""The clock starts so long after the connections were made: making them is no part of an answer."""
LOOK_SECONDS = 0.05
"""How often the thread looks for requests that have waited too long."""
READ_BYTES = 1 << 18


@dataclass(frozen=True)
class Retry:
    """What a client does when it is not answered, or with a 5xx: it sends the same again after a pause.

    Attributes:
        timeout_seconds: how long it waits for an answer before it closes the connection.
    """

    pause_seconds: float = 0.2
    timeout_seconds: float = 10.0


class Exchange:
    """A request and what became of it; moments are seconds after the start.

    Attributes:
        due: when it was meant to be sent.
        begun: when its last attempt was sent.
        ended: when its answer was complete, NaN before.
        status: of the answer, 0 where there is none.
    """

    __slots__ = ("answer", "begun", "due", "ended", "request", "status")

    def __init__(self, due: float, request: bytes) -> None:
        self.due, self.request = due, request
        self.begun = self.ended = float("nan")
        self.status, self.answer = 0, b""


@dataclass(frozen=True)
class Refused:
    """A 5xx that was retried; moments as in `Exchange`."""

    begun: float
    ended: float
    status: int
    answer: bytes


class Load:
    """Sends a schedule to a server on loopback.

    Args:
        schedule: in order of time; it is drawn from as it becomes due, so it may be endless until it is told to end.
        connections: at most so many at once.
        retry: default: what is not answered stays so.
        give_up_seconds: the run ends when a request has waited so long; default: never.
        uses: requests that a connection takes before it is replaced by a new one; default: any number. New ones
            find their way to workers that have come up since.
    """

    def __init__(
        self,
        schedule: Iterable[Scheduled],
        port: int,
        connections: int,
        retry: Retry | None = None,
        give_up_seconds: float = float("inf"),
        uses: int | None = None,
    ) -> None:
        self.port = port
        """May be changed while the load runs: a server that starts again need not have the same."""
        self.exchanges: list[Exchange] = []
        """All that have become due."""
        self.refused: list[Refused] = []
        self.lost_connections = 0
        self.started = 0.0
        """`time.perf_counter` at the start."""
        self._schedule = iter(schedule)
        self._next: Scheduled | None = None
        self._waiting: deque[Exchange] = deque()
        self._again: list[tuple[float, int, Exchange]] = []
        self._most, self._retry, self._give_up, self._uses = connections, retry, give_up_seconds, uses
        self._open: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        self._connect_from = 0.0
        self._look_at = 0.0
        self._stopped = False

    def run(self) -> None:
        """Send everything and wait for the answers.

        Raises:
            OSError: if no connection can be made, and there is no retry.
        """
        self._epoll = select.epoll()
        try:
            while len(self._open) < self._most and self._connect():
                pass
            self.started, self._connect_from = time.perf_counter() + AHEAD_SECONDS, 0.0
            self._next = next(self._schedule, None)
            while self._next or self._waiting or self._again or len(self._idle) < len(self._open):
                self._take_due()
                self._send_waiting()
                self._receive()
                if self._stopped or (self.now() >= self._look_at and self._tired()):
                    return
        finally:
            for connection in list(self._open.values()):
                connection.close()
            self._epoll.close()

    def stop(self) -> None:
        """End the run, from another thread, whatever is not answered yet."""
        self._stopped = True

    def now(self) -> float:
        """Seconds after the start."""
        return time.perf_counter() - self.started

    def _take_due(self) -> None:
        now = self.now()
        while self._again and self._again[0][0] <= now:
            self._waiting.append(heapq.heappop(self._again)[2])
        while self._next and self._next[0] <= now:
            exchange = Exchange(*self._next)
            self.exchanges.append(exchange)
            self._waiting.append(exchange)
            self._next = next(self._schedule, None)

    def _send_waiting(self) -> None:
        while self._waiting:
            if not self._idle and (len(self._open) >= self._most or not self._connect()):
                return
            connection, exchange = self._idle.popleft(), self._waiting.popleft()
            exchange.begun = self.now()
            connection.send(exchange)

    def _connect(self) -> bool:
        """Make one connection; False while the server listens to nobody."""
        if self.now() < self._connect_from:
            return False
        try:
            stream = socket.create_connection(("127.0.0.1", self.port), 5.0)
        except OSError:
            if self._retry is None:
                raise
            self._connect_from = self.now() + self._retry.pause_seconds
            return False
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(self, stream)
        self._open[stream.fileno()] = connection
        self._epoll.register(stream.fileno(), select.EPOLLIN)
        self._idle.append(connection)
        return True

    def _receive(self) -> None:
        """Wait until something is due or has come, and read it."""
        due = min(self._next[0] if self._next else float("inf"), self._again[0][0] if self._again else float("inf"))
        wait = min(max(due - self.now(), 0.0), LOOK_SECONDS)
        select.select([self._epoll], [], [], wait)
        for descriptor, events in self._epoll.poll(0):
            connection = self._open[descriptor]
            if events & select.EPOLLOUT:
                connection.write()
            if events & ~select.EPOLLOUT and descriptor in self._open:
                connection.read()

    def _tired(self) -> bool:
        """Close what has waited longer than the client does; whether to give up altogether."""
        now = self.now()
        self._look_at = now + LOOK_SECONDS
        busy = [connection for connection in self._open.values() if connection.exchange is not None]
        if self._retry is not None:
            for connection in busy:
                assert connection.exchange is not None
                if now - connection.exchange.begun > self._retry.timeout_seconds:
                    self.lost(connection)
        oldest = min([*(c.exchange.due for c in busy if c.exchange), *(e.due for e in self._waiting)], default=now)
        return now - oldest > self._give_up

    def answered(self, connection: "_Connection", status: int, answer: bytes, keep: bool) -> None:
        """An answer is complete."""
        exchange, connection.exchange = connection.exchange, None
        assert exchange is not None
        now = self.now()
        if status >= 500 and self._retry is not None:
            self.refused.append(Refused(exchange.begun, now, status, answer))
            self._put_back(exchange, now)
        else:
            exchange.ended, exchange.status, exchange.answer = now, status, answer
        connection.used += 1
        if keep and (self._uses is None or connection.used < self._uses):
            self._idle.append(connection)
        else:
            self._forget(connection)

    def lost(self, connection: "_Connection") -> None:
        """A connection ended; a server may close an idle one at any time."""
        exchange, connection.exchange = connection.exchange, None
        if exchange is None:
            self._idle.remove(connection)
        else:
            self.lost_connections += 1
            if self._retry is not None:
                self._put_back(exchange, self.now())
        self._forget(connection)

    def _put_back(self, exchange: Exchange, now: float) -> None:
        assert self._retry is not None
        heapq.heappush(self._again, (now + self._retry.pause_seconds, id(exchange), exchange))

    def _forget(self, connection: "_Connection") -> None:
        descriptor = connection.stream.fileno()
        self._epoll.unregister(descriptor)
        del self._open[descriptor]
        connection.close()

    def watch(self, connection: "_Connection", writable: bool) -> None:
        """Be told when the connection can be read, and if wanted when it can be written."""
        self._epoll.modify(connection.stream.fileno(), select.EPOLLIN | (select.EPOLLOUT if writable else 0))


class _Connection:
    """One keep-alive connection; `httptools` calls `on_body` and `on_message_complete`."""

    def __init__(self, load: Load, stream: socket.socket) -> None:
        self._load, self.stream = load, stream
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._left = memoryview(b"")
        self.exchange: Exchange | None = None
        self.used = 0

    def send(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._left = memoryview(exchange.request)
        self.write()

    def write(self) -> None:
        """As much as the socket takes; the rest when it is ready for it."""
        before = len(self._left)
        try:
            sent = self.stream.send(self._left)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._load.lost(self)
            return
        self._left = self._left[sent:]
        if self._left or before < len(self.exchange.request if self.exchange else b""):
            self._load.watch(self, writable=bool(self._left))

    def read(self) -> None:
        try:
            content = self.stream.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if content and self.exchange is not None:
            self._parser.feed_data(content)
        else:
            self._load.lost(self)

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        answer = b"".join(self._parts)
        self._parts.clear()
        keep = self._parser.should_keep_alive() and not self._left
        self._load.answered(self, self._parser.get_status_code(), answer, keep)

    def close(self) -> None:
        self.stream.close()
