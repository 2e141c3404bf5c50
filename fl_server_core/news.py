"""News: whose messages have just been committed, told to the requests that wait for them.

Each process in which requests wait hears of them in one thread: over Redis where that is the
broker, else at a named pipe of its own. Nothing rests on it. While nothing can be heard, requests
look into the database often, and while it can they do so now and then.
"""

import errno
import logging
import os
import select
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.db import transaction

logger = logging.getLogger(__name__)

NAMED = 100
"""Of so many users at most names are told, because a pipe keeps 4 KB in one piece."""
EVERYBODY = b"everybody"
SILENT_SECONDS = 60.0
"""After this a connection is made anew, because one that has broken may be as silent."""
PAUSE_SECONDS = 5.0


def on_commit(users: Iterable[uuid.UUID]) -> None:
    """Tell that there is something for these users, once the transaction is committed.

    A broker that can't be reached is logged and otherwise has no effect.
    """
    names = [user.hex for user in users]
    if names:
        told = EVERYBODY if len(names) > NAMED else " ".join(names).encode()
        transaction.on_commit(lambda: means().tell(told), robust=True)


class Means(Protocol):
    """How news gets from process to process."""

    def tell(self, news: bytes) -> None:
        """Tell a line to all who hear."""

    def hear(self) -> Iterator[bytes]:
        """Yield EVERYBODY as soon as all that is told will be heard, then that, until a silence."""


class Pipes:
    """A folder with a named pipe for each process that hears."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tell(self, news: bytes) -> None:
        """Write to each pipe, unless it is full; remove those whose process is gone."""
        for path in self._folder.glob("*.pipe"):
            try:
                with open(path, "wb", buffering=0, opener=_open_at_once) as pipe:
                    pipe.write(news + b"\n")
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.EPIPE, errno.ENOENT):
                    raise
                path.unlink(missing_ok=True)

    def hear(self) -> Iterator[bytes]:
        """Read what is written to a pipe of our own."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / uuid.uuid4().hex
        os.mkfifo(path, 0o600)
        # For writing too, because else it would end whenever no writer has it open.
        pipe = os.open(path, os.O_RDWR)
        try:
            path = path.rename(path.with_suffix(".pipe"))  # not before it is open, see `tell`
            yield EVERYBODY
            heard = select.poll()
            heard.register(pipe, select.POLLIN)
            while heard.poll(1000 * SILENT_SECONDS):
                yield from os.read(pipe, 1 << 16).splitlines()  # more than that no pipe holds
        finally:
            os.close(pipe)
            path.unlink(missing_ok=True)


def _open_at_once(path: str, _flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK)


class Channel:
    """A channel of Redis', which forgets whoever has gone."""

    NAME = "fl-server-news"

    def __init__(self, url: str) -> None:
        from redis import Redis  # takes a sixth of a second, in vain where there is none

        self._redis = Redis.from_url(url, **settings.REDIS_TIMEOUTS)

    def tell(self, news: bytes) -> None:
        """Publish it."""
        self._redis.publish(self.NAME, news)

    def hear(self) -> Iterator[bytes]:
        """Subscribe; that is confirmed by a message of another type."""
        with self._redis.pubsub() as heard:  # type: ignore[no-untyped-call]
            heard.subscribe(self.NAME)
            while message := heard.get_message(timeout=SILENT_SECONDS):
                yield message["data"] if message["type"] == "message" else EVERYBODY


@cache
def means() -> Means:
    """Return the same for all of this process."""
    return (
        Channel(settings.REDIS_URL) if settings.REDIS_URL else Pipes(settings.BROKER_DIR / "news")
    )


class Listener:
    """Wakes this process's requests by what it hears in a thread, from the first of them on."""

    def __init__(self) -> None:
        self.hears = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waiting: dict[threading.Event, bytes] = {}

    @contextmanager
    def waking(self, user: uuid.UUID, woken: threading.Event) -> Iterator[None]:
        """Set the event whenever there is news for the user, or some may have been missed."""
        with self._lock:
            self._waiting[woken] = user.hex.encode()
            if self._thread is None:  # no sooner, because this process may have been forked
                self._thread = threading.Thread(target=self._listen, name="news", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[woken]

    def _listen(self) -> None:
        while True:
            try:
                for news in means().hear():
                    self.hears = True
                    self._wake(news)
            except Exception as error:  # each means has errors of its own
                logger.warning("requests that wait look for themselves, no news: %s", error)
                self.hears = False
                self._wake(EVERYBODY)
                time.sleep(PAUSE_SECONDS)

    def _wake(self, news: bytes) -> None:
        users = news.split()
        with self._lock:
            for woken, user in self._waiting.items():
                if user in users or news == EVERYBODY:
                    woken.set()


LISTENER = Listener()
"""This process's."""
