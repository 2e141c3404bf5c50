"""What `manage.py doctor` looks at: each a function that says what it has found.

It returns a few words where all is well, and raises `Finding` where something is to be done; any
other exception is one, too. None needs the server to run, and none changes anything.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import ERROR, run_checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from fl_server import health, tracing
from fl_server.health import UnhealthyError
from fl_server_ai.inference.runner.launcher import try_cage
from fl_server_ai.tracking.registry import find_tracker
from fl_server_ai.tracking.tracker import TrackerError

ROOM = 1 << 30
"""Bytes on a disk below which the next uploads may find no room."""

SECONDS_OFF = 2

PORT = 8000
"""That of `serve` unless it is told another."""


class Finding(Exception):
    """Something is wrong: what, and what to do about it."""


@dataclass(frozen=True)
class Diagnosis:
    """What a check has found; `is_well` or not, `words` say the rest."""

    name: str
    is_well: bool
    words: str


def examine() -> Iterator[Diagnosis]:
    """Yield what each check finds, one after another: a later one may need an earlier."""
    for name, check in CHECKS.items():
        try:
            yield Diagnosis(name, is_well=True, words=check())
        except Exception as error:
            yield Diagnosis(name, is_well=False, words=_told(error))


def _told(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return (
        words if isinstance(error, Finding | UnhealthyError) else f"{type(error).__name__}: {words}"
    )


def check_settings() -> str:
    """Run Django's checks and our own."""
    errors = [message for message in run_checks() if message.level >= ERROR]
    if errors:
        raise Finding(" ".join(f"{error.id}: {error.msg}" for error in errors))
    kind = "PostgreSQL" if settings.FL_POSTGRES_HOST else "SQLite"
    broker = "Redis" if settings.REDIS_URL else "files"
    return f"{kind}, {broker}, data in {settings.DATA_DIR}"


def check_database() -> str:
    """Reach it, and compare its tables with what the code expects."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in missing[:3])
        raise Finding(
            f"{len(missing)} migrations are to come ({names}): run `manage.py migrate`, or start "
            "`manage.py serve`, which does."
        )
    return f"{connection.vendor}, all migrations are applied"


def check_clock() -> str:
    """Compare this machine's clock with the database's, by which deadlines and leases go."""
    if connection.vendor == "sqlite":
        return "the database goes by this machine's"
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [theirs] = cursor.fetchone()
    off = abs((datetime.now(UTC) - theirs).total_seconds())
    if off > SECONDS_OFF:
        raise Finding(f"The database's clock is {off:.0f} s off: let NTP set both.")
    return f"{off:.1f} s from the database's"


def check_broker() -> str:
    """Reach it."""
    health.check_broker()
    return str(settings.CELERY_BROKER_URL).partition("://")[0]


def check_storage() -> str:
    """Write a file and delete it."""
    health.check_storage()
    return str(settings.STORAGES["default"]["BACKEND"]).rpartition(".")[2]


def check_disks() -> str:
    """See whether there is room where data and uploads lie."""
    folders = {Path(folder) for folder in (settings.DATA_DIR, settings.SCRATCH_DIR)}
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    for folder, room in free.items():
        if room < ROOM:
            raise Finding(
                f"{folder} has {_shown(room)} left: delete models and trainings, lower "
                "`options.checkpoints.last`, or give it a larger disk."
            )
    return f"{_shown(min(free.values()))} free"


def check_device() -> str:
    """Import torch and look for the device that FL_DEVICE names."""
    from fl_server_ai.device import DeviceMissing, pick_device

    try:
        device = pick_device(settings.FL_DEVICE)
    except DeviceMissing as error:
        raise Finding(f"{error} Set FL_DEVICE to auto or cpu.") from error
    return f"torch {version('torch')} on {device.type}"


def check_cage() -> str:
    """Try what holds models at work."""
    report = try_cage(settings.FL_DEVICE)
    if not report.holds:
        raise Finding(
            f"Models would not be held: {report}. Predictions are refused then, unless FL_CAGE "
            "says otherwise; docs/security.md says what a kernel needs."
        )
    return str(report)


def check_workers() -> str:
    """Ask whether each queue has a worker."""
    try:
        health.check_workers()
    except UnhealthyError as error:
        raise Finding(f"There is {error}: start `manage.py serve`, or that process.") from error
    return "one on each queue"


def check_traces() -> str:
    """Reach who is to get them, if anybody is."""
    if not settings.FL_TRACES:
        return "off: OTEL_EXPORTER_OTLP_ENDPOINT names nobody who gets them"
    url = urlsplit(tracing.endpoint())
    place = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection(place, timeout=2).close()
    except OSError as error:
        raise Finding(f"Nobody takes traces at {url.hostname}: {error}.") from error
    return f"to {url.hostname}"


def check_tracker() -> str:
    """Ask the experiment tracker whether it takes our credentials."""
    tracker = find_tracker()
    if tracker is None:
        return "none is wanted"
    try:
        with closing(tracker):
            return tracker.check()
    except TrackerError as error:
        raise Finding(
            f"The tracker doesn't take what it is told: {error} Trainings go on, and it is told "
            "later; docs/tracking.md says what it needs."
        ) from error


def check_port() -> str:
    """See who has the port that `serve` takes by itself."""
    try:
        with socket.create_server(("127.0.0.1", PORT)):
            return f"{PORT} is free"
    except OSError:
        return f"{PORT} is taken: by this server, or start `serve` with another --port"


def check_secrets() -> str:
    """See that nobody else reads the data folder, in which an embedded server keeps its keys."""
    mode = os.stat(settings.DATA_DIR).st_mode & 0o077
    if mode and not settings.FL_ACCEL_PREFIX and not settings.FL_POSTGRES_HOST:
        raise Finding(
            f"Others may read {settings.DATA_DIR}: `serve` closes it, or chmod -R go= it."
        )
    return "the data folder is closed to others" if not mode else "the data folder is shared"


CHECKS: dict[str, Callable[[], str]] = {
    "settings": check_settings,
    "database": check_database,
    "clock": check_clock,
    "broker": check_broker,
    "storage": check_storage,
    "disks": check_disks,
    "secrets": check_secrets,
    "device": check_device,
    "cage": check_cage,
    "tracker": check_tracker,
    "port": check_port,
    "workers": check_workers,
    "traces": check_traces,
}


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
