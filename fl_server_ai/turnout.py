"""Who was asked for something in a training's present phase, and who has answered."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from fl_server_core.models import LocalModel, Metric, Moments, Notification, Training
from fl_server_core.models.model import ModelQuerySet
from fl_server_core.models.notification import NotificationQuerySet, NotificationType
from fl_server_core.models.training import Phase

# What asks the participants for what a phase waits for.
REQUESTS = {
    Phase.UPDATE: NotificationType.UPDATE_ROUND_START,
    Phase.SWAG: NotificationType.SWAG_ROUND_START,
    Phase.TEST: NotificationType.MODEL_TEST_ROUND,
}


@dataclass(frozen=True)
class Turnout:
    """Ids of the participants asked, of those who couldn't be reached, of all who answered."""

    asked: frozenset[uuid.UUID]
    unreachable: frozenset[uuid.UUID]
    answered: frozenset[uuid.UUID]

    @property
    def left(self) -> frozenset[uuid.UUID]:
        """Who may still count; somebody who answered was reached after all."""
        return self.asked - (self.unreachable - self.answered)

    @property
    def is_complete(self) -> bool:
        """Whether everybody who is left has answered."""
        return bool(self.left) and self.left <= self.answered


def turnout(training: Training) -> Turnout:
    """Count the present phase, from the rows alone."""
    failed = dict(round_requests(training).values_list("receiver", "failed_at"))
    return Turnout(
        asked=frozenset(failed),
        unreachable=frozenset(pk for pk, failed_at in failed.items() if failed_at),
        answered=frozenset(_answerers(training)),
    )


def round_requests(training: Training) -> NotificationQuerySet:
    """Return what asked the present participants for what the training waits for."""
    requests: NotificationQuerySet = training.notifications.filter(
        type=REQUESTS.get(Phase(training.phase), ""),
        round=training.round,
        attempt=training.attempt,
        receiver__in=training.participants.all(),
        withdrawn_at=None,
    )
    return requests


def _answerers(training: Training) -> Iterable[uuid.UUID]:
    if training.phase == Phase.UPDATE:
        return round_updates(training).values_list("owner", flat=True)
    if training.phase == Phase.SWAG:
        return round_moments(training).values_list("owner", flat=True)
    return Metric.objects.filter(
        model=training.model_id, step=training.round, attempt=training.attempt
    ).values_list("reporter", flat=True)


def round_updates(training: Training) -> ModelQuerySet:
    """Return the updates that count for the present round."""
    updates: ModelQuerySet = LocalModel.objects.filter(
        base_model=training.model_id,
        round=training.round,
        attempt=training.attempt,
        owner__in=training.participants.all(),
    )
    return updates


def round_moments(training: Training) -> QuerySet[Moments]:
    """Return the SWAG moments that count for the present round."""
    return Moments.objects.filter(
        model=training.model_id,
        round=training.round,
        attempt=training.attempt,
        owner__in=training.participants.all(),
    )


def asks_now(training: Training, notification: Notification) -> bool:
    """Tell whether the notification asks for what the training waits for."""
    return (
        notification.type == REQUESTS.get(Phase(training.phase))
        and notification.round == training.round
        and notification.attempt == training.attempt
    )
