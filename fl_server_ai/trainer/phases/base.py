"""What a phase is: something that participants are asked for, until enough have answered."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from fl_server_ai.trainer import sampling
from fl_server_ai.trainer.plan import Plan, plan_of
from fl_server_ai.trainer.quorum import Quorum
from fl_server_core.compiled import compiled
from fl_server_core.exceptions import InvalidRequest, PermissionDenied
from fl_server_core.models import (
    Checkpoint,
    LocalModel,
    Model,
    Moments,
    Notification,
    Training,
    User,
)
from fl_server_core.models.model import ModelQuerySet
from fl_server_core.models.notification import (
    NotificationQuerySet,
    NotificationState,
    NotificationType,
)
from fl_server_core.models.training import TrainingState
from fl_server_core.options import TrainingOptions

LOST = (NotificationState.FAILED, NotificationState.MISSED)


@dataclass(frozen=True)
class Merge:
    """What is to be merged: updates, or moments, or versions of the model into moments."""

    updates: Sequence[Model] = ()
    moments: Sequence[Moments] = ()
    versions: Sequence[Checkpoint] = ()

    @property
    def size(self) -> int:
        """Bytes of all their files."""
        rows: list[Model | Moments | Checkpoint] = [*self.updates, *self.moments, *self.versions]
        return sum(row.size for row in rows)


class Phase(ABC):
    """What a training asks for, from whom, and what the answers cause.

    Answers are rows: whether enough are there is always counted anew.
    """

    name: ClassVar[str]
    request: ClassVar[NotificationType]
    state: ClassVar[TrainingState] = TrainingState.ONGOING
    """The contract's letter of a training that is in this phase."""

    answered_by: ClassVar[str] = "owner"
    """The field of an answer that says whose it is."""

    numbered_by: ClassVar[str] = "round"
    """The field of an answer that says which round it is for."""

    draws_anew: ClassVar[bool] = False
    """Whether it asks a new sample, instead of the one that the round began with."""

    refusal_removes: ClassVar[bool] = True
    """Whether somebody who refuses its request leaves the training."""

    def __init__(self, training: Training) -> None:
        self.training = training

    @cached_property
    def plan(self) -> Plan:
        """What the training's rounds are like."""
        return plan_of(self.training)

    @cached_property
    def options(self) -> TrainingOptions:
        """What the training's options say to the server."""
        return self.training.typed_options

    @property
    def is_open(self) -> bool:
        """Whether the training is in this phase."""
        return self.training.phase == self.name

    # --- Who is asked ---------------------------------------------------------------

    def choose(self) -> list[User]:
        """Return whom it asks when it begins."""
        return sampling.choose(self.training, anew=self.draws_anew)

    def hand_out(self, asked: Sequence[User]) -> Mapping[uuid.UUID, uuid.UUID]:  # noqa: ARG002
        """Return by user which model goes out instead of the global one."""
        return {}

    def requests(self) -> NotificationQuerySet:
        """Return what asked the present participants for it."""
        requests: NotificationQuerySet = self.training.notifications.filter(
            type=self.request,
            round=self.training.round,
            attempt=self.training.attempt,
            receiver__in=self.training.memberships.values("user"),
        )
        return requests.standing()

    def asks_by(self, notification: Notification) -> bool:
        """Tell whether a notification asks for what is waited for now."""
        return self.requests().filter(pk=notification.pk).exists()

    # --- Who has answered -----------------------------------------------------------

    @abstractmethod
    def given_ever(self) -> QuerySet[Any]:
        """Return the answers of all rounds and attempts, whoever gave them."""

    def given(self) -> QuerySet[Any]:
        """Return those of the present round and attempt that may count.

        The training's id, model, round and attempt say which these are, and nothing else of it.
        """
        number = {self.numbered_by: self.training.round}
        return self.given_ever().filter(**number, attempt=self.training.attempt)

    def answers(self) -> QuerySet[Any]:
        """Return those of them that the present participants gave."""
        return self.given().filter(
            **{f"{self.answered_by}__in": self.training.memberships.values("user")}
        )

    def answers_needed(self, target: int) -> int:
        """Return with how few answers it may end if no more come in time."""
        return self.options.round.answers_needed(target)

    def awaited(self) -> NotificationQuerySet:
        """Return the requests to those who may still answer."""
        mine = self.given().filter(**{self.answered_by: OuterRef("receiver")})
        return self.requests().filter(~Q(state__in=LOST), ~Exists(mine))

    def waits_for_others(self, user: User) -> bool:
        """Tell whether it certainly goes on whatever this user answers.

        It does while another's answer may come and there is time; and, where a sample is asked, as
        long as this answer can't be the one that reaches the target. The database counts, and looks
        for one that is missing, so a round of N answers doesn't cost N² as `quorum` would.
        """
        if self._may_reach_target() or self._is_overdue():
            return False
        return bool(self._ask(_others_awaited, user.pk))

    def _may_reach_target(self) -> bool:
        """Tell whether one answer more may be as many as are wanted of a sample."""
        target = self.training.sample_target
        if target is None:
            return False
        people = self.answers().order_by().values(self.answered_by).distinct()
        return people.count() + 1 >= target

    def quorum(self) -> Quorum:
        """Count who was asked and who has answered, from the rows alone."""
        states = dict(self._ask(_asked))
        target = min(self.training.sample_target or len(states), len(states))
        return Quorum(
            asked=frozenset(states),
            unreachable=frozenset(pk for pk, state in states.items() if state in LOST),
            answered=frozenset(self._ask(_answered)),
            target=target,
            needed=self.answers_needed(target),
            overdue=self._is_overdue(),
        )

    def _is_overdue(self) -> bool:
        if self.training.deadline is None:
            return False
        return Training.objects.filter(pk=self.training.pk, deadline__lte=Now()).exists()

    def _ask(self, query: Callable[..., QuerySet[Any]], *more: uuid.UUID) -> list[Any]:
        training = self.training
        step = (training.pk, training.model_id, training.round, training.attempt)
        return _compiled(type(self), query)(*step, *more)

    # --- What an answer must be -----------------------------------------------------

    def check(self, user: User, round: int) -> None:
        """Raise unless an answer of this user for this round can be taken."""
        training = self.training
        self.check_participant(user)
        if training.state != self.state:
            raise InvalidRequest(f"Training with ID {training.pk} is in state {training.state}")
        if round != training.round:
            raise self.not_in_round(round)
        if self.is_open and not self.may_answer(user):
            raise self.not_asked()

    def check_participant(self, user: User) -> None:
        """Raise for somebody who takes no part."""
        if not self.training.is_participant(user):
            raise PermissionDenied(f"You are not a participant of training {self.training.pk}!")

    def may_answer(self, user: User) -> bool:
        """Tell whether the user is asked; where all are, also somebody who has just joined."""
        is_sampled = self.training.sample_target is not None
        return not is_sampled or self.requests().filter(receiver=user).exists()

    def not_in_round(self, round: int) -> InvalidRequest:
        """Return the error for an answer that comes too early or too late."""
        return InvalidRequest(
            f"Training with ID {self.training.pk} is not currently in round {round}"
        )

    def not_asked(self) -> InvalidRequest:
        """Return the error for an answer of somebody who isn't in the round's sample."""
        return InvalidRequest(
            f"You are not asked in round {self.training.round} of training {self.training.pk}"
        )

    # --- What the answers cause -----------------------------------------------------

    def merges(self, quorum: Quorum) -> bool:  # noqa: ARG002
        """Tell whether there is something to merge now."""
        return False

    def to_merge(self, quorum: Quorum) -> Merge:  # noqa: ARG002
        """Return what that is."""
        return Merge()

    @property
    def permutes(self) -> bool:
        """Whether its answers go to other participants when it ends."""
        return False

    @property
    def follows(self) -> str | None:
        """What comes after it; None when the round ends with it."""
        return self.plan.after(self.name)

    def begin_anew(self) -> None:
        """Do with updates what a new attempt at this phase asks for: those that are early stay."""
        self.open_updates().update(attempt=self.training.attempt)

    def open_updates(self) -> ModelQuerySet:
        """Return the updates for the present round, of any attempt, that may still count."""
        updates: ModelQuerySet = LocalModel.objects.filter(
            base_model=self.training.model_id, round=self.training.round, closed_at=None
        )
        return updates


def _asked(phase: Phase) -> QuerySet[Any]:
    return phase.requests().order_by().values_list("receiver", "state")


def _answered(phase: Phase) -> QuerySet[Any]:
    return phase.answers().order_by().values_list(phase.answered_by, flat=True)


def _others_awaited(phase: Phase, user: uuid.UUID) -> QuerySet[Any]:
    return phase.awaited().exclude(receiver=user).order_by().values_list("pk")[:1]


@cache
def _compiled(kind: type[Phase], query: Callable[..., QuerySet[Any]]) -> Callable[..., list[Any]]:
    """Compile a query about phases of one kind, by where a training is, and what else it asks."""

    @compiled
    def rows(
        pk: uuid.UUID, model: uuid.UUID, round: int, attempt: int, *more: uuid.UUID
    ) -> QuerySet[Any]:
        # Nothing else is known of either: who asks for it asks the database in vain, and fails.
        training = Training.from_db(None, ["id", "model_id", "attempt"], [pk, model, attempt])
        training.model = Model.from_db(None, ["id", "round"], [model, round])
        return query(kind(training), *more)

    return rows
