"""What a serving worker says when it starts: which layers hold the models that it will run."""

import logging
from typing import Any

from celery.signals import worker_ready
from django.conf import settings

from fl_server_ai.inference.runner.cage import Report
from fl_server_ai.inference.runner.launcher import try_cage

logger = logging.getLogger(__name__)


@worker_ready.connect
def tell_cage(**_: Any) -> None:
    """Log it; runners apart from this process tell it themselves."""
    if not settings.FL_RUNNERS_SOCKET:
        tell(try_cage(settings.FL_DEVICE))


def tell(report: Report) -> None:
    """Log what holds, and what follows where it isn't enough."""
    if report.holds:
        logger.info("models run in a cage; %s", report)
    elif settings.FL_CAGE == "require":
        logger.error("no model is run: FL_CAGE=require, and the cage doesn't hold; %s", report)
    else:
        logger.warning(
            "the cage doesn't hold: a model that takes over its process can do what the "
            "server's user can (FL_CAGE=require would run none); %s",
            report,
        )
