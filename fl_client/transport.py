"""Asking the server until it answers: over restarts, busy hours and links that drop."""

import logging
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import NewConnectionError

from fl_client.errors import Refused, Unreachable

logger = logging.getLogger(__name__)

BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
"""How requests says that an answer didn't come, or not to its end."""

BUSY = (429, 502, 503, 504)
TIMEOUTS = (10, 90)
"""Seconds: to connect, and between two bytes of an answer; a poll waits for 25."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Token(AuthBase):
    """The header that says who asks; unlike one of the session's no `.netrc` replaces it."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add it."""
        request.headers["Authorization"] = f"Token {self.token}"
        return request


class OneServer(requests.Session):
    """Follows no redirect to another server, which would get passwords and updates."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where an answer sends us; raises `Refused` where that is elsewhere."""
        target = super().get_redirect_target(resp)
        if target:
            where = urljoin(resp.url, target)
            if self.should_strip_auth(resp.url, where):  # type: ignore[no-untyped-call]
                raise Refused(resp.status_code, f"The server sends us to another: {where:.200}.")
        return target


class Patience:
    """Growing pauses with jitter, until nothing has gone forward for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin anew, because something has gone forward."""
        self._until = time.monotonic() + self.seconds
        self._longest = FIRST_PAUSE

    def pause(self, reason: str, at_least: float = 0.0) -> None:
        """Wait a moment; raises `Unreachable` with the reason once it has taken too long."""
        seconds = at_least + random.uniform(self._longest / 2, self._longest)  # noqa: S311
        if time.monotonic() + seconds > self._until:
            raise Unreachable(reason)
        logger.warning("%s It is tried again in %.1f s.", reason, seconds)
        time.sleep(seconds)
        self._longest = min(2 * self._longest, LONGEST_PAUSE)


class Transport:
    """One user's line to one server."""

    def __init__(self, url: str, *, patience: float = 600.0) -> None:
        self.url, self.patience = url.rstrip("/"), patience
        self._session = OneServer()

    def be(self, token: str) -> None:
        """Speak as this token's user from now on."""
        self._session.auth = Token(token)

    def be_by_password(self, name: str, password: str) -> None:
        """Speak as the user of this name from now on."""
        self._session.auth = HTTPBasicAuth(name.encode(), password.encode())

    def be_nobody(self) -> None:
        """Send no credentials from now on; nor those of `.netrc`."""
        self._session.auth = lambda request: request

    def ask(
        self, method: str, path: str, *, once: bool = False, **options: Any
    ) -> requests.Response:
        """Return the server's answer; raises `Refused` with its reason.

        `once` is for what would happen twice if it were repeated: then it is sent again only where
        it surely hasn't arrived.
        """
        patience = Patience(self.patience)
        while True:
            try:
                answer = self.try_once(method, path, **options)
            except BROKEN as error:
                if once and not _never_sent(error):
                    raise Unreachable(f"{self._lost(error)} It may have been done.") from error
                patience.pause(self._lost(error))
                continue
            if not _is_busy(answer, once=once):
                return checked(answer)
            patience.pause(f"The server is busy: {sentence(answer)}", retry_after(answer))

    def try_once(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request, and return whatever the answer is."""
        url = f"{self.url}{path}"
        return self._session.request(method, url, **{"timeout": TIMEOUTS} | options)

    def _lost(self, error: Exception) -> str:
        return f"{self.url} can't be reached ({_cause(error)})."


def checked(answer: requests.Response) -> requests.Response:
    """Raise `Refused` unless the server has done what it was asked."""
    if not answer.ok:
        raise Refused(answer.status_code, sentence(answer))
    return answer


def retry_after(answer: requests.Response) -> float:
    """Return how many seconds to wait before asking again, as far as the server says so."""
    said = answer.headers.get("Retry-After", "")
    return min(float(said), 300.0) if said.isdecimal() else 0.0


def sentence(answer: requests.Response) -> str:
    """Return why the server refuses, whichever of its three shapes the answer has."""
    try:
        said = answer.json()
    except ValueError:
        return f"The server answers {answer.status_code} {answer.reason}."
    return " ".join(_flat(said)) or f"The server answers {answer.status_code}."


def _flat(said: Any, name: str = "") -> Iterator[str]:
    if isinstance(said, Mapping):
        for key, value in said.items():
            yield from _flat(value, "" if key == "detail" else f"{name}{key}: ")
    elif isinstance(said, list):
        for value in said:
            yield from _flat(value, name)
    else:
        yield f"{name}{said}"


def _is_busy(answer: requests.Response, *, once: bool) -> bool:
    """Tell whether the same request may succeed later; a quota's 429 says no time, and is final."""
    says_when = "Retry-After" in answer.headers
    return answer.status_code in BUSY and (says_when or not (once or answer.status_code == 429))


def _never_sent(error: Exception) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _cause(error: BaseException) -> str:
    """Return the operating system's words, which lie deep in the error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        inner = getattr(seen.args[0], "reason", None) if seen.args else None
        seen = inner or seen.__cause__ or seen.__context__
    return type(error).__name__
