"""Everybody is told of the new model; it is over when all have the message."""

from django.db.models import QuerySet

from fl_server_ai.trainer.phases.base import Phase
from fl_server_core.models import Notification
from fl_server_core.models.notification import NotificationState, NotificationType


class Announcement(Phase):
    """A message that has arrived is its answer."""

    name = "announce"
    request = NotificationType.SWAG_ROUND_START
    answered_by = "receiver"

    def given_ever(self) -> QuerySet[Notification]:
        """Return the messages that have arrived."""
        calls = self.training.notifications.filter(type=self.request)
        return calls.filter(state=NotificationState.DELIVERED)
