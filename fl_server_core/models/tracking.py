"""How much of each training an experiment tracker has been told."""

from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from fl_server_core.models.training import Training, TrainingState


class TrackingQuerySet(models.QuerySet["Tracking"]):
    """Which trainings are to be told about, and whose turn that is."""

    def claim(self, lease: timedelta) -> int:
        """Begin to tell; nobody else does until the lease is over."""
        return self.filter(due_at__lte=Now()).update(due_at=Now() + lease)


class Tracking(models.Model):
    """One training at the tracker: its run there, and up to where that has been told.

    `attempt` and `round` are of the last version that needs no telling any more: a training's
    versions come in the order of both. `seen` is the training's `last_update` when the last
    telling began, so that whatever has come since makes it due again, whoever's clock that was.
    """

    training = models.OneToOneField(Training, on_delete=models.CASCADE, related_name="tracking")
    run = models.CharField(max_length=255, blank=True, help_text="Its id at the tracker.")
    attempt = models.PositiveIntegerField(null=True, blank=True)
    round = models.PositiveIntegerField(null=True, blank=True)
    state = models.CharField(max_length=1, blank=True, help_text="The state that was told last.")
    seen = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(db_default=Now())
    failures = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    error = models.TextField(blank=True, help_text="Why it couldn't be told last time.")

    objects = TrackingQuerySet.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"tracking of training {self.training_id}"

    @classmethod
    def waiting(cls) -> models.QuerySet[Training]:
        """Return the trainings of which something is to be told now, the longest due first."""
        news = Q(tracking__seen=None) | ~Q(tracking__seen=F("last_update"))
        begun = Training.objects.exclude(state=TrainingState.INITIAL)
        due = Q(tracking=None) | Q(tracking__due_at__lte=Now())
        return begun.filter(news, due).order_by(F("tracking__due_at").asc(nulls_first=True), "pk")

    def note(self, **fields: Any) -> None:
        """Set fields here and in the row, which may be gone by now."""
        for name, value in fields.items():
            setattr(self, name, value)
        Tracking.objects.filter(pk=self.pk).update(**fields)

    def rest(self, pause: timedelta) -> None:
        """Note that all went well; what comes next is told after this pause."""
        self.note(failures=0, error="", due_at=Now() + pause)

    def put_off(self, pause: timedelta, error: str) -> None:
        """Note that it went wrong, and try again after a pause."""
        self.note(failures=min(self.failures + 1, 1000), error=error, due_at=Now() + pause)
