"""A strategy and a phase that aren't ours, as a contributor writes them."""

from dataclasses import dataclass

from django.db.models import QuerySet

from fl_server_ai.aggregation.strategies.base import Combined, Strategy
from fl_server_ai.trainer.phases.base import Phase
from fl_server_core.models.notification import NotificationState, NotificationType
from fl_server_core.options import Options, option


@dataclass(frozen=True, kw_only=True)
class LargestOptions(Options):
    """How much of the largest counts."""

    times: float = option("By this it is multiplied.", 1)


class Largest(Strategy):
    """The largest of each number, multiplied."""

    Options = LargestOptions
    options: LargestOptions

    def combine(self, block):
        return Combined(block.ranked()[-1] * self.options.times)


class Announcement(Phase):
    """Everybody is told of the new model; it is over when all have the message."""

    name = "announce"
    request = NotificationType.SWAG_ROUND_START
    answered_by = "receiver"

    def given_ever(self) -> QuerySet:
        calls = self.training.notifications.filter(type=self.request)
        return calls.filter(state=NotificationState.DELIVERED)
