"""The outbox: who is owed which message, and what became of it."""

import uuid
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

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


class NotificationQuerySet(models.QuerySet["Notification"]):
    """What is still owed."""

    def pending(self) -> Self:
        """Keep what was neither delivered nor given up."""
        return self.filter(delivered_at=None, failed_at=None, withdrawn_at=None)

    def due(self) -> Self:
        """Keep what should be posted now, by the database's clock."""
        return self.pending().filter(next_attempt_at__lte=Now())

    def readdress(self, user: User) -> None:
        """Have what the user is still owed posted, or fetched, as its endpoint now says."""
        due = Now() if user.message_endpoint else None
        self.pending().filter(receiver=user).update(next_attempt_at=due)


class Notification(models.Model):
    """One message to one receiver, about one round and attempt of a training.

    A receiver gets a training's messages in the order of `sequence`. `next_attempt_at` is
    null for somebody who fetches. `withdrawn_at`: the receiver was removed; what was asked
    no longer counts.
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

    deliveries = models.PositiveSmallIntegerField(default=0, help_text="Attempts so far.")
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "sequence"]
        constraints = [
            models.UniqueConstraint(
                fields=["training", "receiver", "type", "round", "attempt"],
                condition=Q(withdrawn_at=None),
                name="nobody_is_told_twice",
            )
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(delivered_at=None, failed_at=None, withdrawn_at=None),
                name="notification_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.receiver_id}"

    @property
    def message(self) -> dict[str, Any]:
        """The JSON that goes over the wire."""
        return {
            "notification_type": self.type,
            "training_uuid": str(self.training_id),
            "body": self.body,
        }
