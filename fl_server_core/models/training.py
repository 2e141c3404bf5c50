"""Trainings: which round they are in and what they wait for."""

import uuid
from datetime import timedelta
from typing import Any, Self

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Case, Q, When
from django.db.models.functions import Least, Now
from django.utils import timezone

from fl_server_core.compiled import compiled
from fl_server_core.models.user import User
from fl_server_core.options import Manager, TrainingOptions


class TrainingState(models.TextChoices):
    """The letters by which clients know the states."""

    INITIAL = "I", "initial"
    ONGOING = "O", "ongoing"
    SWAG_ROUND = "S", "SWAG round"
    COMPLETED = "C", "completed"
    ERROR = "E", "error"


class PhaseName(models.TextChoices):
    """What a running training waits for; `fl_server_ai.trainer.phases` has each phase."""

    NONE = "", "nothing"
    UPDATE = "update", "updates of the model"
    SWAG = "swag", "SWAG moments"
    TEST = "test", "metrics of the model"


class ReasonCode(models.TextChoices):
    """Why a training ended elsewhere than at its target; `state_reason` has the details."""

    NONE = "", "It hasn't."
    STOPPED = "stopped", "Its actor or an operator wanted that."
    STOPPED_EARLY = "stopped_early", "A metric was good enough, or got no better."
    NO_PARTICIPANTS = "no_participants", "No participant is left."
    QUORUM_MISSED = "quorum_missed", "Too few answered."
    UNMERGEABLE = "unmergeable", "What a round brought can't be merged."
    MERGE_ATTEMPTS = "merge_attempts", "Its merge was begun too often in vain."


class AggregationMethod(models.TextChoices):
    """The contract's strategies; `fl_server_ai.aggregation.strategies` has all there are."""

    FEDAVG = "FedAvg", "FedAvg"
    FEDDC = "FedDC", "FedDC"
    FEDPROX = "FedProx", "FedProx"


class UncertaintyMethod(models.TextChoices):
    """How a prediction's uncertainty is found: the contract's names.

    `fl_server_ai.uncertainty.registry` says which methods there are; there may be more.
    """

    NONE = "NONE", "none"
    ENSEMBLE = "ENSEMBLE", "ensemble"
    MC_DROPOUT = "MC_DROPOUT", "Monte Carlo dropout"
    SWAG = "SWAG", "SWAG"


LOOK_AGAIN = timedelta(minutes=1)
"""After this a training without events is checked, because a user may have been deleted."""


class TrainingQuerySet(models.QuerySet["Training"]):
    """Which trainings somebody sees, and which are under way."""

    def involving(self, user: User) -> Self:
        """Keep those where the user is actor or participant."""
        run = Training.objects.filter(actor=user).order_by().values("pk")
        joined = Training.participants.through.objects.filter(user=user).values("training")
        return self.filter(pk__in=run.union(joined))  # no index serves an OR

    def running(self) -> Self:
        """Keep those that wait for their participants."""
        return self.filter(state__in=(TrainingState.ONGOING, TrainingState.SWAG_ROUND))

    def due(self) -> Self:
        """Keep the running ones that are to be checked now, unless a worker merges them."""
        free = Q(claimed_until=None) | Q(claimed_until__lte=Now())
        return self.running().filter(free, Q(check_at=None) | Q(check_at__lte=Now()))

    def postpone(self) -> None:
        """Have them checked at their deadline, or after a minute; an event checks them sooner."""
        later = Now() + LOOK_AGAIN
        when = Case(When(deadline__gt=Now(), then=Least("deadline", later)), default=later)
        self.update(check_at=when)


class Training(models.Model):
    """A model being trained by its participants, round after round.

    A round is (training, `model.round`, `attempt`): what was asked and answered under
    another number or attempt never counts for it. `attempt` only grows, over all rounds. All
    times are the database's. While a worker merges the round's updates, `claim` names that
    worker's turn and `claimed_until` is when the turn may be taken over. `phase` stays when a
    training ends in an error: that is where it can be resumed.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.OneToOneField(
        "fl_server_core.Model", on_delete=models.CASCADE, related_name="training"
    )
    actor = models.ForeignKey(User, on_delete=models.CASCADE, related_name="actor_trainings")
    participants = models.ManyToManyField(User, blank=True, related_name="trainings")

    state = models.CharField(max_length=1, choices=TrainingState, default=TrainingState.INITIAL)
    state_reason = models.TextField(blank=True, help_text="Why it ended, if not at its target.")
    reason_code = models.CharField(max_length=15, choices=ReasonCode, blank=True, default="")
    phase = models.CharField(max_length=32, default=PhaseName.NONE, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    target_num_updates = models.PositiveIntegerField(validators=[MinValueValidator(1)])

    aggregation_method = models.CharField(
        max_length=32, help_text="One of the aggregation strategies."
    )
    uncertainty_method = models.CharField(
        max_length=32, default=UncertaintyMethod.NONE, help_text="One of the uncertainty methods."
    )
    metric_names = models.JSONField(default=list, blank=True)
    options = models.JSONField(default=dict, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)
    last_update = models.DateTimeField(default=timezone.now)

    phase_since = models.DateTimeField(
        null=True, blank=True, help_text="When the present phase's answers were asked for."
    )
    deadline = models.DateTimeField(null=True, blank=True, help_text="When that phase closes.")
    sample_target = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How many answers close it; null: everybody's who is asked.",
    )
    retries = models.PositiveIntegerField(
        default=0, help_text="How often that phase was begun anew for want of answers."
    )

    check_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is checked at the latest; null: now."
    )
    claim = models.UUIDField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    claims = models.PositiveSmallIntegerField(
        default=0, help_text="How often this round's merge was begun."
    )

    objects = TrainingQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [
            models.Index(
                fields=["check_at"], condition=Q(state__in=["O", "S"]), name="training_due"
            )
        ]

    def __str__(self) -> str:
        return f"training {self.id}"

    @property
    def round(self) -> int:
        """The number of the round that is waited for: the model's."""
        return self.model.round

    @property
    def typed_options(self) -> TrainingOptions:
        """What the options say to the server."""
        return TrainingOptions.read(self.options)

    @property
    def is_running(self) -> bool:
        """Whether the training waits for its participants."""
        return self.state in (TrainingState.ONGOING, TrainingState.SWAG_ROUND)

    @property
    def has_moved_on(self) -> bool:
        """Whether it waits for something else by now than when this row was read."""
        return not _step(self.pk, self.phase, self.attempt, self.round)

    @property
    def locked(self) -> bool:
        """Whether a merge is under way."""
        return self.claimed_until is not None and self.claimed_until > timezone.now()

    def is_managed_by(self, user: User) -> bool:
        """Tell whether the user may change who takes part, and start it."""
        by_actor = self.typed_options.managed_by == Manager.ACTOR
        return self.actor_id == user.pk or (not by_actor and self.is_participant(user))

    def is_participant(self, user: User) -> bool:
        """Tell whether the user takes part."""
        return bool(_membership(self.pk, user.pk))

    @property
    def memberships(self) -> models.QuerySet[Any]:
        """The rows (training, user) of who takes part; asking these alone joins no users."""
        return Training.participants.through.objects.filter(training=self)


@compiled
def _membership(training: uuid.UUID, user: uuid.UUID) -> models.QuerySet[Any]:
    return Training(pk=training).memberships.filter(user=user).values_list("pk")


@compiled
def _step(training: uuid.UUID, phase: str, attempt: int, round: int) -> models.QuerySet[Any]:
    rows = Training.objects.filter(pk=training, phase=phase, attempt=attempt, model__round=round)
    return rows.order_by().values_list("pk")
