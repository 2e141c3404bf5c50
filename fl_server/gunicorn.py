"""gunicorn's settings for the web processes: `gunicorn -c python:fl_server.gunicorn`."""

from typing import Any

from django.conf import settings

from fl_server.processes import die_with_parent

worker_class = "gthread"
workers = settings.FL_WEB_WORKERS
threads = settings.FL_WEB_THREADS
preload_app = True  # one import for all workers, and one that fails ends the start
graceful_timeout = 5
# Longer than clients pause between two requests: one that comes as the connection closes fails.
keepalive = 75
control_socket_disable = True
logconfig_dict = settings.LOGGING | {
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False}}
}


def post_fork(_server: Any, _worker: Any) -> None:
    """Tie the worker to its master."""
    die_with_parent()
