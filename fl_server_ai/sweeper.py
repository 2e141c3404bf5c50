"""Looking for what is due and has nobody on it: lost hints, run-out leases, retries."""

import logging
from uuid import UUID

from django.db import OperationalError

from fl_server_ai import notifier
from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import Training

logger = logging.getLogger(__name__)


def sweep() -> None:
    """Judge every running training anew and start what the outbox owes."""
    for training_id in Training.objects.running().values_list("pk", flat=True):
        _judge(training_id)
    notifier.dispatch_oldest()


def _judge(training_id: UUID) -> None:
    try:
        with ModelTrainer.locked(training_id) as trainer:
            trainer.judge()
    except Training.DoesNotExist:
        pass  # removed since it was listed
    except OperationalError:  # it is the database: the next sweep may fare better
        raise
    except Exception:  # the others' turn must come, every time
        logger.exception("training %s can't be judged", training_id)
