"""Trainings under way: the one place where their state, phase and round change."""

import logging
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from fl_server_ai import enqueue
from fl_server_ai.trainer import calls, checkpoints, lease
from fl_server_ai.trainer.early_stop import reason_to_stop
from fl_server_ai.trainer.lease import MergeClaim
from fl_server_ai.trainer.phases import Phase, SwagPhase, TestPhase, UpdatePhase, phase_of
from fl_server_ai.trainer.plan import FIRST, plan_of
from fl_server_ai.trainer.quorum import Quorum
from fl_server_core import quotas
from fl_server_core.audit import record_act
from fl_server_core.compiled import compiled, first
from fl_server_core.exceptions import CannotStart, InvalidRequest
from fl_server_core.files import StoredFile, deleted_last, let_go
from fl_server_core.log_context import log_context, note
from fl_server_core.models import LocalModel, Model, Notification, Training, User
from fl_server_core.models.act import ActCode
from fl_server_core.models.metric import MetricValue, record_metrics
from fl_server_core.models.model import close_updates
from fl_server_core.models.notification import NotificationState, NotificationType
from fl_server_core.models.training import PhaseName, ReasonCode, TrainingState
from fl_server_core.trainings import check_willing, record_clients

logger = logging.getLogger(__name__)

ENQUEUED_LOST = timedelta(seconds=2)
"""After this a merge that nobody has begun is asked for again."""

MOVED = (
    "state",
    "reason_code",
    "state_reason",
    "phase",
    "attempt",
    "retries",
    "sample_target",
    "deadline",
    "claim",
    "claimed_until",
    "claims",
    "last_update",
)
"""What a transition may change on the training's row."""


class ModelTrainer:
    """Moves one training on, inside a transaction that holds its row's lock.

    | method         | from             | to                | sends              |
    | -------------- | ---------------- | ----------------- | ------------------ |
    | start          | INITIAL          | ONGOING, update   | TRAINING_START     |
    | next_round     | ONGOING          | ONGOING, update   | UPDATE_ROUND_START |
    | permute        | ONGOING, update  | ONGOING, update   | UPDATE_ROUND_START |
    | retry          | any running      | the same, anew    | what it asks for   |
    | claim_merge    | update or swag   | the same, locked  |                    |
    | complete_merge | ONGOING, update  | SWAG_ROUND, swag  | SWAG_ROUND_START   |
    |                |                  | or ONGOING, test  | MODEL_TEST_ROUND   |
    | complete_swag  | SWAG_ROUND, swag | ONGOING, test     | MODEL_TEST_ROUND   |
    | finish         | ONGOING          | COMPLETED         | TRAINING_FINISHED  |
    | fail, stop     | any running      | ERROR             |                    |
    | resume         | ERROR            | what it was       | what it asks for   |
    | roll_back      | any but INITIAL  | ONGOING, update   | UPDATE_ROUND_START |

    Whatever may have changed what a phase waits for (an answer, a removal, a loss, a deadline) ends
    in `advance`, which counts from the rows who was asked and who has answered, and moves the
    training as far as it can go. It may be called at any time and any number of times. An answer
    needs that only if it may be the last.
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
        with log_context(training=training_id), transaction.atomic(), deleted_last():
            training = first(_locked(uuid.UUID(str(training_id))))
            if training is None:
                raise Training.DoesNotExist(f"There is no training {training_id}.")
            training.model = _model(training.model_id)[0]
            yield cls(training)

    @property
    def phase(self) -> Phase:
        """The phase that the training is in."""
        return phase_of(self.training)

    # --- What comes in ----------------------------------------------------------------

    def receive_update(
        self,
        *,
        owner: User,
        round: int,
        sample_size: int,
        file: StoredFile,
        base: str = "",
        metrics: Iterable[tuple[str, MetricValue]] = (),
    ) -> Model | None:
        """Keep a participant's update for this round, in place of an earlier one.

        An update that comes while the model is still being tested counts when the round
        opens. None is returned for one that comes too late to count. `base` is the version that
        it was made from, where that is known.
        """
        note(round=round)
        phase = UpdatePhase(self.training)
        phase.check(owner, round, base)
        may_be_last = self._may_be_last(owner)
        update = phase.keep(
            owner, round, sample_size=sample_size, file=file, may_be_last=may_be_last
        )
        if update is None:
            return None
        logger.info("training %s round %s: update of user %s", self.training.pk, round, owner.pk)
        self._record(update, owner, metrics)
        self._heed_answer(may_be_last=may_be_last)
        return update

    def receive_moments(
        self, *, owner: User, round: int, sample_size: int, first: StoredFile, second: StoredFile
    ) -> None:
        """Keep a participant's SWAG moments, in place of earlier ones, until they are merged."""
        note(round=round)
        phase = SwagPhase(self.training)
        phase.check(owner, round)
        phase.keep(owner, sample_size=sample_size, first=first, second=second)
        self._heed_answer(may_be_last=self._may_be_last(owner))

    def receive_metrics(
        self, *, model: Model, reporter: User, metrics: Iterable[tuple[str, MetricValue]]
    ) -> None:
        """Keep metrics on the global model, or on an update to it."""
        if model.pk == self.training.model_id:
            model = self.training.model  # its round as it is under the lock
            TestPhase(self.training).check_report(reporter)
        self._record(model, reporter, metrics)
        self._heed_answer(may_be_last=self._may_be_last(reporter))

    def _record(
        self, model: Model, reporter: User, metrics: Iterable[tuple[str, MetricValue]]
    ) -> None:
        record_metrics(
            model=model, reporter=reporter, metrics=metrics, attempt=self.training.attempt
        )

    def add_participants(self, users: Iterable[User]) -> None:
        """Let users take part; once the training has begun, from its next round on."""
        present = set(self.training.participants.values_list("pk", flat=True))
        new = [user for user in users if user.pk not in present]
        check_willing(new, self.training.actor)
        self.training.participants.add(*new)
        record_clients(ActCode.CLIENT_ADDED, self.training, new)
        if self.training.state not in (TrainingState.INITIAL, TrainingState.COMPLETED):
            calls.notify(self.training, NotificationType.TRAINING_START, new)

    def remove_participants(self, users: Iterable[User]) -> None:
        """Take users out and see how the round stands without them."""
        gone = list(self.training.participants.filter(pk__in=[user.pk for user in users]))
        self.training.participants.remove(*gone)
        record_clients(ActCode.CLIENT_REMOVED, self.training, gone)
        self.training.notifications.filter(receiver__in=gone).withdraw()
        if self.training.state != TrainingState.INITIAL:
            calls.notify(self.training, NotificationType.CLIENT_REMOVED, gone)
        self.advance()

    def give_up_on(self, notification: Notification, error: str, *, refused: bool) -> None:
        """Settle a message that its receiver refused or that can't be delivered.

        A refused call to the present round removes the participant where the phase says so;
        otherwise that, like an undeliverable one, loses it for this phase; no other message's
        fate has an effect.
        """
        if not Notification.objects.filter(pk=notification.pk).fail(error):
            return
        logger.warning(
            "training %s round %s: user %s %s %s: %s",
            notification.training_id,
            notification.round,
            notification.receiver_id,
            "refused" if refused else "wasn't reached by",
            notification.type,
            error,
        )
        self._note(
            ActCode.CLIENT_LOST,
            user=str(notification.receiver_id),
            message=notification.type,
            refused=refused,
        )
        phase = self.phase
        removes = refused and phase.refusal_removes and self.training.is_running
        if removes and phase.asks_by(notification):
            self.remove_participants([notification.receiver])
        self.advance()

    # --- How it goes on ---------------------------------------------------------------

    def _may_be_last(self, user: User) -> bool:
        """Tell whether this user's answer may be the last that the phase waits for."""
        return self.training.is_running and not self.phase.waits_for_others(user)

    def _heed_answer(self, *, may_be_last: bool) -> None:
        self.training.last_update = timezone.now()
        self.training.save(update_fields=["last_update"])
        if may_be_last:
            self.advance()

    def advance(self) -> None:
        """Move the training as far as it can go."""
        training, phase = self.training, self.phase
        if not training.is_running or training.locked:
            return
        quorum = phase.quorum()
        if quorum.is_hopeless and self._reopen(phase):
            quorum = phase.quorum()
        if quorum.is_complete:
            phase.requests().filter(receiver__in=quorum.awaited).miss()
        if phase.merges(quorum):
            self._send_to_merge()
        elif quorum.is_complete:
            self._end_phase(phase)
        elif quorum.is_hopeless:
            self._miss_quorum(quorum)

    def _reopen(self, phase: Phase) -> bool:
        """Wait again for those without whom the round had closed, before a removal."""
        shut_out = phase.requests().filter(state=NotificationState.MISSED)
        return calls.call_again(self.training, shut_out) > 0

    def _send_to_merge(self) -> None:
        training = self.training
        Training.objects.filter(pk=training.pk).update(check_at=Now() + ENQUEUED_LOST)
        enqueue.on_commit("merge_round", str(training.pk), training.round, training.attempt)

    def _end_phase(self, phase: Phase) -> None:
        """Go on from a phase whose answers need no merge."""
        if phase.permutes:
            self.permute()
        elif phase.follows:
            self._open(phase.follows)
        else:
            self._end_round()

    def _end_round(self) -> None:
        checkpoints.keep_means(self.training)
        checkpoints.drop_checkpoints(self.training)
        reason = reason_to_stop(self.training)
        if reason:
            self._say(ReasonCode.STOPPED_EARLY, reason)
            self.finish()
        else:
            self.next_round()

    def _miss_quorum(self, quorum: Quorum) -> None:
        training = self.training
        if not training.participants.exists():
            self.fail(ReasonCode.NO_PARTICIPANTS, "No participant is left.", with_whom=True)
        elif not quorum.asked or training.retries < training.typed_options.round.retries:
            self.retry()
        else:
            reason = f"Round {training.round}: {quorum.shortfall}"
            self.fail(ReasonCode.QUORUM_MISSED, reason, with_whom=True)

    def next_round(self) -> None:
        """Ask for updates of the present model, unless it is the last."""
        if self.training.round >= self.training.target_num_updates:
            self.finish()
        else:
            self._open(FIRST)

    def permute(self) -> None:
        """Let the participants go on training each other's models."""
        training, phase = self.training, UpdatePhase(self.training)
        follows = phase.follows
        present = LocalModel.objects.filter(base_model=training.model_id, round=training.round)
        close_updates(present.exclude(pk__in=phase.counted().values("pk")))
        self._close_rounds(before=training.round)
        training.model.round += 1
        training.model.save(update_fields=["round"])
        self._open(follows)

    def retry(self) -> None:
        """Ask for what the present phase waits for once more."""
        training = self.training
        training.retries += 1
        logger.warning("training %s round %s: once more", training.pk, training.round)
        self._note(ActCode.ROUND_REPEATED, phase=training.phase)
        self._ask_anew()

    # --- The merge --------------------------------------------------------------------

    def claim_merge(self, round: int, attempt: int) -> MergeClaim | None:
        """Take the turn at merging this round; None when that isn't due or somebody's."""
        training, phase = self.training, self.phase
        if (training.round, training.attempt) != (round, attempt) or not training.is_running:
            return None
        quorum = phase.quorum()
        if not phase.merges(quorum):
            return None
        if training.claims >= settings.FL_MERGE_ATTEMPTS:
            self.fail(
                ReasonCode.MERGE_ATTEMPTS,
                f"Round {round}: the merge was begun {training.claims} times in vain.",
            )
            return None
        return lease.take_turn(training, phase.to_merge(quorum))

    def complete_merge(
        self, claim: MergeClaim, merged: StoredFile, state: StoredFile | None = None
    ) -> None:
        """Make the merged file the model of the next round, and keep its strategy's state with it.

        Raises ClaimLost when the turn is no longer this worker's: its files are dropped.
        """
        lease.end_turn(self.training, claim)
        training, model, follows = self.training, self.training.model, self.phase.follows
        self._note(ActCode.ROUND_MERGED, updates=len(claim.merge.updates))
        let_go([model.file.name, model.server_state.name])
        model.file, model.sha256, model.size = merged.name, merged.sha256, merged.size
        model.server_state = state.name if state else ""
        model.round += 1
        model.save(update_fields=["file", "sha256", "size", "server_state", "round"])
        checkpoints.keep_checkpoint(training, claim.merge.updates, state)
        self._close_rounds(before=model.round, keep=plan_of(training).serves_updates)
        logger.info("training %s: the model is now at round %s", training.pk, model.round)
        self._open(follows)

    def complete_swag(self, claim: MergeClaim, first: StoredFile, second: StoredFile) -> None:
        """Give the model its moments. Raises ClaimLost as `complete_merge` does."""
        lease.end_turn(self.training, claim)
        model, phase = self.training.model, SwagPhase(self.training)
        self._note(ActCode.MOMENTS_MERGED)
        let_go([model.swag_first_moment.name, model.swag_second_moment.name])
        model.swag_first_moment, model.swag_second_moment = first.name, second.name
        model.save(update_fields=["swag_first_moment", "swag_second_moment"])
        checkpoints.keep_moments(self.training)
        phase.drop()
        self._open(phase.follows)

    def fail_merge(self, claim: MergeClaim, error: str) -> None:
        """End the training: its answers can't be merged. Raises ClaimLost as the others do."""
        lease.end_turn(self.training, claim)
        self.fail(
            ReasonCode.UNMERGEABLE,
            f"What round {self.training.round} brought can't be merged: {error}",
        )

    # --- What its actor does, and how it ends -----------------------------------------

    def start(self) -> None:
        """Open the first round."""
        training = self.training
        participants = list(training.participants.all())
        if not participants:
            raise CannotStart("At least one participant must be registered!")
        if training.state != TrainingState.INITIAL:
            raise CannotStart(f"Training {training.pk} is not in state INITIAL!")
        quotas.check_running(training.actor)
        training.state = TrainingState.ONGOING
        self._note(ActCode.TRAINING_STARTED)
        checkpoints.keep_checkpoint(training)
        calls.notify(training, NotificationType.TRAINING_START, participants)
        self.next_round()

    def finish(self) -> None:
        """End the training, its target reached."""
        self.training.phase = PhaseName.NONE
        self._note(ActCode.TRAINING_COMPLETED, reason=self.training.reason_code)
        self._end(TrainingState.COMPLETED)
        receivers = {user.pk: user for user in self.training.participants.all()}
        receivers[self.training.actor.pk] = self.training.actor
        calls.notify(self.training, NotificationType.TRAINING_FINISHED, receivers.values())

    def fail(self, code: ReasonCode, reason: str, *, with_whom: bool = False) -> None:
        """End the training with a reason that its actor is shown; `with_whom` its round failed."""
        if with_whom:
            reason += calls.describe_failures(self.training)
        logger.error("training %s failed: %r", self.training.pk, reason)
        stopped = code == ReasonCode.STOPPED
        act = ActCode.TRAINING_STOPPED if stopped else ActCode.TRAINING_FAILED
        self._note(act, reason=code.value)
        self._say(code, reason)
        self._end(TrainingState.ERROR)
        calls.withdraw(self.training)

    def stop(self, *, by: User | None = None) -> None:
        """End the training because its actor or an operator wants that; a merge is dropped."""
        self._check_running()
        who = "its actor" if by is None or by.pk == self.training.actor_id else "an operator"
        self.fail(ReasonCode.STOPPED, f"Stopped by {who}.")

    def resume(self) -> None:
        """Go on where an error ended the training.

        The answers that are there still count, unless too few are left of those who were asked:
        then everybody is, also who has come meanwhile.
        """
        training = self.training
        if training.state != TrainingState.ERROR:
            raise InvalidRequest(f"Training {training.pk} is not in state ERROR!")
        quotas.check_running(training.actor)
        self._note(ActCode.TRAINING_RESUMED)
        self._say(ReasonCode.NONE, "")
        training.retries = training.claims = 0
        training.phase = training.phase or FIRST
        calls.revive(self.phase)
        self._begin_phase()
        self._ask_silent()
        if self.phase.quorum().is_hopeless:
            self._ask_anew()
        else:
            self.advance()

    def roll_back(self, checkpoint_id: uuid.UUID) -> None:
        """Go back to a version of the model and on from there, under a new attempt."""
        training = self.training
        checkpoint = training.model.checkpoints.stored().filter(pk=checkpoint_id).first()
        if training.state == TrainingState.INITIAL:
            raise InvalidRequest(f"Training {training.pk} is in state {training.state}")
        if checkpoint is None:
            raise InvalidRequest(f"Checkpoint {checkpoint_id} is none of this training's.")
        if not training.is_running:
            quotas.check_running(training.actor)
        self._note(ActCode.TRAINING_ROLLED_BACK, to_round=checkpoint.round)
        checkpoints.restore(checkpoint, training.model)
        close_updates(LocalModel.objects.filter(base_model=training.model_id))
        self._say(ReasonCode.NONE, "")
        self._begin_attempt()
        calls.welcome(training)
        self.next_round()

    def ask_again(self) -> int:
        """Send the present call again to those who haven't answered it; return to how many."""
        self._check_running()
        asked = self._ask_silent()
        self._note(ActCode.TRAINING_ASKED_AGAIN, asked=asked)
        return asked

    # --- Steps that several of these share --------------------------------------------

    def _note(self, code: ActCode, **details: Any) -> None:
        """Have the audit log tell of a transition from this round."""
        record_act(code, self.training, round=self.training.round, **details)

    def _ask_silent(self) -> int:
        phase = self.phase
        quorum = phase.quorum()
        silent = phase.requests().filter(receiver__in=quorum.asked - quorum.answered)
        return calls.call_again(self.training, silent)

    def _check_running(self) -> None:
        if not self.training.is_running:
            raise InvalidRequest(f"Training {self.training.pk} is not running!")

    def _open(self, phase: str | None) -> None:
        self.training.phase = phase or PhaseName.NONE
        self.training.retries = 0
        self._ask()

    def _ask(self) -> None:
        phase = self.phase
        asked = phase.choose()
        self._begin_phase()
        calls.notify(self.training, phase.request, asked, phase.hand_out(asked))
        self.advance()

    def _ask_anew(self) -> None:
        """Ask all who take part now, under a new attempt; no answer so far counts.

        Updates that came early for the round to be opened after this phase still do.
        """
        self._begin_attempt()
        self.phase.begin_anew()
        self._ask()

    def _begin_phase(self) -> None:
        """Let the phase's time begin, by the database's clock."""
        training, limit = self.training, self.training.typed_options.round.deadline
        training.state = self.phase.state
        self._save()
        row = Training.objects.filter(pk=training.pk)
        row.update(phase_since=Now(), deadline=Now() + limit if limit else None)
        row.postpone()
        training.refresh_from_db(fields=["phase_since", "deadline", "check_at"])

    def _begin_attempt(self) -> None:
        calls.withdraw(self.training)
        self.training.attempt += 1
        lease.drop_turn(self.training)

    def _close_rounds(self, *, before: int, keep: int = 0) -> None:
        over = LocalModel.objects.filter(base_model=self.training.model_id, round__lt=before)
        close_updates(over, keep_from=before - max(settings.FL_KEEP_UPDATE_ROUNDS, keep))

    def _say(self, code: ReasonCode, reason: str) -> None:
        self.training.reason_code, self.training.state_reason = code, reason

    def _end(self, state: TrainingState) -> None:
        self.training.state = state
        self.training.deadline = None
        lease.drop_turn(self.training)
        self._save()

    def _save(self) -> None:
        self.training.last_update = timezone.now()
        self.training.save(update_fields=MOVED)


@compiled
def _locked(training: uuid.UUID) -> QuerySet[Training]:
    return Training.objects.select_for_update().filter(pk=training).order_by()


@compiled
def _model(model: uuid.UUID) -> QuerySet[Model]:
    return Model.objects.filter(pk=model).order_by()
