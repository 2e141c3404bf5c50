"""The Celery tasks: each fetches what its ids name and calls one function.

All may be lost, late or run twice. Which queue takes which is in the settings.
"""

import logging
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_shutting_down

from fl_server_ai import cleanup, sweeper
from fl_server_ai.failures import Failure, NoWorker
from fl_server_ai.inference import stats, worker
from fl_server_ai.inference.client import QUEUE_SECONDS
from fl_server_ai.notification import delivery
from fl_server_core.log_context import note

logger = logging.getLogger(__name__)


@shared_task
def merge_round(training_id: str, round: int, attempt: int) -> None:
    """Merge a complete round of updates into the next model."""
    from fl_server_ai.aggregation import merging  # torch: only where merging happens

    note(training=training_id, round=round)
    merging.merge_round(UUID(training_id), round, attempt)


@shared_task
def dispatch(training_id: str) -> None:
    """Start a training's deliveries that are due."""
    note(training=training_id)
    delivery.dispatch(UUID(training_id))


@worker_shutting_down.connect
def start_no_more(**_: Any) -> None:
    """Leave what is in line to others; what is being posted is finished."""
    delivery.bulkheads.close()


@shared_task
def sweep() -> None:
    """Find and start whatever is due."""
    sweeper.sweep()


@shared_task
def remove_orphaned_files() -> None:
    """Delete the files that no row names any more, and whatever else is old or of no use."""
    cleanup.remove_all()


@shared_task(ignore_result=False)
def predict(
    model_id: str, input_name: str, is_json: bool, form: str, user_id: str
) -> dict[str, str]:
    """Predict for a stored input; the user waits for the stored answer's name, or a failure."""
    note(model=model_id, user=user_id)
    try:
        with worker.TURNS.place(UUID(user_id), seconds=QUEUE_SECONDS) as may_begin:
            if not may_begin:
                raise NoWorker("The user's other predictions, or too many others', are under way.")
            return {"file": worker.predict(UUID(model_id), input_name, is_json=is_json, form=form)}
    except Failure as failure:
        logger.log(failure.level, "model %s isn't run: %s", model_id, failure)
        return failure.tell()


@shared_task
def summarise(model_id: str) -> None:
    """Summarise a model's layers."""
    note(model=model_id)
    stats.fill_stats(UUID(model_id))
