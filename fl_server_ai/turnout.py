"""Who was asked for something in a training's present phase, and who has answered."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet
from django.db.models.functions import Now

from fl_server_ai.plans import plan_of
from fl_server_core.models import LocalModel, Metric, Moments, Notification, Training
from fl_server_core.models.model import ModelQuerySet
from fl_server_core.models.notification import (
    NotificationQuerySet,
    NotificationState,
    NotificationType,
)
from fl_server_core.models.training import Phase
from fl_server_core.options import MomentsBy

# What asks the participants for what a phase waits for.
REQUESTS = {
    Phase.UPDATE: NotificationType.UPDATE_ROUND_START,
    Phase.SWAG: NotificationType.SWAG_ROUND_START,
    Phase.TEST: NotificationType.MODEL_TEST_ROUND,
}

FAILURES_SHOWN = 3
LOST = (NotificationState.FAILED, NotificationState.MISSED)

Ids = frozenset[uuid.UUID]


@dataclass(frozen=True)
class Turnout:
    """Ids of the participants asked, of those who couldn't be reached, of all who answered.

    `target` answers close the phase; `quorum` are enough if no more can come, which is so once
    it is `overdue`.
    """

    asked: Ids
    unreachable: Ids
    answered: Ids
    target: int
    quorum: int
    overdue: bool

    @property
    def left(self) -> Ids:
        """Who may still count; somebody who answered was reached after all."""
        return self.asked - (self.unreachable - self.answered)

    @property
    def counted(self) -> Ids:
        """Who of them has answered."""
        return self.asked & self.answered

    @property
    def awaited(self) -> Ids:
        """Who may still answer."""
        return self.left - self.answered

    @property
    def is_complete(self) -> bool:
        """Whether the phase can end."""
        count = len(self.counted)
        last = self.overdue or not self.awaited or count >= self.target
        return last and count >= max(self.quorum, 1)

    @property
    def is_hopeless(self) -> bool:
        """Whether the quorum can't be met any more."""
        possible = self.counted if self.overdue else self.left
        return len(possible) < max(self.quorum, 1)


def turnout(training: Training) -> Turnout:
    """Count the present phase, from the rows alone."""
    states = dict(round_requests(training).values_list("receiver", "state"))
    target = min(training.sample_target or len(states), len(states))
    return Turnout(
        asked=frozenset(states),
        unreachable=frozenset(pk for pk, state in states.items() if state in LOST),
        answered=frozenset(_answerers(training)),
        target=target,
        quorum=_quorum(training, target),
        overdue=_is_overdue(training),
    )


def _quorum(training: Training, target: int) -> int:
    """Return how few answers are enough; of SWAG's moments one, if nobody says otherwise."""
    options = training.typed_options.round
    takes_any = training.phase == Phase.SWAG and plan_of(training).moments_by == MomentsBy.AUTO
    return 1 if takes_any and options.quorum is None else options.answers_needed(target)


def _is_overdue(training: Training) -> bool:
    late = Training.objects.filter(pk=training.pk, deadline__lte=Now())
    return training.deadline is not None and late.exists()


def round_requests(training: Training) -> NotificationQuerySet:
    """Return what asked the present participants for what the training waits for."""
    requests: NotificationQuerySet = training.notifications.filter(
        type=REQUESTS.get(Phase(training.phase), ""),
        round=training.round,
        attempt=training.attempt,
        receiver__in=training.participants.all(),
    ).standing()
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
    """Return the participants' updates for the present round; one that came late is closed."""
    updates: ModelQuerySet = LocalModel.objects.filter(
        base_model=training.model_id,
        round=training.round,
        attempt=training.attempt,
        owner__in=training.participants.all(),
        closed_at=None,
    )
    return updates


def counted_updates(training: Training) -> ModelQuerySet:
    """Return the updates that the present round ends with.

    Where a sample is asked, an update that came before the round opened may be of somebody
    who isn't in it. Else that of somebody who joined meanwhile counts as well.
    """
    updates = round_updates(training)
    if training.sample_target is None:
        return updates
    return updates.filter(owner__in=round_requests(training).values("receiver"))


def round_moments(training: Training) -> QuerySet[Moments]:
    """Return the participants' SWAG moments for the present round."""
    return Moments.objects.filter(
        model=training.model_id,
        round=training.round,
        attempt=training.attempt,
        owner__in=training.participants.all(),
    )


def asks_now(training: Training, notification: Notification) -> bool:
    """Tell whether the notification asks for what the training waits for."""
    return (
        training.is_running
        and notification.type == REQUESTS.get(Phase(training.phase))
        and notification.round == training.round
        and notification.attempt == training.attempt
    )


def describe_failures(training: Training) -> str:
    """Return who refused what in the present round, or couldn't be reached; "" for nobody.

    A sentence with a space before it: "It failed with anna (SWAG_ROUND_START: HTTP 500)."
    """
    failed = training.notifications.filter(
        type__in=REQUESTS.values(),
        round=training.round,
        attempt=training.attempt,
        failed_at__isnull=False,
    )
    rows = failed.order_by("failed_at").select_related("receiver")
    told = [f"{row.receiver.username} ({row.type}: {row.error})" for row in rows]
    if not told:
        return ""
    more = [f"{len(told) - FAILURES_SHOWN} more"] if len(told) > FAILURES_SHOWN else []
    return f" It failed with {', '.join(told[:FAILURES_SHOWN] + more)}."
