"""The Celery app."""

import os
import sys
from typing import Any

from billiard import current_process
from celery import Celery
from celery.signals import (
    beat_init,
    setup_logging,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)

from fl_server.handing_on import FollowingTask
from fl_server.readiness import report_ready
from fl_server.transport import Transport

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fl_server.settings")
app = Celery("fl_server", task_cls=FollowingTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_djangos_logging(**_kwargs: Any) -> None:
    """Do nothing, because Django sets logging up; with a receiver of this signal Celery doesn't."""


@worker_ready.connect
@beat_init.connect
def tell_supervisor(**_kwargs: Any) -> None:
    """Report that a worker takes tasks, or that beat runs, also when it reconnects."""
    report_ready()


@worker_shutting_down.connect
def end_at_once(**_kwargs: Any) -> None:
    """Wake a worker that waits for messages, because Celery looks whether to end only then."""
    Transport.end_waiting()


@worker_process_init.connect
def end_without_worker(**_kwargs: Any) -> None:
    """End a pool's process whose worker died while it started, because it would wait for ever.

    Celery has the system end it with its worker, but that takes effect only from here on.
    """
    worker = current_process()._parent_pid  # type: ignore[attr-defined]  # not in its stubs
    if worker and os.getppid() != worker:  # unset where the pool is the worker's own process
        sys.exit(1)
