"""gunicorn's settings for the web processes: `gunicorn -c python:fl_server.gunicorn`."""

import gc
import time
from contextlib import suppress
from typing import Any

from django.conf import settings
from gunicorn.glogging import Logger

from fl_server import tracing
from fl_server.processes import die_with_parent
from fl_server.readiness import report_ready
from fl_server_core import log_context

worker_class = "fl_server.receiving.Worker"
workers = settings.FL_WEB_WORKERS
threads = settings.FL_WEB_THREADS
preload_app = True  # one import for all workers, and one that fails ends the start
graceful_timeout = 5
# Longer than clients pause between two requests, because one sent just as it closes would fail.
keepalive = 75
control_socket_disable = True
# Names that gunicorn takes from who comes by loopback, that is here from any local client.
forwarder_headers = ""
LINGER_SECONDS = 30
SILENT_SECONDS = 5
logconfig_dict = settings.LOGGING | {
    "loggers": {
        name: {"level": "INFO", "handlers": ["stderr"], "propagate": False}
        for name in ("gunicorn.error", "gunicorn.access")
    }
}
access_log_format = "%(m)s %(U)s: %(s)s, %(B)s bytes, %(M)s ms"


class logger_class(Logger):  # type: ignore[misc]  # noqa: N801 (gunicorn has no types; its name)
    """Says what was answered only where somebody wants that: finding the words takes its time."""

    def access(self, *request: Any) -> None:  # noqa: D102
        if settings.FL_ACCESS_LOG:
            super().access(*request)


def when_ready(_server: Any) -> None:
    """Leave what is imported by now to no collector: it would look through it in each worker.

    Before that note the settings, once for all workers.
    """
    from fl_server.noted_settings import note_settings  # needs the apps, which are there by now

    note_settings()
    gc.freeze()


def post_fork(_server: Any, _worker: Any) -> None:
    """Tie the worker to its master; from here on it may have threads."""
    die_with_parent()
    tracing.begin()


def worker_exit(_server: Any, _worker: Any) -> None:
    """Send the worker's last spans."""
    tracing.end()


def post_worker_init(_worker: Any) -> None:
    """Report that a worker is about to accept requests; earlier connections are queued for it."""
    report_ready()


def post_request(_worker: Any, request: Any, _environ: Any, _response: Any) -> None:
    """Read what a client still sends after its answer, for a while, and throw it away.

    If the connection were closed at once, most clients, which send all before they read, would see
    a broken connection instead of the 308, 401 or 413 that answers a large upload.
    """
    connection, end = request.unreader.sock, time.monotonic() + LINGER_SECONDS
    log_context.begin()  # nothing: what the thread reads next may be no request
    with suppress(OSError):
        connection.settimeout(SILENT_SECONDS)
        # In small pieces, because a read returns only once it has all that it was asked for.
        while request.body.read(1 << 13) and time.monotonic() < end:
            pass
        connection.settimeout(None)
