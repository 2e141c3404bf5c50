"""The Celery app."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_ready

from fl_server.readiness import report_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fl_server.settings")
app = Celery("fl_server")
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
