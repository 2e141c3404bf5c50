"""The outbox: messages to participants, and whether they were delivered."""

import uuid
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from fl_server_core.compiled import compiled
from fl_server_core.models.training import Training
from fl_server_core.models.user import User


class NotificationType(models.TextChoices):
    """What a receiver is told; the first column of the contract's table."""

    TRAINING_START = "TRAINING_START", "training start"
    UPDATE_ROUND_START = "UPDATE_ROUND_START", "update round start"
    SWAG_ROUND_START = "SWAG_ROUND_START", "SWAG round start"
    MODEL_TEST_ROUND = "MODEL_TEST_ROUND", "model test round"
    TRAINING_FINISHED = "TRAINING_FINISHED", "training finished"
    CLIENT_REMOVED = "CLIENT_REMOVED", "client removed"


REQUESTS = (
    NotificationType.UPDATE_ROUND_START,
    NotificationType.SWAG_ROUND_START,
    NotificationType.MODEL_TEST_ROUND,
)
"""Those that ask for an answer; they carry the number of a round."""


ANSWERED_BY_ROWS = (NotificationType.UPDATE_ROUND_START, NotificationType.SWAG_ROUND_START)
"""Those whose answers say all that is needed once their round is over. Calls to test tell whose
metrics count."""


class NotificationState(models.TextChoices):
    """What has become of a message."""

    PENDING = "pending", "It waits to be posted or fetched."
    DELIVERED = "delivered", "Its receiver has accepted it."
    FAILED = "failed", "Its receiver has refused it, or couldn't be reached."
    MISSED = "missed", "The round closed without what it asks for."
    WITHDRAWN = "withdrawn", "It doesn't count: the receiver was removed, or the attempt is over."


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Messages, and how their states change: each method is a conditional update of some states.

    | method     | from                        | to                                    |
    | ---------- | --------------------------- | ------------------------------------- |
    | deliver    | PENDING                     | DELIVERED                             |
    | fail       | PENDING                     | FAILED                                |
    | miss       | PENDING, DELIVERED          | MISSED                                |
    | withdraw   | any other                   | WITHDRAWN                             |
    | revive     | WITHDRAWN                   | what it was: DELIVERED, or PENDING    |
    | send_again | all but WITHDRAWN           | PENDING, due at once                  |
    | claim      | PENDING and due             | the same, not due for a while         |
    | put_off    | PENDING                     | the same, due later                   |

    Each returns how many it has changed, because of two at once only one changes a message.
    """

    def requests(self) -> Self:
        """Keep what asks for an answer."""
        return self.filter(type__in=REQUESTS)

    def pending(self) -> Self:
        """Keep what is still to be delivered."""
        return self.filter(state=NotificationState.PENDING)

    def due(self) -> Self:
        """Keep what should be posted now, by the database's clock."""
        return self.pending().filter(next_attempt_at__lte=Now())

    def standing(self) -> Self:
        """Keep what counts."""
        return self.exclude(state=NotificationState.WITHDRAWN)

    def spent(self) -> Self:
        """Keep calls that are settled, that nothing looks back at, and that are old enough.

        For updates and moments, in rounds before the last two or under earlier attempts.
        """
        number, attempt = F("training__model__round"), F("training__attempt")
        return self.exclude(state=NotificationState.PENDING).filter(
            Q(round__lt=number - 1) | Q(attempt__lt=attempt),
            type__in=ANSWERED_BY_ROWS,
            created_at__lt=Now() - timedelta(days=settings.FL_KEEP_NOTIFICATION_DAYS),
        )

    def deliver(self) -> int:
        """Note that the receivers have accepted them."""
        return self.pending().update(
            state=NotificationState.DELIVERED, delivered_at=Now(), next_attempt_at=None
        )

    def fail(self, error: str) -> int:
        """Note that they can't be delivered."""
        return self.pending().update(
            state=NotificationState.FAILED, failed_at=Now(), next_attempt_at=None, error=error
        )

    def miss(self) -> int:
        """Note that what they ask for can't count any more."""
        asked = (NotificationState.PENDING, NotificationState.DELIVERED)
        return self.filter(state__in=asked).update(
            state=NotificationState.MISSED, next_attempt_at=None
        )

    def withdraw(self) -> int:
        """Let them count no longer."""
        return self.standing().update(state=NotificationState.WITHDRAWN)

    def revive(self) -> int:
        """Let them count again."""
        delivered = When(delivered_at__isnull=False, then=Value(NotificationState.DELIVERED))
        return self.filter(state=NotificationState.WITHDRAWN).update(
            state=Case(delivered, default=Value(NotificationState.PENDING))
        )

    def send_again(self) -> int:
        """Have them posted, or fetched, once more, whatever became of them."""
        again = {
            "state": NotificationState.PENDING,
            "deliveries": 0,
            "delivered_at": None,
            "failed_at": None,
            "error": "",
        }
        fetched = self.standing().filter(receiver__message_endpoint="")
        posted = self.standing().exclude(receiver__message_endpoint="")
        return fetched.update(**again) + posted.update(**again, next_attempt_at=Now())

    def claim(self, lease: timedelta) -> int:
        """Begin to post them; no other worker does until the lease is over."""
        return self.due().update(deliveries=F("deliveries") + 1, next_attempt_at=Now() + lease)

    def put_off(self, pause: timedelta, error: str) -> int:
        """Try again after a pause; not for users who have no endpoint any more and fetch them."""
        posted = self.pending().exclude(receiver__message_endpoint="")
        return posted.update(next_attempt_at=Now() + pause, error=error)

    def readdress(self, user: User) -> int:
        """Have the user's undelivered messages posted to its new endpoint, or else fetched."""
        due = Now() if user.message_endpoint else None
        return self.pending().filter(receiver=user).update(next_attempt_at=due)


class Notification(models.Model):
    """One message to one receiver, about one round and attempt of a training.

    A receiver gets a training's messages in the order of `sequence`. `next_attempt_at` is
    null for somebody who fetches. The state changes by the methods of `objects`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    training = models.ForeignKey(Training, on_delete=models.CASCADE, related_name="notifications")
    receiver = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notifications")
    type = models.CharField(max_length=32, choices=NotificationType)
    round = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField(help_text="Order within the training.")
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    state = models.CharField(
        max_length=9, choices=NotificationState, default=NotificationState.PENDING
    )
    deliveries = models.PositiveSmallIntegerField(default=0, help_text="Attempts so far.")
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "sequence", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["training", "round", "attempt", "type", "receiver"],
                condition=~Q(state="withdrawn"),
                name="nobody_is_told_twice",
            )
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state="pending"),
                name="notification_due",
            ),
            models.Index(
                fields=["failed_at"],
                condition=Q(failed_at__isnull=False),
                name="notification_failed",
            ),
            models.Index(
                fields=["receiver", "created_at"],
                condition=Q(state="pending"),
                name="notification_pending",
            ),
            models.Index(fields=["training", "sequence"], name="notification_sequence"),
            models.Index(fields=["training", "round", "attempt"], name="notification_round"),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.receiver_id}"

    @property
    def failure(self) -> str:
        """What became of one that failed, as its training's actor may know.

        What exactly answers there would tell who isn't in the server's networks about those.
        """
        return "refused" if self.error.startswith("HTTP ") else "not reached"

    @property
    def message(self) -> dict[str, Any]:
        """The JSON that goes over the wire."""
        return {
            "notification_type": self.type,
            "training_uuid": str(self.training_id),
            "body": self.body,
        }


@compiled
def pending_for(receiver: uuid.UUID) -> models.QuerySet[Notification]:
    """Return what this user is still to be told, oldest first."""
    return Notification.objects.pending().filter(receiver=receiver)
