"""Whether the process lives, and whether the server can work. Cheap, because anybody may ask."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from fl_server.celery import app
from fl_server.processes import QUEUES

log = logging.getLogger(__name__)

ANSWER_WITHIN = 2.0
KEPT_FOR = 2.0


class UnhealthyError(Exception):
    """What is wrong, in words without secrets, because anybody may read them."""


def check_database() -> None:
    """Run a query that needs no table."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()  # this thread may never use it again


def check_broker() -> None:
    """Ask the broker for the length of a queue."""
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=1)
        app.amqp.queues[QUEUES[0]](broker.default_channel).queue_declare()


def check_storage() -> None:
    """Write a small file and delete it."""
    name = default_storage.save(f"scratch/health-{uuid.uuid4().hex}", ContentFile(b"ok"))
    default_storage.delete(name)


def check_workers() -> None:
    """Ask all workers what they consume until each queue has one."""
    missing = set(QUEUES)

    def note(reply: dict[str, list[dict[str, Any]]]) -> None:
        missing.difference_update(queue["name"] for queues in reply.values() for queue in queues)
        if not missing:
            raise _AllAnswered

    try:
        app.control.broadcast("active_queues", reply=True, timeout=1.0, callback=note)
    except _AllAnswered:
        return
    raise UnhealthyError("no worker on " + ", ".join(sorted(missing)))


class _AllAnswered(Exception):
    """Not an error: raised to stop waiting, because every queue has answered."""


class Readiness:
    """The newest outcome of some checks, none older than `KEPT_FOR` unless one hangs.

    However many ask, one of them runs the checks and the others get what is known.
    """

    def __init__(self, checks: dict[str, Callable[[], None]]) -> None:
        self._checks = checks
        self._threads = ThreadPoolExecutor(len(checks))
        self._running: dict[str, Future[None]] = {}
        self._refreshing = threading.Lock()
        self._outcome: dict[str, str] = {}
        self._good_until = 0.0

    def outcome(self) -> dict[str, str]:
        """Return "ok" or what is wrong, by the name of the check."""
        if self._stale and self._refreshing.acquire(blocking=not self._outcome):
            try:
                if self._stale:  # still, after waiting for the first outcome
                    self._refresh()
            finally:
                self._refreshing.release()
        return self._outcome

    @property
    def _stale(self) -> bool:
        return time.monotonic() >= self._good_until

    def _refresh(self) -> None:
        for name, check in self._checks.items():
            if name not in self._running:  # one that hangs is not run a second time
                self._running[name] = self._threads.submit(check)
        wait(self._running.values(), timeout=ANSWER_WITHIN)
        self._outcome = {name: self._told(name) for name in self._checks}
        self._good_until = time.monotonic() + KEPT_FOR

    def _told(self, name: str) -> str:
        if not self._running[name].done():
            return f"no answer within {ANSWER_WITHIN:.0f} seconds"
        try:
            self._running.pop(name).result()
        except UnhealthyError as error:
            return str(error)
        except Exception:
            log.exception("the check of the %s failed", name)
            return "unavailable"
        return "ok"


READINESS = Readiness(
    {
        "database": check_database,
        "broker": check_broker,
        "storage": check_storage,
        "workers": check_workers,
    }
)


@require_safe
def live(_request: HttpRequest) -> JsonResponse:
    """Answer, which shows that the process lives."""
    return JsonResponse({"status": "ok"})


@require_safe
def ready(_request: HttpRequest) -> JsonResponse:
    """Tell what the server's work depends on, with a 503 if any of it is missing."""
    checks = READINESS.outcome()
    healthy = all(told == "ok" for told in checks.values())
    status = "ok" if healthy else "unavailable"
    return JsonResponse({"status": status, "checks": checks}, status=200 if healthy else 503)
