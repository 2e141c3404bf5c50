"""Settings, urls, processes: how the parts are put together."""

from fl_server.celery import app as celery_app

__all__ = ["celery_app"]
