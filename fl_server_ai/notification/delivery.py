"""Delivering each training's messages to each receiver in order."""

import logging
from dataclasses import replace
from uuid import UUID

from fl_server_ai.notification import outbox, posting
from fl_server_ai.notification.bulkheads import Bulkheads, Delivery
from fl_server_ai.notification.posting import Unreachable
from fl_server_ai.trainer import ModelTrainer
from fl_server_core.models import Notification, Training, User

logger = logging.getLogger(__name__)


bulkheads = Bulkheads()
"""This process's."""


def deliver(training_id: UUID, receiver_id: UUID) -> None:
    """Get in line for the receiver, then post as long as there is something that may start."""
    receiver = User.objects.filter(pk=receiver_id).first()
    if receiver is None:
        return
    address = posting.address(receiver.message_endpoint)
    bulkheads.join(Delivery(training_id, receiver_id, address, receiver.answers_promptly))
    while delivery := bulkheads.take():
        try:
            _post_all(delivery)
        finally:
            bulkheads.leave(delivery)


def _post_all(delivery: Delivery) -> None:
    """Post the receiver's messages until one is not accepted or none is due.

    Who isn't prompt gets in line again after each: others wait there.
    """
    while notification := outbox.claim_next(delivery.training, delivery.receiver):
        _post(notification)
        if not notification.receiver.answers_promptly:
            bulkheads.join(replace(delivery, prompt=False))
            return


def _post(notification: Notification) -> None:
    try:
        outbox.post(notification)
    except outbox.Refused as error:
        _give_up(notification, str(error), refused=True)
    except Unreachable as error:
        if notification.deliveries <= outbox.RETRIES:
            outbox.retry_later(notification, str(error))
        else:
            _give_up(notification, str(error), refused=False)
    else:
        Notification.objects.filter(pk=notification.pk).deliver()


def _give_up(notification: Notification, error: str, *, refused: bool) -> None:
    try:
        with ModelTrainer.locked(notification.training_id) as trainer:
            trainer.give_up_on(notification, error, refused=refused)
    except Training.DoesNotExist:
        logger.info("notification %s: its training is gone", notification.pk)
