"""Delivering each training's messages to each receiver in order, each in a thread."""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import close_old_connections
from django.db.models import Min, QuerySet

from fl_server_ai.notification import outbox, posting
from fl_server_ai.notification.bulkheads import THREADS, Bulkheads, Delivery
from fl_server_ai.notification.posting import Unreachable
from fl_server_ai.trainer import ModelTrainer
from fl_server_core import counters
from fl_server_core.compiled import compiled, first
from fl_server_core.connections import lend_connection
from fl_server_core.log_context import note
from fl_server_core.models import Notification, Training, User
from fl_server_core.models.notification import NotificationQuerySet
from fl_server_core.spans import describe, span

logger = logging.getLogger(__name__)

SWEPT = 256
"""Deliveries started by one sweep; the next one comes in two seconds."""

bulkheads = Bulkheads()
threads = ThreadPoolExecutor(THREADS, "deliver")
"""This process's."""


def dispatch(training_id: UUID) -> None:
    """Start a delivery for every receiver with a message of the training that is due."""
    _start(_due_of(training_id))


def dispatch_oldest() -> None:
    """Start what has been due for longest, of all trainings; prompt receivers come first."""
    _start(_in_order(Notification.objects.due())[:SWEPT])


@compiled
def _due_of(training: UUID) -> QuerySet[Any]:
    return _in_order(Notification.objects.due().filter(training=training))


def _in_order(due: NotificationQuerySet) -> QuerySet[Any]:
    deliveries = due.values_list("training", "receiver").annotate(since=Min("next_attempt_at"))
    ordered: QuerySet[Any] = deliveries.order_by("-receiver__answers_promptly", "since")
    return ordered


def _start(deliveries: Iterable[Any]) -> None:
    for training, receiver, _ in deliveries:
        threads.submit(copy_context().run, _deliver_alone, training, receiver)


def _deliver_alone(training_id: UUID, receiver_id: UUID) -> None:
    """Deliver in a thread that nobody waits for."""
    note(training=training_id, user=receiver_id)
    try:
        deliver(training_id, receiver_id)
    except Exception:  # what is due stays so, for the sweeper to find
        logger.exception("training %s: no delivery to user %s now", training_id, receiver_id)
    finally:
        close_old_connections()
        lend_connection()


def deliver(training_id: UUID, receiver_id: UUID) -> None:
    """Get in line for the receiver, then post as long as there is something that may start."""
    receiver = first(_receivers(receiver_id))
    if receiver is None:
        return
    address = posting.address(receiver.message_endpoint)
    bulkheads.join(Delivery(training_id, receiver_id, address, receiver.answers_promptly))
    while delivery := bulkheads.take():
        try:
            delivery.context.run(_post_all, delivery)
        finally:
            bulkheads.leave(delivery)


@compiled
def _receivers(pk: UUID) -> QuerySet[User]:
    return User.objects.filter(pk=pk)


def _post_all(delivery: Delivery) -> None:
    """Post the receiver's messages until one is not accepted or none is due.

    Who isn't prompt gets in line again after each: others wait there.
    """
    while notification := outbox.claim_next(delivery.training, delivery.receiver):
        note(round=notification.round)
        with span("delivery", type=notification.type, attempt=notification.deliveries):
            _post(notification)
        if not notification.receiver.answers_promptly:
            bulkheads.join(replace(delivery, prompt=False))
            return


def _post(notification: Notification) -> None:
    try:
        outbox.post(notification)
    except outbox.Refused as error:
        _count("refused")
        _give_up(notification, str(error), refused=True)
    except Unreachable as error:
        _count("unreachable")
        if notification.deliveries <= outbox.RETRIES:
            outbox.retry_later(notification, str(error))
        else:
            _give_up(notification, str(error), refused=False)
    else:
        _count("delivered")
        Notification.objects.filter(pk=notification.pk).deliver()


def _count(outcome: str) -> None:
    counters.count_delivery(outcome)
    describe({"fl.outcome": outcome})


def _give_up(notification: Notification, error: str, *, refused: bool) -> None:
    try:
        with ModelTrainer.locked(notification.training_id) as trainer:
            trainer.give_up_on(notification, error, refused=refused)
    except Training.DoesNotExist:
        logger.info("notification %s: its training is gone", notification.pk)
