"""gunicorn's worker, in which requests wait for an hour and look only when there is news."""

from fl_server.receiving import Worker as Worker
from fl_server_api import waiting
from fl_server_api.views import notification
from fl_server_core import news

HOUR = 3600


def wait_for(look, _seconds, **how):
    return waiting.wait_for(look, HOUR, **how)


notification.wait_for = wait_for
waiting.WOKEN_PAUSE = news.SILENT_SECONDS = HOUR
