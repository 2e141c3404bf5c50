"""The record of a training: which updates made which version, and who was asked in vain."""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import models
from django.db.models import Max, Prefetch

from fl_server_ai.trainer.phases import PHASES, phase_of
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Checkpoint, LocalModel, Notification, Training, User
from fl_server_core.models.notification import NotificationState, NotificationType
from fl_server_core.models.training import TrainingState

MAX_ROWS = 50_000
"""Versions, updates and calls in one record, which is made in memory."""

TOO_LONG = (
    f"The record would be of more than {MAX_ROWS} updates and calls: ask for fewer rounds by "
    "first_round and last_round."
)

OF_UPDATES = ("merged_into", "owner", "round", "attempt", "sample_size", "sha256", "size")
OF_CALLS = (
    "training",
    "type",
    "receiver",
    "round",
    "attempt",
    "sequence",
    "state",
    "failed_at",
    "error",
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


@dataclass(frozen=True)
class Missing:
    """Somebody who was asked and has not answered."""

    user: User
    because: Silence


@dataclass(frozen=True)
class Asked:
    """One call of a round and attempt: how many got it, and who of them has not answered."""

    type: str
    round: int
    attempt: int
    asked: int
    missing: Sequence[Missing]


@dataclass(frozen=True)
class Record:
    """What is known of some rounds of a training, or of all."""

    training: Training
    participants: Sequence[User]
    started_at: datetime | None
    ended_at: datetime | None
    rounds: dict[str, int | None]
    versions: Sequence[Checkpoint]
    calls: Sequence[Asked]


@dataclass
class RecordReader:
    """Reads the record of a training from round `first` to `last`, None being the newest."""

    training: Training
    first: int = 0
    last: int | None = None
    room: int = field(default=MAX_ROWS, init=False)

    def read(self) -> Record:
        """Return the record, read anew if the training has moved on meanwhile.

        Raises InvalidRequest where it would have to read more than MAX_ROWS.
        """
        training = self.training
        record = Record(
            training=training,
            participants=list(training.participants.order_by("username")),
            started_at=self._started_at(),
            ended_at=self._ended_at(),
            rounds={"first": self.first, "last": self.last},
            versions=self._versions(),
            calls=self._calls(),
        )
        if training.has_moved_on:
            moved = Training.objects.select_related("model").get(pk=training.pk)
            return RecordReader(moved, self.first, self.last).read()
        return record

    def _started_at(self) -> datetime | None:
        uploaded = self.training.model.checkpoints.first()  # noted as the training starts
        return uploaded.created_at if uploaded else None

    def _ended_at(self) -> datetime | None:
        if self.training.state == TrainingState.ERROR:
            return self.training.last_update
        if self.training.state != TrainingState.COMPLETED:
            return None
        told = self.training.notifications.filter(type=NotificationType.TRAINING_FINISHED)
        last = told.order_by("-sequence").first()
        return last.created_at if last else None

    def _versions(self) -> Sequence[Checkpoint]:
        versions = self.training.model.checkpoints.filter(**self._within("round"))
        updates = LocalModel.objects.filter(merged_into__in=versions)
        self._take(versions.count() + updates.count())
        owned = LocalModel.objects.only(*OF_UPDATES).prefetch_related("owner")
        return list(versions.prefetch_related(Prefetch("updates", owned)))

    def _calls(self) -> list[Asked]:
        calls = self.training.notifications.requests().filter(**self._within("round"))
        self._take(calls.count())
        answers, removals, asked = self._answers(), self._removals(), defaultdict(list)
        rows = calls.only(*OF_CALLS).order_by("sequence", "receiver_id")
        for row in rows.prefetch_related("receiver"):
            asked[row.type, row.round, row.attempt].append(row)
        return [
            Asked(*call, asked=len(rows), missing=self._missing(rows, answers[call], removals))
            for call, rows in asked.items()
        ]

    def _answers(self) -> dict[Call, set[UUID]]:
        """Return who has answered each call, also late."""
        answers: dict[Call, set[UUID]] = defaultdict(set)
        for phase in (kind(self.training) for kind in PHASES.values()):
            given = phase.given_ever().filter(**self._within(phase.numbered_by)).order_by()
            fields = (phase.numbered_by, "attempt", phase.answered_by)
            for number, attempt, user in given.values_list(*fields).distinct():
                answers[phase.request, number, attempt].add(user)
        return answers

    def _removals(self) -> dict[UUID, int]:
        """Return by user which of the training's messages was the last to say that it is out."""
        told = self.training.notifications.filter(type=NotificationType.CLIENT_REMOVED).order_by()
        return dict(told.values_list("receiver").annotate(Max("sequence")))

    def _missing(
        self, calls: Iterable[Notification], answers: Container[UUID], removals: dict[UUID, int]
    ) -> list[Missing]:
        return [
            Missing(call.receiver, self._because(call, removals))
            for call in calls
            if call.state == NotificationState.MISSED or call.receiver_id not in answers
        ]

    def _because(self, call: Notification, removals: dict[UUID, int]) -> Silence:
        if call.state == NotificationState.MISSED:
            return Silence.MISSED
        if call.state in (NotificationState.PENDING, NotificationState.DELIVERED):
            return Silence.AWAITED if self._is_awaited(call) else Silence.UNANSWERED
        if call.failed_at:  # a refusal may have removed the participant as well
            return Silence.REFUSED if call.failure == "refused" else Silence.LOST
        removed = removals.get(call.receiver_id, -1) > call.sequence
        return Silence.REMOVED if removed else Silence.WITHDRAWN

    def _is_awaited(self, call: Notification) -> bool:
        training = self.training
        present = (phase_of(training).request, training.round, training.attempt)
        return training.is_running and (call.type, call.round, call.attempt) == present

    def _within(self, number: str) -> dict[str, int]:
        upper = {} if self.last is None else {f"{number}__lte": self.last}
        return {f"{number}__gte": self.first, **upper}

    def _take(self, rows: int) -> None:
        self.room -= rows
        if self.room < 0:
            raise InvalidRequest(TOO_LONG)
