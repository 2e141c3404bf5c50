"""How a training's participants are called: the messages that its phases owe them."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from fl_server_ai import enqueue, notifier
from fl_server_ai.trainer.phases import Phase
from fl_server_core.models import Training, User
from fl_server_core.models.notification import NotificationQuerySet, NotificationType

FAILURES_SHOWN = 3


def call(phase: Phase, asked: Iterable[User], models: Mapping[UUID, UUID]) -> None:
    """Ask these participants for what the phase waits for."""
    notifier.owe(phase.training, phase.request, asked, models)


def call_again(training: Training, requests: NotificationQuerySet) -> int:
    """Have requests sent once more; return how many."""
    count = requests.send_again()
    if count:
        enqueue.on_commit("dispatch", str(training.pk))
    return count


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
    """Owe the start to those who have come since the training was completed."""
    starts = training.notifications.standing().filter(type=NotificationType.TRAINING_START)
    new = training.participants.exclude(pk__in=starts.values("receiver"))
    notifier.owe(training, NotificationType.TRAINING_START, new)


def describe_failures(training: Training) -> str:
    """Return who refused what in the present round, or couldn't be reached; "" for nobody.

    A sentence with a space before it: "It failed with anna (SWAG_ROUND_START: HTTP 500)."
    """
    failed = training.notifications.requests().filter(
        round=training.round, attempt=training.attempt, failed_at__isnull=False
    )
    rows = failed.order_by("failed_at").select_related("receiver")
    told = [f"{row.receiver.username} ({row.type}: {row.error})" for row in rows]
    if not told:
        return ""
    more = [f"{len(told) - FAILURES_SHOWN} more"] if len(told) > FAILURES_SHOWN else []
    return f" It failed with {', '.join(told[:FAILURES_SHOWN] + more)}."
