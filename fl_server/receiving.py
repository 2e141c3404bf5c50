"""Receives requests in the main loop, so that slow clients don't occupy threads.

gunicorn's threads read from their sockets, so that slow clients, as many as there are threads,
could stop every answer by sending a byte at a time. Here the loop that waits for all connections
receives the head of a request, and its body if that is small; a client that takes too long is
disconnected. Only larger bodies are read by a thread, and these clients have to send fast enough,
as all have to read their answers fast enough.

An address may use three quarters of the threads. A quarter of the threads may read larger bodies,
and an address may use half of those, as with the deliveries in
`fl_server_ai.notification.bulkheads`. Other requests wait without a thread; those whose address
uses the fewest begin first.
"""

import errno
import os
import re
import select
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, BinaryIO, TypeVar

from django.conf import settings
from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from fl_server_core.throttles import is_proxy, real_address

RECEIVE_SECONDS = 20
"""How long a request's head and a small body, or a connection's first byte, may take."""
SMALL_BYTES = 64 * 1024
UNFINISHED_EACH = 250
"""Connections of one address, of the 1000 of a process, that have begun a request."""
GRACE_SECONDS, BYTES_PER_SECOND = 30, 8 * 1024
"""How long a thread may wait in all for a larger body or for a client to read an answer, plus a
second for this many bytes."""
BLOCK = 1 << 18
UNREAD_SECONDS = 60
"""After this the system closes a connection whose client reads nothing of its answer."""

T = TypeVar("T")

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
BODIED = re.compile(rb"\r\n(?:content-length|transfer-encoding|expect)\b", re.IGNORECASE)
REAL_IP = re.compile(rb"\r\nx-real-ip:[ \t]*([^\r\n]*)", re.IGNORECASE)

WHOLE, BEGUN, HALF, TOO_LONG = "whole", "begun", "half", "too long"
REFUSAL = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n"


def state_of(received: bytes) -> str:
    """Tell how much of a request is there; a thread has to read the body of one that is BEGUN."""
    end = received.find(b"\r\n\r\n") + 4
    if end < 4:
        return HALF if len(received) <= SMALL_BYTES else TOO_LONG
    named, lengths = BODIED.findall(received, 0, end), LENGTH.findall(received, 0, end)
    if not named:
        return WHOLE
    if len(named) > 1 or len(lengths) != 1 or int(lengths[0]) > SMALL_BYTES:
        return BEGUN
    return WHOLE if len(received) >= end + int(lengths[0]) else HALF


class SteadySocket:
    """A socket for a thread to read a larger body from, or to write an answer to.

    Raises TimeoutError if the client sends too slowly, BrokenPipeError if it reads too slowly.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._silence = float(GRACE_SECONDS)
        self._left = float(GRACE_SECONDS)

    def __getattr__(self, name: str) -> Any:
        """Leave all else to the socket."""
        return getattr(self._socket, name)

    def settimeout(self, seconds: float | None) -> None:
        """Let a single read take so long at most."""
        self._silence = GRACE_SECONDS if seconds is None else seconds

    def recv(self, size: int) -> bytes:
        """Wait for some bytes; gunicorn copies what wasn't asked of it yet again and again."""
        return self._in_time(partial(self._socket.recv, min(size, BLOCK)), len)

    def sendall(self, data: bytes) -> None:
        """Wait until the system has taken all."""
        rest = memoryview(data)
        with _slow_reader_gone():
            while rest:
                rest = rest[self._in_time(partial(self._socket.send, rest[:BLOCK]), int) :]

    def sendfile(self, file: BinaryIO, offset: int, count: int) -> None:
        """Have the system send a part of a file, without reading it."""
        with _slow_reader_gone():
            while count > 0:
                sent = self._in_time(partial(_send_some, self._socket, file, offset, count), int)
                if not sent:
                    return
                offset, count = offset + sent, count - sent

    def _in_time(self, move: Callable[[], T], size: Callable[[T], int]) -> T:
        begun = time.monotonic()
        self._socket.settimeout(max(min(self._left, self._silence), 0.001))
        try:
            moved = move()
        finally:
            self._socket.settimeout(None)
        gained = size(moved) / BYTES_PER_SECOND
        self._left = min(self._left - (time.monotonic() - begun) + gained, GRACE_SECONDS)
        return moved


@contextmanager
def _slow_reader_gone() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:  # because gunicorn logs others with a traceback
        raise BrokenPipeError(errno.EPIPE, "the client reads too slowly") from error


def _send_some(connection: socket.socket, file: BinaryIO, offset: int, count: int) -> int:
    """Return how many bytes the system has taken, 0 at the file's end.

    Waits until it takes some, as long as the socket may: its own call wouldn't.
    """
    waiting = select.poll()
    waiting.register(connection, select.POLLOUT)
    if not waiting.poll((connection.gettimeout() or 0) * 1000):
        raise TimeoutError
    return os.sendfile(connection.fileno(), file.fileno(), offset, count)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker, whose threads get a request once enough of it has come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taken: Counter[tuple[str, ...]] = Counter()
        self._line: deque[TConn] = deque()

    def enqueue_req(self, conn: TConn) -> None:
        """Receive the next request, which begins with what came after the last one."""
        if conn.parser is None:
            _end_when_unread(conn.sock)
            conn.close = lambda graceful=False: util.close(conn.sock)  # noqa: ARG005 (see handle)
        conn.received = bytearray(conn.parser.unreader.take_buffered() if conn.parser else b"")
        conn.address = conn.client[0] if conn.client else ""
        conn.timeout = time.monotonic() + RECEIVE_SECONDS
        conn.sock.setblocking(False)
        self.pending_conns.append(conn)
        ready = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, ready)
        if conn.received:
            self._go_on(conn)
        else:
            self._limit(conn)

    def on_pending_socket_readable(self, conn: TConn, _client: Any) -> None:
        """Receive what has come."""
        try:
            data = conn.sock.recv(SMALL_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.received += data
        self._go_on(conn) if data else self._drop(conn)

    def _go_on(self, conn: TConn) -> None:
        while conn.received.startswith(b"\r\n"):  # some clients send a line too many after a body
            del conn.received[:2]
        state = state_of(conn.received)
        conn.address = _sender(conn)
        if state == TOO_LONG:
            with suppress(OSError):
                conn.sock.send(REFUSAL)
            self._drop(conn)
        elif state == HALF:
            self._limit(conn)
        else:
            self._forget(conn)
            conn.places = _places(conn.address, is_slow=state == BEGUN)
            self._line.append(conn)
            self._begin_what_may()

    def _limit(self, conn: TConn) -> None:
        """Drop it if its address has begun too many; of a proxy's the client isn't known yet."""
        if is_proxy(conn.address):
            return
        unfinished = sum(other.address == conn.address for other in self.pending_conns)
        if unfinished > UNFINISHED_EACH:
            self._drop(conn)

    def _begin_what_may(self) -> None:
        """Begin as many as there are threads, those first whose address has the fewest."""
        for conn in sorted(self._line, key=lambda each: self._taken["of", each.address]):
            if all(self._taken[place] < many for place, many in conn.places.items()):
                self._line.remove(conn)
                self._taken.update(conn.places.keys())
                conn.data_ready = True
                super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        """Hand what was received to the parser, answer, and close a connection that isn't kept.

        gunicorn would close it in the loop, which would wait for the client for two seconds.
        """
        conn.sock.setblocking(True)
        conn.init()
        unreader = conn.parser.unreader
        unreader.sock = SteadySocket(conn.sock)
        unreader.unread(bytes(conn.received))
        conn.received = bytearray()
        keep = super().handle(conn)
        if not keep:
            util.close_graceful(conn.sock)
        return keep

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer over a socket with a time limit; the connection's own socket stays as it is."""
        steady = SimpleNamespace(
            sock=SteadySocket(conn.sock), client=conn.client, server=conn.server
        )
        return super().handle_request(req, steady)

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        """Let the next in line begin."""
        self._taken.subtract(conn.places.keys())
        self._taken = +self._taken  # drops those that none is taken of
        super().finish_request(conn, fs)
        self._begin_what_may()

    def _forget(self, conn: TConn) -> None:
        self.pending_conns.remove(conn)
        self.poller.unregister(conn.sock)

    def _drop(self, conn: TConn) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()


def _end_when_unread(connection: socket.socket) -> None:
    with suppress(AttributeError, OSError):  # only on Linux, and over TCP
        option = socket.TCP_USER_TIMEOUT
        connection.setsockopt(socket.IPPROTO_TCP, option, UNREAD_SECONDS * 1000)


def _sender(conn: TConn) -> str:
    """Return whom a request comes from, as far as that is known."""
    said = REAL_IP.search(conn.received, 0, max(conn.received.find(b"\r\n\r\n"), 0))
    peer = conn.client[0] if conn.client else ""
    return real_address(peer, said[1].decode("latin-1") if said else "")


def _places(address: str, *, is_slow: bool) -> dict[tuple[str, ...], int]:
    """Return the limits that a request counts for, and how many places each has."""
    threads = settings.FL_WEB_THREADS
    places: dict[tuple[str, ...], int] = {
        ("all",): threads,
        ("of", address): max(threads * 3 // 4, 1),
    }
    if is_slow:
        places |= {("slow of", address): max(threads // 8, 1), ("slow",): max(threads // 4, 1)}
    return places
