"""A broker made of files: what Celery uses where no Redis is installed.

kombu's own filesystem transport writes messages and tables of bindings in place, and a
reader that meets a half-written one dies. Here every file is written under a temporary
name and renamed, so it exists with all of its content or not at all, and nothing needs a
lock. In the folder given as the transport option `folder` lie:

    queues/<queue>.queue/<time>-<uuid>      a message; it belongs to the reader that unlinks it
    exchanges/<exchange>.exchange/<hash>    one queue's binding to an exchange
    bells/<queue>.bell                      a pipe that gets a byte for each message
    writing/                                files on their way to one of the above
    rejected/                               files in a queue that were no messages
    news/                                   pipes of `fl_server_core.news`, no part of this

A folder per queue keeps looks at one queue cheap while another one is long. Readers sleep at the
bells of their queues. Nothing rests on these: a reader that hears none looks each second.
"""

import hashlib
import logging
import os
import select
import shutil
import time
import uuid
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any
from urllib.parse import quote
from weakref import WeakSet

from kombu.transport import virtual
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

Binding = tuple[str, str, str]
"""Routing key, pattern, queue: a row of kombu's exchange tables."""


class Channel(virtual.Channel):
    """One client's view of the queues."""

    supports_fanout = True

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._folder = Path(connection.client.transport_options["folder"])
        self._listed: dict[str, deque[Path]] = {}

    @property
    def bells(self) -> list[Path]:
        """Where the queues that are consumed here can be heard."""
        return [self._bell(queue) for queue in self._active_queues]

    def _bell(self, queue: str) -> Path:
        return self._folder / "bells" / f"{quote(queue, safe='@')}.bell"

    def _queue_folder(self, queue: str) -> Path:
        return self._folder / "queues" / f"{quote(queue, safe='@')}.queue"

    def _exchange_folder(self, exchange: str) -> Path:
        return self._folder / "exchanges" / f"{quote(exchange, safe='@')}.exchange"

    def _write(self, path: Path, content: Any) -> None:
        scratch = self._folder / "writing" / uuid.uuid4().hex
        scratch.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(dumps(content))
        scratch.replace(path)

    # --- Messages ----------------------------------------------------------------
    def _put(self, queue: str, message: dict[str, Any], **_kwargs: Any) -> None:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        self._write(self._queue_folder(queue) / name, message)
        with suppress(OSError):  # nobody listens, or there are thousands of bytes to be heard
            bell = os.open(self._bell(queue), os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(bell, b".")
            finally:
                os.close(bell)

    def _put_fanout(
        self, exchange: str, message: dict[str, Any], _routing_key: str, **_kwargs: Any
    ) -> None:
        for _, _, queue in self.get_table(exchange):
            self._put(queue, message)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002
        # A listing is used up before the next one is made, because else a long queue would be
        # listed and sorted once for each of its messages.
        listed = self._listed.get(queue) or deque(_paths(self._queue_folder(queue)))
        self._listed[queue] = listed
        while listed:
            message = self._claim(listed.popleft())
            if message is not None:
                return message
        raise Empty

    def _claim(self, path: Path) -> dict[str, Any] | None:
        """Take the message, or return None where another reader has it or it is none."""
        try:
            message = _message(path.read_text())
            path.unlink()  # succeeds for one of several readers
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._reject(path, error)
            return None
        return message

    def _reject(self, path: Path, error: Exception) -> None:
        rejected = self._folder / "rejected"
        try:
            rejected.mkdir(exist_ok=True)
            path.replace(rejected / path.name)
        except OSError:
            return  # another reader was first
        log.warning("%s is no message (%s), moved to %s", path, error, rejected)

    def _size(self, queue: str) -> int:
        return len(_paths(self._queue_folder(queue)))

    def _purge(self, queue: str) -> int:
        return sum(_unlinked(path) for path in _paths(self._queue_folder(queue)))

    # --- Bindings ----------------------------------------------------------------
    def get_table(self, exchange: str) -> list[Binding]:
        """Return the bindings to this exchange, those of other processes too."""
        bindings = (_binding(path) for path in _paths(self._exchange_folder(exchange)))
        return [binding for binding in bindings if binding is not None]

    def _binding_path(self, exchange: str, binding: Binding) -> Path:
        name = hashlib.sha256(repr(binding).encode()).hexdigest()
        return self._exchange_folder(exchange) / name

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str
    ) -> None:
        binding = (routing_key or "", pattern or "", queue)
        self._write(self._binding_path(exchange, binding), binding)

    def _delete(self, queue: str, *args: Any, **_kwargs: Any) -> None:
        exchange, routing_key, pattern, _ = args
        binding = (routing_key or "", pattern or "", queue)
        self._binding_path(exchange, binding).unlink(missing_ok=True)
        self._bell(queue).unlink(missing_ok=True)
        shutil.rmtree(self._queue_folder(queue), ignore_errors=True)


class Transport(virtual.Transport):
    """Hands on what comes into the queues, soon after it has come.

    A queue whose bell can't be made (not every file system has pipes) is looked at every
    `polling_interval` seconds, a transport option.
    """

    Channel = Channel
    channels: list[Any]
    cycle: Any
    default_port = 0
    driver_type = driver_name = "files"
    # A folder that can't be used is a lost connection: publishers raise, workers wait.
    connection_errors = (*virtual.Transport.connection_errors, OSError)
    implements = virtual.Transport.implements.extend(
        exchange_type=frozenset(["direct", "topic", "fanout"])
    )

    is_ending = False
    opened: "WeakSet[Transport]" = WeakSet()

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.opened.add(self)
        self._bells: dict[Path, int] = {}
        self._pause: float = client.transport_options["polling_interval"]

    def driver_version(self) -> str:
        """Return what Celery's banner shows."""
        return "1"

    def drain_events(  # type: ignore[override]  # more exact than its stub
        self,
        connection: Any,  # noqa: ARG002
        timeout: float | None = None,
    ) -> None:
        """Hand on one message; raise TimeoutError when none comes in so many seconds.

        Raises it at once while all that may be under way is: Celery notes between two calls what
        has been begun, and only then another message may come.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with suppress(Empty):
                self.cycle.get(self._deliver, timeout=timeout)
                return
            is_full = not all(channel.qos.can_consume() for channel in self.channels)
            left = LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if is_full:
                time.sleep(self._pause)
            if is_full or left <= 0 or self.is_ending:
                raise TimeoutError
            self._sleep(min(left, LOOK_SECONDS))

    @classmethod
    def end_waiting(cls) -> None:
        """Have this process's readers wait for nothing more; a signal's handler may call it."""
        cls.is_ending = True
        for transport in list(cls.opened):
            for bell in list(transport._bells.values()):
                with suppress(OSError):
                    os.write(bell, b".")

    def close_connection(self, connection: Any) -> None:  # noqa: D102
        super().close_connection(connection)
        while self._bells:
            os.close(self._bells.popitem()[1])

    def _sleep(self, seconds: float) -> None:
        """Sleep so long, or until a bell rings; one byte wakes one of several readers."""
        bells = [bell for channel in self.channels for bell in channel.bells]
        try:
            if self._listen(bells):
                return
        except OSError:
            time.sleep(min(seconds, self._pause))
            return
        poll = select.poll()
        for bell in bells:
            poll.register(self._bells[bell], select.POLLIN)
        for heard, _ in poll.poll(max(seconds, 0) * 1000):
            with suppress(BlockingIOError):  # another reader was first
                os.read(heard, 1)

    def _listen(self, bells: list[Path]) -> bool:
        """Open what isn't open yet; tell whether there was any, whose messages may be there."""
        new = [bell for bell in bells if bell not in self._bells]
        for bell in new:
            bell.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.mkfifo(bell, 0o600)  # others would take its bytes
            # For writing too, because else it would ring whenever no writer has it open.
            self._bells[bell] = os.open(bell, os.O_RDWR | os.O_NONBLOCK)
        return bool(new)


def _paths(folder: Path) -> list[Path]:
    """Return the files, oldest first; a folder that isn't there is an empty one."""
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except FileNotFoundError:
        return []


def _message(text: str) -> dict[str, Any]:
    """Parse what was put; raise ValueError where kombu could not make a message of it."""
    message = loads(text)
    properties = message.get("properties") if isinstance(message, dict) else None
    if not isinstance(properties, dict) or "delivery_tag" not in properties:
        raise ValueError("it has no delivery tag")
    return dict(message)


def _binding(path: Path) -> Binding | None:
    try:
        routing_key, pattern, queue = loads(path.read_text())
    except FileNotFoundError:  # unbound meanwhile
        return None
    return routing_key, pattern, queue


def _unlinked(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:  # a reader has it
        return False
    return True
