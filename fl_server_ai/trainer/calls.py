"""How a training's participants are called: the messages of its phases."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import Max
from django.db.models.functions import Now

from fl_server_ai import enqueue
from fl_server_ai.trainer.phases import Phase
from fl_server_core import news
from fl_server_core.models import Notification, Training, User
from fl_server_core.models.notification import REQUESTS, NotificationQuerySet, NotificationType

FAILURES_SHOWN = 3


def notify(
    training: Training,
    kind: NotificationType,
    receivers: Iterable[User],
    models: Mapping[UUID, UUID] | None = None,
) -> None:
    """Write one message per receiver, in the transaction that causes it.

    `models` names, by receiver, what goes out instead of the global model. The caller holds
    the training's lock: that keeps `sequence` in order.
    """
    receivers = list(receivers)
    latest = training.notifications.aggregate(latest=Max("sequence"))["latest"] or 0
    body = {"round": training.round} if kind in REQUESTS else {}
    models = models or {}
    Notification.objects.bulk_create(
        Notification(
            training=training,
            receiver=receiver,
            type=kind,
            round=training.round,
            attempt=training.attempt,
            sequence=latest + 1,
            body=body | {"global_model_uuid": str(models.get(receiver.pk, training.model_id))},
            next_attempt_at=Now() if receiver.message_endpoint else None,
        )
        for receiver in receivers
    )
    _announce(training, [receiver.pk for receiver in receivers])


def call_again(training: Training, requests: NotificationQuerySet) -> int:
    """Have requests sent once more; return how many."""
    receivers = list(requests.values_list("receiver", flat=True))
    count = requests.send_again()
    if count:
        _announce(training, receivers)
    return count


def _announce(training: Training, receivers: Iterable[UUID]) -> None:
    """Tell the requests that wait for messages, and the workers who post them."""
    news.on_commit(receivers)
    enqueue.on_commit("dispatch", str(training.pk))


def withdraw(training: Training) -> None:
    """Ask nobody any more for what hasn't been delivered yet."""
    training.notifications.requests().pending().withdraw()


def revive(phase: Phase) -> None:
    """Let the phase's requests to present participants count."""
    training = phase.training
    training.notifications.filter(
        type=phase.request,
        round=training.round,
        attempt=training.attempt,
        receiver__in=training.participants.all(),
    ).revive()


def welcome(training: Training) -> None:
    """Send the start to those who have come since the training was completed."""
    starts = training.notifications.standing().filter(type=NotificationType.TRAINING_START)
    new = training.participants.exclude(pk__in=starts.values("receiver"))
    notify(training, NotificationType.TRAINING_START, new)


def describe_failures(training: Training) -> str:
    """Return who refused what in the present round, or couldn't be reached; "" for nobody.

    A sentence with a space before it: "It failed with anna (SWAG_ROUND_START refused)."
    """
    failed = training.notifications.requests().filter(
        round=training.round, attempt=training.attempt, failed_at__isnull=False
    )
    rows = failed.order_by("failed_at").select_related("receiver")
    told = [f"{row.receiver.username} ({row.type} {row.failure})" for row in rows]
    if not told:
        return ""
    more = [f"{len(told) - FAILURES_SHOWN} more"] if len(told) > FAILURES_SHOWN else []
    return f" It failed with {', '.join(told[:FAILURES_SHOWN] + more)}."
