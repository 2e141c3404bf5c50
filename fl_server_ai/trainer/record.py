"""The record of a training: which updates made which version, and who was asked in vain."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from django.db.models import Prefetch

from fl_server_ai.trainer.silence import Call, Calls, Silence
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Checkpoint, LocalModel, Notification, Training, User
from fl_server_core.models.notification import NotificationType
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
        versions = self.training.model.checkpoints.filter(**self._within.within("round"))
        updates = LocalModel.objects.filter(merged_into__in=versions)
        self._take(versions.count() + updates.count())
        # Not prefetch_related, by which SQLite is asked for no more than a thousand users.
        owned = LocalModel.objects.only(*OF_UPDATES, "owner__username").select_related("owner")
        return list(versions.prefetch_related(Prefetch("updates", owned)))

    def _calls(self) -> list[Asked]:
        calls = self._within
        self._take(calls.rows().count())
        asked: dict[Call, list[Notification]] = defaultdict(list)
        rows = calls.rows().only(*OF_CALLS, "receiver__username").select_related("receiver")
        for row in rows.order_by("sequence", "receiver_id"):
            asked[row.type, row.round, row.attempt].append(row)
        return [
            Asked(*call, asked=len(rows), missing=self._missing(rows))
            for call, rows in asked.items()
        ]

    def _missing(self, rows: Iterable[Notification]) -> list[Missing]:
        silences = ((row.receiver, self._within.silence(row)) for row in rows)
        return [Missing(user, because) for user, because in silences if because]

    @cached_property
    def _within(self) -> Calls:
        return Calls(self.training, self.first, self.last)

    def _take(self, rows: int) -> None:
        self.room -= rows
        if self.room < 0:
            raise InvalidRequest(TOO_LONG)
