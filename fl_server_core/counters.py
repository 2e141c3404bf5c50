"""What only the processes know of their work, counted by each in files that all of them add up.

`prometheus_client`'s multiprocess mode. All of these have labels, because without any a process
would open its files as it imports this, and those forked from it would close them, or whatever had
their numbers by then. No label names a user, a training or anything else without end.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from prometheus_client import CollectorRegistry, Counter, Histogram, values

logger = logging.getLogger(__name__)
P = ParamSpec("P")

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder of those files; without it nothing is counted."""

FILE_BYTES = 1 << 20
"""Of the two files of a process; all that there is to count takes less than half."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

COUNTED = CollectorRegistry()
REQUESTS = Counter(
    "fl_http_requests", "Requests answered.", ["route", "method", "status"], registry=COUNTED
)
REQUEST_SECONDS = Histogram(
    "fl_http_request_seconds",
    "Seconds until a request's answer begins.",
    ["route", "method"],
    buckets=(0.01, 0.05, 0.25, 1, 5, 30),
    registry=COUNTED,
)
MERGE_SECONDS = Histogram(
    "fl_merge_seconds",
    "Seconds that a merge took, by what became of it: merged or failed.",
    ["of", "outcome"],
    buckets=(0.1, 0.5, 2, 10, 60, 300, 1800),
    registry=COUNTED,
)
MERGE_BYTES = Counter("fl_merge_bytes", "Bytes of what was merged.", ["of"], registry=COUNTED)
DELIVERIES = Counter(
    "fl_deliveries",
    "Notifications posted: delivered, refused, or their receiver was unreachable.",
    ["outcome"],
    registry=COUNTED,
)
RUNS = Counter(
    "fl_runs",
    "Uses of a runner: done, or how they failed; died and slow ones ended their runner.",
    ["outcome"],
    registry=COUNTED,
)

_lock = threading.Lock()
_has_files: set[int] = set()


def begin(folder: Path) -> None:
    """Have this process and those that it will start count in a folder, which exists and is empty.

    Before any of them has counted anything.
    """
    os.environ[FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


def _harmless(count: Callable[P, None]) -> Callable[P, None]:
    """Have a function do nothing where nobody asks for its count, and never fail."""

    @wraps(count)
    def counting(*args: P.args, **kwargs: P.kwargs) -> None:
        if FOLDER not in os.environ:
            return
        try:
            _make_files()
            count(*args, **kwargs)
        except Exception as error:  # no work may fail because it isn't counted
            logger.warning("%s: nothing is counted: %s", count.__name__, error)

    return counting


def _make_files() -> None:
    """Make this process's files in full, because writing where a disk has no room would kill it."""
    with _lock:
        if os.getpid() in _has_files:
            return
        for kind in ("counter", "histogram"):
            path = Path(os.environ[FOLDER], f"{kind}_{os.getpid()}.db")
            if path.exists():  # of a process that had this id before: its counts go on
                continue
            try:
                path.write_bytes(bytes(FILE_BYTES))
            except OSError:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                raise
        _has_files.add(os.getpid())


@_harmless
def count_request(route: str, method: str, status: int, seconds: float) -> None:
    """Count a request by the pattern of its path, which is empty if it has none."""
    method = method if method in METHODS else "other"
    REQUESTS.labels(route, method, str(status)).inc()
    REQUEST_SECONDS.labels(route, method).observe(seconds)


@_harmless
def count_delivery(outcome: str) -> None:
    """Count a notification that was posted."""
    DELIVERIES.labels(outcome).inc()


@_harmless
def count_run(outcome: str) -> None:
    """Count a runner's use."""
    RUNS.labels(outcome).inc()


@contextmanager
def merging(of: str, size: int) -> Iterator[None]:
    """Count what happens here as a merge of so many bytes of updates, moments or versions."""
    begun, outcome = time.monotonic(), "failed"
    try:
        yield
        outcome = "merged"
    finally:
        _count_merge(of, outcome, time.monotonic() - begun, size)


@_harmless
def _count_merge(of: str, outcome: str, seconds: float, size: int) -> None:
    MERGE_SECONDS.labels(of, outcome).observe(seconds)
    MERGE_BYTES.labels(of).inc(size if outcome == "merged" else 0)
