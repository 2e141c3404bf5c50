"""Trainings under way: the one place where their state, phase and round change."""

import logging
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now
from django.utils import timezone

from fl_server_ai import hints, notifier
from fl_server_ai.answers import (
    check_moments,
    check_update,
    find_update,
    keep_moments,
    not_in_round,
)
from fl_server_ai.plans import plan_of
from fl_server_ai.turnout import (
    REQUESTS,
    asks_now,
    round_moments,
    round_requests,
    round_updates,
    turnout,
)
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.files import StoredFile
from fl_server_core.models import Model, Moments, Notification, Training, User
from fl_server_core.models.metric import MetricValue, record_metrics
from fl_server_core.models.model import close_rounds
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import Phase, TrainingState

logger = logging.getLogger(__name__)


class ClaimLost(Exception):
    """Another worker has taken the merge over, or the training is gone."""


@dataclass(frozen=True)
class MergeClaim:
    """A worker's turn at merging one phase's answers, which are of one kind or the other."""

    training: Training
    token: uuid.UUID
    updates: Sequence[Model]
    moments: Sequence[Moments]

    def renew(self) -> None:
        """Keep the turn for another lease; raise ClaimLost when it is no longer ours."""
        mine = Training.objects.filter(pk=self.training.pk, claim=self.token)
        if not mine.update(claimed_until=_lease_end()):
            raise ClaimLost


class ModelTrainer:
    """Moves one training on, inside a transaction that holds its row's lock.

    | method         | from             | to                | owes               |
    | -------------- | ---------------- | ----------------- | ------------------ |
    | start          | INITIAL          | ONGOING, update   | TRAINING_START     |
    | next_round     | ONGOING          | ONGOING, update   | UPDATE_ROUND_START |
    | permute        | ONGOING, update  | ONGOING, update   | UPDATE_ROUND_START |
    | claim_merge    | update or swag   | the same, locked  |                    |
    | complete_merge | ONGOING, update  | SWAG_ROUND, swag  | SWAG_ROUND_START   |
    |                |                  | or ONGOING, test  | MODEL_TEST_ROUND   |
    | complete_swag  | SWAG_ROUND, swag | ONGOING, test     | MODEL_TEST_ROUND   |
    | finish         | ONGOING          | COMPLETED         | TRAINING_FINISHED  |
    | fail           | any running      | ERROR             |                    |

    A phase ends by `judge`, a query over who was asked and who has answered. It may be
    asked at any time and any number of times.
    """

    def __init__(self, training: Training) -> None:
        self.training = training

    @classmethod
    @contextmanager
    def locked(cls, training_id: uuid.UUID | str) -> Iterator[Self]:
        """Begin a transaction on this training; raise Training.DoesNotExist if it is gone.

        The lock is for two last answers at once: without it each would see the other's
        row as missing, and neither would end the phase. No other row may come along in the
        query: PostgreSQL would return it as it was before the wait for the lock.
        """
        with transaction.atomic():
            yield cls(Training.objects.select_for_update().get(pk=training_id))

    # --- What participants and actors do -------------------------------------------

    def start(self) -> None:
        """Open the first round."""
        training = self.training
        participants = list(training.participants.all())
        if not participants:
            raise InvalidRequest("At least one participant must be registered!")
        if training.state != TrainingState.INITIAL:
            raise InvalidRequest(f"Training {training.pk} is not in state INITIAL!")
        training.state = TrainingState.ONGOING
        notifier.owe(training, NotificationType.TRAINING_START, participants)
        self.next_round()

    def receive_update(
        self,
        *,
        owner: User,
        round: int,
        sample_size: int,
        file: StoredFile,
        metrics: Iterable[tuple[str, MetricValue]] = (),
    ) -> Model:
        """Keep a participant's update for this round, in place of an earlier one.

        An update that comes while the model is still being tested counts when the round
        opens. Once the merge has begun nothing can be replaced.
        """
        training = self.training
        check_update(training, owner, round)
        update = find_update(training, owner)
        if training.claim:
            if update.sha256 == file.sha256:
                return update
            raise not_in_round(training, round)
        update.file, update.sha256, update.size = file.name, file.sha256, file.size
        update.sample_size = sample_size
        update.save()
        update.metrics.all().delete()
        logger.info("training %s round %s: update of user %s", training.pk, round, owner.pk)
        self.receive_metrics(model=update, reporter=owner, metrics=metrics)
        return update

    def receive_moments(
        self, *, owner: User, round: int, sample_size: int, first: StoredFile, second: StoredFile
    ) -> None:
        """Keep a participant's SWAG moments, in place of earlier ones, until they are merged."""
        check_moments(self.training, owner, round)
        if self.training.claim:
            raise not_in_round(self.training, round)
        keep_moments(self.training, owner, sample_size=sample_size, first=first, second=second)
        self._touch()
        self.judge()

    def receive_metrics(
        self, *, model: Model, reporter: User, metrics: Iterable[tuple[str, MetricValue]]
    ) -> None:
        """Keep metrics on the global model, or on an update to it."""
        if model.pk == self.training.model_id:
            model = self.training.model  # its round as it is under the lock
        record_metrics(
            model=model, reporter=reporter, metrics=metrics, attempt=self.training.attempt
        )
        self._touch()
        self.judge()

    def add_participants(self, users: Iterable[User]) -> None:
        """Let users take part; in a running training from its next round on."""
        present = set(self.training.participants.values_list("pk", flat=True))
        new = [user for user in users if user.pk not in present]
        self.training.participants.add(*new)
        if self.training.is_running:
            notifier.owe(self.training, NotificationType.TRAINING_START, new)

    def remove_participants(self, users: Iterable[User]) -> None:
        """Take users out and judge the round without them."""
        gone = list(self.training.participants.filter(pk__in=[user.pk for user in users]))
        self.training.participants.remove(*gone)
        owed = self.training.notifications.filter(receiver__in=gone, withdrawn_at=None)
        owed.update(withdrawn_at=Now())
        if self.training.state != TrainingState.INITIAL:
            notifier.owe(self.training, NotificationType.CLIENT_REMOVED, gone)
        self.judge()

    def give_up_on(self, notification: Notification, error: str, *, refused: bool) -> None:
        """Settle a message that its receiver refused or that can't be delivered.

        A refused call to the present round removes the participant; an undeliverable one
        loses it for this round; no other message's fate has an effect.
        """
        if not notifier.mark_failed(notification, error):
            return
        logger.warning("notification %s given up: %s", notification.pk, error)
        if refused and asks_now(self.training, notification):
            self.remove_participants([notification.receiver])
        self.judge()

    def ask_again(self) -> int:
        """Owe the present call anew to those who haven't answered it; return to how many."""
        count = turnout(self.training)
        silent = count.asked - count.answered
        requests = round_requests(self.training).filter(receiver__in=silent)
        asked = notifier.owe_again(requests)
        hints.on_commit("dispatch", str(self.training.pk))
        return asked

    # --- Rounds --------------------------------------------------------------------

    def judge(self) -> None:
        """End the phase if what it waits for is there, or can't come any more."""
        if not self.training.is_running or self.training.locked:
            return
        count = turnout(self.training)
        if not count.left:
            self.fail("No participant is left.")
        elif len(count.left) < len(count.asked):
            self.fail(
                f"Round {self.training.round}: only {len(count.left)} of {len(count.asked)} "
                "participants could be reached."
            )
        elif count.is_complete:
            self._end_phase()

    def _end_phase(self) -> None:
        training = self.training
        if training.phase == Phase.TEST:
            self.next_round()
        elif training.phase == Phase.SWAG or plan_of(training).merges_after(training.round):
            hints.on_commit("merge_round", str(training.pk), training.round, training.attempt)
        else:
            self.permute()

    def next_round(self) -> None:
        """Ask every participant for an update of the present model, unless it is the last."""
        if self.training.round >= self.training.target_num_updates:
            self.finish()
        else:
            self._open(Phase.UPDATE)

    def permute(self) -> None:
        """Let the participants go on training each other's models, dealt out at random.

        The messages that hand them out are the record of who got whose. With more
        participants than updates the rest goes on from the global model.
        """
        training = self.training
        updates = list(round_updates(training).values_list("pk", flat=True))
        random.SystemRandom().shuffle(updates)
        participants = list(training.participants.all())
        handed_out = {user.pk: pk for user, pk in zip(participants, updates, strict=False)}
        training.model.round += 1
        training.model.save(update_fields=["round"])
        close_rounds(training.model, before=training.round - 1, keep=settings.FL_KEEP_UPDATE_ROUNDS)
        self._open(Phase.UPDATE, handed_out)

    def claim_merge(self, round: int, attempt: int) -> MergeClaim | None:
        """Take the turn at merging this round; None when that isn't due or somebody's."""
        training = self.training
        if (training.round, training.attempt) != (round, attempt) or not self._is_mergeable():
            return None
        if training.claims >= settings.FL_MERGE_ATTEMPTS:
            self.fail(f"Round {round}: the merge was begun {training.claims} times in vain.")
            return None
        token = uuid.uuid4()
        free = Q(claimed_until=None) | Q(claimed_until__lte=Now())
        won = Training.objects.filter(free, pk=training.pk).update(
            claim=token, claimed_until=_lease_end(), claims=F("claims") + 1
        )
        if not won:
            return None
        is_swag = training.phase == Phase.SWAG
        return MergeClaim(
            training,
            token,
            updates=[] if is_swag else list(round_updates(training)),
            moments=list(round_moments(training)) if is_swag else [],
        )

    def _is_mergeable(self) -> bool:
        training = self.training
        merges = training.phase == Phase.SWAG or (
            training.phase == Phase.UPDATE and plan_of(training).merges_after(training.round)
        )
        return merges and turnout(training).is_complete

    def complete_merge(self, token: uuid.UUID, merged: StoredFile) -> None:
        """Make the merged file the model of the next round.

        Raises ClaimLost when the turn is no longer this worker's: its file is dropped.
        """
        self._end_claim(token, Phase.UPDATE)
        training, model, plan = self.training, self.training.model, plan_of(self.training)
        model.file, model.sha256, model.size = merged.name, merged.sha256, merged.size
        model.round += 1
        model.save(update_fields=["file", "sha256", "size", "round"])
        kept = max(settings.FL_KEEP_UPDATE_ROUNDS, plan.serves_updates)
        close_rounds(model, before=model.round, keep=kept)
        logger.info("training %s: the model is now at round %s", training.pk, model.round)
        self._open(plan.after_merge)

    def complete_swag(self, token: uuid.UUID, first: StoredFile, second: StoredFile) -> None:
        """Give the model its moments. Raises ClaimLost as `complete_merge` does."""
        self._end_claim(token, Phase.SWAG)
        model = self.training.model
        model.swag_first_moment, model.swag_second_moment = first.name, second.name
        model.save(update_fields=["swag_first_moment", "swag_second_moment"])
        round_moments(self.training).update(first="", second="")
        self._open(Phase.TEST)

    def _end_claim(self, token: uuid.UUID, phase: Phase) -> None:
        training = self.training
        if training.claim != token or training.phase != phase:
            raise ClaimLost
        training.claim, training.claimed_until, training.claims = None, None, 0

    def finish(self) -> None:
        """End the training, its target reached."""
        self._end(TrainingState.COMPLETED)
        receivers = {user.pk: user for user in self.training.participants.all()}
        receivers[self.training.actor.pk] = self.training.actor
        notifier.owe(self.training, NotificationType.TRAINING_FINISHED, receivers.values())

    def fail(self, reason: str) -> None:
        """End the training with a reason that its actor is shown."""
        logger.error("training %s failed: %r", self.training.pk, reason)
        self.training.state_reason = reason
        self._end(TrainingState.ERROR)
        requests = self.training.notifications.filter(type__in=REQUESTS.values())
        requests.filter(delivered_at=None, failed_at=None).update(withdrawn_at=Now())

    def _open(self, phase: Phase, models: Mapping[uuid.UUID, uuid.UUID] | None = None) -> None:
        training = self.training
        training.phase = phase
        is_swag = phase == Phase.SWAG
        training.state = TrainingState.SWAG_ROUND if is_swag else TrainingState.ONGOING
        self._save()
        notifier.owe(training, REQUESTS[phase], training.participants.all(), models)
        self.judge()

    def _end(self, state: TrainingState) -> None:
        self.training.state = state
        self.training.phase = Phase.NONE
        self.training.claim = self.training.claimed_until = None
        self._save()

    def _save(self) -> None:
        self.training.last_update = timezone.now()
        self.training.save()

    def _touch(self) -> None:
        self.training.last_update = timezone.now()
        self.training.save(update_fields=["last_update"])


def _lease_end() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.FL_MERGE_LEASE_SECONDS)
