"""Asking a serving worker and waiting for what it says."""

import logging
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from celery import current_app
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as NoResult
from celery.result import AsyncResult
from django.conf import settings
from kombu.exceptions import OperationalError

from fl_server_ai import failures
from fl_server_ai.failures import NoWorker
from fl_server_core.files import discard, store, take

logger = logging.getLogger(__name__)

QUEUE_SECONDS = 10
"""How long a request may wait for a worker, and there for its user's turn."""


def predict(model_id: UUID, source: Path, *, user: UUID, is_json: bool, form: str) -> BinaryIO:
    """Return the answer for the input in a file, which is moved away; it blocks until then.

    Raises a `Failure` if there is none.
    """
    name = store(source).name
    try:
        outcome = ask("predict", str(model_id), name, is_json, form, str(user))
    finally:
        discard(name)
    if "file" not in outcome:
        raise failures.read(outcome)
    return take(outcome["file"])


def ask(task: str, *args: str | bool) -> dict[str, Any]:
    """Return a task's result."""
    try:
        result = current_app.send_task(
            f"fl_server_ai.tasks.{task}", args=args, expires=QUEUE_SECONDS, ignore_result=False
        )
    except OperationalError as error:
        raise NoWorker("The server can't reach its workers.") from error
    try:
        # A worker that has begun waits for the user's turn, and then ends within its time, or a
        # little later if a file is large.
        outcome: dict[str, Any] = result.get(
            timeout=2 * QUEUE_SECONDS + settings.FL_RUNNER_SECONDS + 10, interval=0.02
        )
    except (NoResult, TaskRevokedError) as error:
        raise NoWorker("No worker is free.") from error
    finally:
        _forget(result)
    return outcome


def _forget(result: AsyncResult[Any]) -> None:
    """Delete a result; whatever is in the way of it must not replace the answer."""
    try:
        result.forget()
    except Exception:  # each store has errors of its own
        logger.warning("the result %s can't be deleted, it expires", result.id, exc_info=True)
