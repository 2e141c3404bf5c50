"""Posting JSON to somebody else's server, which may be broken or hostile.

`requests` bounds each wait for bytes and not all of them together, and its sessions read the
whole body of a redirect, followed or not. So a message goes through its adapter alone, over
connections that are cut when their time is up.
"""

import logging
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.connection import create_connection

from fl_server_ai.notification.destinations import is_open

logger = logging.getLogger(__name__)


class Unreachable(Exception):
    """The receiver gave no answer."""


def post(url: str, body: bytes, *, seconds: float, headers: Mapping[str, str] | None = None) -> int:
    """Post JSON and return the status that comes within so many seconds; else raise Unreachable.

    Nothing of ours goes along: no proxy's, .netrc's or earlier answer's credentials. Redirects
    aren't followed, an answer's body isn't read.
    """
    try:
        sent = {"Content-Type": "application/json", **(headers or {})}
        request = requests.Request("POST", url, headers=sent, data=body).prepare()
        with _Adapter() as adapter:
            answer = adapter.send(request, stream=True, timeout=seconds)
            answer.close()
    except (requests.RequestException, HTTPError, HTTPException, ValueError, OSError) as error:
        raise Unreachable(type(error).__name__) from error
    return answer.status_code


def address(url: str) -> str:
    """Return the host and port that a URL leads to, or as much as can be made out."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError:
        return url


class _Connection(HTTPConnection):
    """A connection that is cut when its time is up, however much trickles in."""

    _twin: socket.socket | None = None
    _cut: threading.Timer

    def _new_conn(self) -> socket.socket:
        end = time.monotonic() + float(self.timeout or 0)
        found = self._reach(end)
        self._twin = found.dup()  # stays ours when TLS takes the socket itself over
        self._cut = threading.Timer(end - time.monotonic(), _shut_down, [self._twin])
        self._cut.start()
        return found

    def _reach(self, end: float) -> socket.socket:
        """Connect to one of the name's addresses: all of them share the time that there is."""
        error: OSError = TimeoutError()
        for host in _look_up(self.host, self.port, end - time.monotonic()):
            left = end - time.monotonic()
            if left <= 0:
                break
            try:
                return create_connection((host, self.port), left)
            except OSError as refused:
                error = refused
        raise error

    def close(self) -> None:
        super().close()
        if self._twin:
            self._cut.cancel()
            self._twin.close()


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def __enter__(self) -> "_Adapter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _look_up(host: str, port: int, seconds: float) -> list[str]:
    """Return a name's addresses that are open; TimeoutError when they come too late.

    The system's resolver takes no time-out and may try for half a minute, in a thread of its
    own then; a daemon, so that a process that ends doesn't wait for it.
    """
    found: Future[list[str]] = Future()

    def resolve() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            hosts = [str(row[4][0]) for row in rows]
            found.set_result([host for host in hosts if is_open(host, port)])
        except Exception as error:
            found.set_exception(error)

    threading.Thread(target=resolve, daemon=True).start()
    hosts = found.result(seconds)
    if not hosts:
        logger.warning("nothing may be posted to %.200r, port %s, see FL_NOTIFY_ALLOW", host, port)
    return hosts


def _shut_down(twin: socket.socket) -> None:
    with suppress(OSError):  # the other side may have ended it already
        twin.shutdown(socket.SHUT_RDWR)
