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
    """Do nothing: Celery sets no logging up where somebody listens, and Django has done it."""


@worker_ready.connect
@beat_init.connect
def tell_supervisor(**_kwargs: Any) -> None:
    """Report that a worker takes tasks from its queue, or that beat runs; again after a break."""
    report_ready()
