"""What has become of the calls of some rounds: who has answered, and why the others have not."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from django.db import models
from django.db.models import Max

from fl_server_ai.trainer.phases import PHASES, phase_of
from fl_server_core.models import Notification, Training
from fl_server_core.models.notification import (
    NotificationQuerySet,
    NotificationState,
    NotificationType,
)

Call = tuple[str, int, int]
"""What was asked for, in which round and attempt."""


class Silence(models.TextChoices):
    """Why somebody who was asked has not answered."""

    REFUSED = "refused", "Its client refused the call."
    LOST = "lost", "It couldn't be reached."
    MISSED = "missed", "The round went on without it."
    REMOVED = "removed", "It was taken out of the training."
    WITHDRAWN = "withdrawn", "The attempt was over before the call had reached it."
    UNANSWERED = "unanswered", "It had the call; the attempt ended without its answer."
    AWAITED = "awaited", "It may still answer."


@dataclass
class Calls:
    """The calls of a training's rounds `first` to `last`, None being the newest.

    To everybody, or to some people only.
    """

    training: Training
    first: int = 0
    last: int | None = None
    people: Collection[UUID] | None = None

    def rows(self) -> NotificationQuerySet:
        """Return the calls."""
        requests: NotificationQuerySet = self.training.notifications.requests().filter(
            **self.within("round"), **self._of("receiver")
        )
        return requests

    def has_answer(self, call: Notification) -> bool:
        """Tell whether its receiver has answered it, also late."""
        return call.receiver_id in self._answers[call.type, call.round, call.attempt]

    def silence(self, call: Notification) -> Silence | None:
        """Return why there is no answer that counts; None where there is one."""
        if call.state == NotificationState.MISSED:
            return Silence.MISSED
        return None if self.has_answer(call) else self._because(call)

    def within(self, number: str) -> dict[str, int]:
        """Return the rounds as a filter of the field that has a round's number."""
        upper = {} if self.last is None else {f"{number}__lte": self.last}
        return {f"{number}__gte": self.first, **upper}

    @cached_property
    def _answers(self) -> dict[Call, set[UUID]]:
        """Who has answered each call."""
        answers: dict[Call, set[UUID]] = defaultdict(set)
        for phase in (kind(self.training) for kind in PHASES.values()):
            within = self.within(phase.numbered_by) | self._of(phase.answered_by)
            given = phase.given_ever().filter(**within).order_by()
            fields = (phase.numbered_by, "attempt", phase.answered_by)
            for number, attempt, user in given.values_list(*fields).distinct():
                answers[phase.request, number, attempt].add(user)
        return answers

    @cached_property
    def _removals(self) -> dict[UUID, int]:
        """By user which of the training's messages was the last to say that it is out."""
        told = self.training.notifications.filter(
            type=NotificationType.CLIENT_REMOVED, **self._of("receiver")
        )
        return dict(told.order_by().values_list("receiver").annotate(Max("sequence")))

    @cached_property
    def _present(self) -> Call:
        """What is asked for now."""
        training = self.training
        return (phase_of(training).request, training.round, training.attempt)

    def _because(self, call: Notification) -> Silence:
        if call.state in (NotificationState.PENDING, NotificationState.DELIVERED):
            return Silence.AWAITED if self._is_awaited(call) else Silence.UNANSWERED
        if call.failed_at:  # a refusal may have removed the participant as well
            return Silence.REFUSED if call.failure == "refused" else Silence.LOST
        removed = self._removals.get(call.receiver_id, -1) > call.sequence
        return Silence.REMOVED if removed else Silence.WITHDRAWN

    def _is_awaited(self, call: Notification) -> bool:
        is_present = (call.type, call.round, call.attempt) == self._present
        return self.training.is_running and is_present

    def _of(self, person: str) -> dict[str, Collection[UUID]]:
        return {} if self.people is None else {f"{person}__in": self.people}
