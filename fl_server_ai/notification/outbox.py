"""The outbox: taking the messages that are due, and posting them.

Each receiver gets a training's messages in order, each at least once. A message is claimed
by moving its `next_attempt_at` past the longest delivery, so a worker that dies leaves it to
the sweeper; nothing waits inside a worker.
"""

import json
import logging
import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings

from fl_server_ai.notification import posting, signature
from fl_server_ai.notification.bulkheads import PROMPT_SECONDS
from fl_server_core.compiled import compiled, first
from fl_server_core.connections import lend_connection
from fl_server_core.models import Notification, User
from fl_server_core.models.notification import NotificationQuerySet

logger = logging.getLogger(__name__)

RETRIES = 5

FORGOTTEN = 1000
"""Rows deleted by one statement."""


class Refused(Exception):
    """The receiver answered with an error status."""


def find_spent() -> NotificationQuerySet:
    """Return the calls that have done their work and are old enough."""
    kept = Notification.objects.all()
    return kept.spent() if settings.FL_KEEP_NOTIFICATION_DAYS else kept.none()


def forget_spent() -> None:
    """Delete these; some at a time, because others want to write."""
    while True:
        some = find_spent().order_by().values("pk")[:FORGOTTEN]
        if not Notification.objects.filter(pk__in=some).delete()[0]:
            break


def claim_next(training_id: UUID, receiver_id: UUID) -> Notification | None:
    """Take the receiver's oldest pending message, if it is due and nobody has it."""
    oldest = first(_oldest(training_id, receiver_id))
    if oldest is None:
        return None
    # Two workers may have read the same row; the count of deliveries says who was first.
    lease = timedelta(seconds=3 * settings.FL_NOTIFY_TIMEOUT_SECONDS)
    unclaimed = Notification.objects.filter(pk=oldest.pk, deliveries=oldest.deliveries)
    oldest.deliveries += 1
    return oldest if unclaimed.claim(lease) else None


@compiled
def _oldest(training: UUID, receiver: UUID) -> NotificationQuerySet:
    pending = Notification.objects.pending().filter(training=training, receiver=receiver)
    return pending.select_related("receiver").order_by("sequence")[:1]


def post(notification: Notification) -> None:
    """Post the message to its receiver; raise Refused or Unreachable when it isn't accepted.

    Meanwhile the thread holds no connection to the database.
    """
    lend_connection()
    begun, status = time.monotonic(), None
    body = json.dumps(notification.message).encode()
    try:
        status = posting.post(
            notification.receiver.message_endpoint,
            body,
            headers=_signed(notification, body),
            seconds=settings.FL_NOTIFY_TIMEOUT_SECONDS,
        )
    finally:
        prompt = status is not None and time.monotonic() - begun < PROMPT_SECONDS
        _remember(notification.receiver, prompt=prompt)
    if not 200 <= status < 300:
        raise Refused(f"HTTP {status}")


def _signed(notification: Notification, body: bytes) -> dict[str, str]:
    secret = notification.receiver.notification_secret
    if not secret:
        return {}
    return signature.headers(
        secret, message_id=str(notification.pk), timestamp=int(time.time()), body=body
    )


def _remember(receiver: User, *, prompt: bool) -> None:
    if prompt != receiver.answers_promptly:
        User.objects.filter(pk=receiver.pk).update(answers_promptly=prompt)
        receiver.answers_promptly = prompt


def retry_later(notification: Notification, error: str) -> None:
    """Let the sweeper try again after a pause that doubles each time."""
    pause = settings.FL_NOTIFY_RETRY_SECONDS * 2 ** (notification.deliveries - 1)
    row = Notification.objects.filter(pk=notification.pk)
    row.put_off(timedelta(seconds=pause), error)
