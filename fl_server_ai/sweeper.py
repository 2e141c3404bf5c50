"""Looking for work that is due and that no worker has: lost tasks, run-out leases, retries."""

import logging
from uuid import UUID

from django.db import OperationalError

from fl_server_ai.notification import delivery
from fl_server_ai.tracking import telling
from fl_server_ai.trainer import ModelTrainer
from fl_server_ai.trainer.phases import phase_of
from fl_server_core.models import Training

logger = logging.getLogger(__name__)


def sweep() -> None:
    """Check the trainings whose time has come, and start deliveries and telling that are due."""
    for training_id in Training.objects.due().values_list("pk", flat=True):
        _look_at(training_id)
    delivery.dispatch_oldest()
    telling.begin()


def _look_at(training_id: UUID) -> None:
    """Lock the training only where there is something to do: others are waiting to write."""
    row = Training.objects.due().filter(pk=training_id)
    try:
        training = row.select_related("model").first()
        if training is None:
            return  # checked since it was listed, or removed
        quorum = phase_of(training).quorum()
        if quorum.is_complete or quorum.is_hopeless:
            with ModelTrainer.locked(training_id) as trainer:
                trainer.advance()
        else:
            row.postpone()
    except Training.DoesNotExist:
        pass  # removed since it was listed
    except OperationalError:  # it is the database: the next sweep may fare better
        raise
    except Exception:  # so that the other trainings are checked
        logger.exception("training %s can't be checked", training_id)
