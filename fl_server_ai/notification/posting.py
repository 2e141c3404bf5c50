"""Posting JSON to somebody else's server, which may be broken or hostile.

libcurl bounds all that a post takes together, from the name's look-up to the answer's last header,
and asks before it connects to an address. What it follows, decodes and logs in to by itself is
what it is told to: nothing.
"""

import logging
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import certifi
import pycurl
import requests

from fl_server_ai.notification.destinations import is_open

logger = logging.getLogger(__name__)

QUICK_EXIT = 322
"""CURLOPT_QUICK_EXIT, for which pycurl has no name: the system's resolver takes no time-out, and
who has given up doesn't wait for it."""
REASONS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "unknown host",
    pycurl.E_COULDNT_CONNECT: "no connection",
    pycurl.E_OPERATION_TIMEDOUT: "no answer in time",
}
OPTIONS: dict[int, Any] = {
    pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
    pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
    pycurl.PROXY: "",  # whatever the environment says
    pycurl.CAINFO: certifi.where(),
    pycurl.NOSIGNAL: 1,  # this is a thread
    QUICK_EXIT: 1,
}


class Unreachable(Exception):
    """The receiver gave no answer."""


def post(url: str, body: bytes, *, seconds: float, headers: Mapping[str, str] | None = None) -> int:
    """Post JSON and return the status that comes within so many seconds; else raise Unreachable.

    Redirects aren't followed, an answer's body isn't read.
    """
    sent = {"Content-Type": "application/json", "Expect": "", **(headers or {})}
    try:
        plain_url = requests.Request("POST", url).prepare().url  # in ASCII
    except ValueError as error:
        raise Unreachable("no URL") from error
    with ExitStack() as stack, pycurl.Curl() as curl:
        options = OPTIONS | {
            pycurl.URL: plain_url,
            pycurl.POSTFIELDS: body,
            pycurl.HTTPHEADER: [f"{name}: {value}" for name, value in sent.items()],
            pycurl.TIMEOUT_MS: int(seconds * 1000),
            pycurl.OPENSOCKETFUNCTION: lambda _, target: _open(target, stack),
            pycurl.HEADERFUNCTION: _Headers().take,
        }
        for option, value in options.items():
            curl.setopt(option, value)
        return _status(curl)


def address(url: str) -> str:
    """Return the host and port that a URL leads to, or as much as can be made out."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError:
        return url


def _status(curl: pycurl.Curl) -> int:
    try:
        curl.perform()
    except pycurl.error as error:
        code = error.args[0]
        if code != pycurl.E_WRITE_ERROR:  # which is that `_Headers` took no more
            raise Unreachable(REASONS.get(code, f"no HTTP (curl {code})")) from error
    return int(curl.getinfo(pycurl.RESPONSE_CODE))


def _open(target: tuple[Any, ...], stack: ExitStack) -> socket.socket | int:
    """Return a socket to connect, unless nothing may be posted there; curl takes a copy of it."""
    family, kind, protocol, (host, port, *_) = target
    if not is_open(host, port):
        logger.warning("nothing may be posted to %s, port %s, see FL_NOTIFY_ALLOW", host, port)
        return int(pycurl.SOCKET_BAD)
    return stack.enter_context(socket.socket(family, kind, protocol))


class _Headers:
    """Takes lines up to the blank one that ends an answer's; a "100 Continue" is none yet."""

    _interim = False

    def take(self, line: bytes) -> int:
        """Return how much of it is taken."""
        if line.startswith(b"HTTP/"):
            self._interim = line[8:10] == b" 1"
        return len(line) if line.strip() or self._interim else -1
