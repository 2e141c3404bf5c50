"""`/metrics/`, in Prometheus' format, for who has the token: of the server, not of models.

The web processes tell what the server knows (`gauges`) and what the processes on their machine have
counted (`fl_server_core.counters`). A worker in a container of its own tells what it has counted,
at a port of its own.
"""

import hmac
import logging
import os
import signal
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.context import ForkProcess
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from fl_server.gauges import GAUGES
from fl_server.processes import die_with_parent
from fl_server_core import counters

log = logging.getLogger(__name__)

KNOWN = CollectorRegistry()
KNOWN.register(GAUGES)


def begin_counting(folder: Path | None = None) -> None:
    """Have the processes to be started count, if anybody may ask; by default in a new folder.

    Each start of a server counts from nothing, as Prometheus expects.
    """
    if not settings.FL_METRICS_TOKEN:
        return
    try:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="fl-metrics-"))
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in folder.glob("*.db"):
            old.unlink()
    except OSError as error:
        log.warning("nothing is counted, because there is no folder for it: %s", error)
    else:
        counters.begin(folder)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Tell everything, or nobody that there is something to ask while no token is set."""
    if not settings.FL_METRICS_TOKEN:
        raise Http404
    if not _may_ask(request.headers.get("Authorization", "")):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    text = generate_latest(KNOWN) + counted()
    return HttpResponse(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def counted() -> bytes:
    """Return what the processes have counted in this one's folder."""
    if counters.FOLDER not in os.environ:
        return b""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _may_ask(authorization: str) -> bool:
    wanted = f"Bearer {settings.FL_METRICS_TOKEN}"
    return hmac.compare_digest(authorization.encode(), wanted.encode())


def tell_beside() -> None:
    """Tell what is counted from a process of its own, which ends with this one.

    Not from a thread, because workers fork.
    """
    if settings.FL_METRICS_TOKEN and settings.FL_METRICS_PORT:
        ForkProcess(target=_tell, daemon=True, name="metrics").start()


def _tell() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to this one too
    ThreadingHTTPServer(("", settings.FL_METRICS_PORT), _Handler).serve_forever()


class _Handler(BaseHTTPRequestHandler):
    timeout = 10  # of a connection on which nothing comes

    def do_GET(self) -> None:
        if self.path.rstrip("/") != "/metrics":
            self._answer(404)
        elif not _may_ask(self.headers.get("Authorization", "")):
            self._answer(401, {"WWW-Authenticate": "Bearer"})
        else:
            self._answer(200, {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}, counted())

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: this is asked every few seconds."""
