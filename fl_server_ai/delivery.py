"""Delivering what one receiver is owed by one training, in order."""

import logging
from uuid import UUID

from fl_server_ai import notifier
from fl_server_ai.posting import Unreachable
from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import Notification, Training

logger = logging.getLogger(__name__)


def deliver(training_id: UUID, receiver_id: UUID) -> None:
    """Post the receiver's messages until one is not accepted or none is due."""
    while notification := notifier.claim_next(training_id, receiver_id):
        try:
            notifier.post(notification)
        except notifier.Refused as error:
            _give_up(notification, str(error), refused=True)
        except Unreachable as error:
            if notification.deliveries <= notifier.RETRIES:
                notifier.retry_later(notification, str(error))
            else:
                _give_up(notification, str(error), refused=False)
        else:
            notifier.mark_delivered(notification)


def _give_up(notification: Notification, error: str, *, refused: bool) -> None:
    try:
        with ModelTrainer.locked(notification.training_id) as trainer:
            trainer.give_up_on(notification, error, refused=refused)
    except Training.DoesNotExist:
        logger.info("notification %s: its training is gone", notification.pk)
