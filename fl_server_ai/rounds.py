"""Trainings under way: the one place where their state, phase and round change."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from fl_server_ai import claims, hints, history, notifier, sampling
from fl_server_ai.claims import ClaimLost, MergeClaim
from fl_server_ai.plans import deal_models, plan_of
from fl_server_ai.stopping import reason_to_stop
from fl_server_ai.turnout import (
    REQUESTS,
    Turnout,
    counted_updates,
    describe_failures,
    round_moments,
    round_requests,
    turnout,
)
from fl_server_core import quotas
from fl_server_core.exceptions import CannotStart, InvalidRequest
from fl_server_core.files import StoredFile, let_go, names_in
from fl_server_core.models import LocalModel, Training
from fl_server_core.models.model import close_updates
from fl_server_core.models.notification import (
    NotificationQuerySet,
    NotificationState,
    NotificationType,
)
from fl_server_core.models.training import Phase, ReasonCode, TrainingState
from fl_server_core.options import MomentsBy

logger = logging.getLogger(__name__)

HINT_LOST = timedelta(seconds=2)
"""After this a merge that nobody has begun is asked for again."""


class Rounds:
    """Moves one training on, inside a transaction that holds its row's lock.

    | method         | from             | to                | owes               |
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

    A phase ends by `judge`, a query over who was asked, who has answered, and the deadline.
    It may be asked at any time and any number of times.
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
        history.keep_checkpoint(training)
        notifier.owe(training, NotificationType.TRAINING_START, participants)
        self.next_round()

    def judge(self) -> None:
        """End the phase if what it waits for is there, or can't come any more."""
        if not self.training.is_running or self.training.locked:
            return
        count = turnout(self.training)
        if count.is_hopeless and self._reopen():
            count = turnout(self.training)
        if count.is_complete:
            self._end_phase(count)
        elif self._server_steps_in(count):
            self._send_to_merge()
        elif count.is_hopeless:
            self._miss_quorum(count)

    def _end_phase(self, count: Turnout) -> None:
        training = self.training
        round_requests(training).filter(receiver__in=count.awaited).miss()
        if training.phase == Phase.TEST:
            self._end_test()
        elif self._merges():
            self._send_to_merge()
        else:
            self.permute()

    def _send_to_merge(self) -> None:
        training = self.training
        Training.objects.filter(pk=training.pk).update(judge_at=Now() + HINT_LOST)
        hints.on_commit("merge_round", str(training.pk), training.round, training.attempt)

    def _server_steps_in(self, count: Turnout) -> bool:
        """Tell whether the server is to make the SWAG moments that participants don't give."""
        training = self.training
        may = training.phase == Phase.SWAG and plan_of(training).moments_by != MomentsBy.CLIENTS
        return may and count.is_hopeless and training.participants.exists()

    def _reopen(self) -> bool:
        """Wait again for those without whom the round had closed, before a removal."""
        shut_out = round_requests(self.training).filter(state=NotificationState.MISSED)
        return self._send_again(shut_out) > 0

    def _end_test(self) -> None:
        history.drop_checkpoints(self.training)
        reason = reason_to_stop(self.training)
        if reason:
            self._say(ReasonCode.STOPPED_EARLY, reason)
            self.finish()
        else:
            self.next_round()

    def _miss_quorum(self, count: Turnout) -> None:
        training = self.training
        if not training.participants.exists():
            self.fail(
                ReasonCode.NO_PARTICIPANTS, f"No participant is left.{describe_failures(training)}"
            )
        elif not count.asked or training.retries < training.typed_options.round.retries:
            self.retry()
        elif count.overdue:
            self.fail(
                ReasonCode.QUORUM_MISSED,
                f"Round {training.round}: only {len(count.counted)} of {len(count.asked)} "
                f"participants answered in time, {count.quorum} are needed."
                f"{describe_failures(training)}",
            )
        else:
            self.fail(
                ReasonCode.QUORUM_MISSED,
                f"Round {training.round}: only {len(count.left)} of {len(count.asked)} "
                f"participants can still answer."
                f"{describe_failures(training)}",
            )

    def next_round(self) -> None:
        """Ask for updates of the present model, unless it is the last."""
        if self.training.round >= self.training.target_num_updates:
            self.finish()
        else:
            self._open(Phase.UPDATE)

    def permute(self) -> None:
        """Let the participants go on training each other's models."""
        training = self.training
        present = LocalModel.objects.filter(base_model=training.model_id)
        counted = counted_updates(training).values("pk")
        close_updates(present.filter(round=training.round).exclude(pk__in=counted))
        self._close_rounds(before=training.round)
        training.model.round += 1
        training.model.save(update_fields=["round"])
        self._open(Phase.UPDATE)

    def retry(self) -> None:
        """Ask for what the present phase waits for once more."""
        training = self.training
        training.retries += 1
        logger.warning("training %s round %s: once more", training.pk, training.round)
        self._ask_anew()

    def _ask_anew(self) -> None:
        """Ask all who take part now, under a new attempt; no answer so far counts.

        Updates that came early for the round to be opened after this phase still do.
        """
        training = self.training
        self._begin_attempt()
        updates = LocalModel.objects.filter(
            base_model=training.model_id, round=training.round, closed_at=None
        )
        if training.phase == Phase.UPDATE:
            close_updates(updates)
        else:
            updates.update(attempt=training.attempt)
        self._ask()

    def claim_merge(self, round: int, attempt: int) -> MergeClaim | None:
        """Take the turn at merging this round; None when that isn't due or somebody's."""
        training = self.training
        if (training.round, training.attempt) != (round, attempt) or not training.is_running:
            return None
        count = turnout(training)
        of_versions = self._server_steps_in(count)
        if not of_versions and not (self._merges() and count.is_complete):
            return None
        if training.claims >= settings.FL_MERGE_ATTEMPTS:
            self.fail(
                ReasonCode.MERGE_ATTEMPTS,
                f"Round {round}: the merge was begun {training.claims} times in vain.",
            )
            return None
        return claims.take_turn(training, of_versions=of_versions)

    def _merges(self) -> bool:
        """Tell whether the present phase ends in a merge."""
        training = self.training
        return training.phase == Phase.SWAG or (
            training.phase == Phase.UPDATE and plan_of(training).merges_after(training.round)
        )

    def complete_merge(self, claim: MergeClaim, merged: StoredFile) -> None:
        """Make the merged file the model of the next round.

        Raises ClaimLost when the turn is no longer this worker's: its file is dropped.
        """
        self._end_claim(claim)
        training, model, plan = self.training, self.training.model, plan_of(self.training)
        let_go([model.file.name])
        model.file, model.sha256, model.size = merged.name, merged.sha256, merged.size
        model.round += 1
        model.save(update_fields=["file", "sha256", "size", "round"])
        history.keep_checkpoint(training, claim.updates)
        self._close_rounds(before=model.round, keep=plan.serves_updates)
        logger.info("training %s: the model is now at round %s", training.pk, model.round)
        self._open(plan.after_merge)

    def complete_swag(self, claim: MergeClaim, first: StoredFile, second: StoredFile) -> None:
        """Give the model its moments. Raises ClaimLost as `complete_merge` does."""
        self._end_claim(claim)
        model = self.training.model
        let_go([model.swag_first_moment.name, model.swag_second_moment.name])
        let_go(names_in(round_moments(self.training)))
        model.swag_first_moment, model.swag_second_moment = first.name, second.name
        model.save(update_fields=["swag_first_moment", "swag_second_moment"])
        history.keep_moments(self.training)
        round_moments(self.training).update(first="", second="")
        self._open(Phase.TEST)

    def fail_merge(self, claim: MergeClaim, error: str) -> None:
        """End the training: its answers can't be merged. Raises ClaimLost as the others do."""
        self._end_claim(claim)
        self.fail(
            ReasonCode.UNMERGEABLE,
            f"What round {self.training.round} brought can't be merged: {error}",
        )

    def _end_claim(self, claim: MergeClaim) -> None:
        if self.training.claim != claim.token:
            raise ClaimLost
        self._drop_claim()

    def finish(self) -> None:
        """End the training, its target reached."""
        self.training.phase = Phase.NONE
        self._end(TrainingState.COMPLETED)
        receivers = {user.pk: user for user in self.training.participants.all()}
        receivers[self.training.actor.pk] = self.training.actor
        notifier.owe(self.training, NotificationType.TRAINING_FINISHED, receivers.values())

    def fail(self, code: ReasonCode, reason: str) -> None:
        """End the training with a reason that its actor is shown."""
        logger.error("training %s failed: %r", self.training.pk, reason)
        self._say(code, reason)
        self._end(TrainingState.ERROR)
        self._withdraw_requests()

    def stop(self) -> None:
        """End the training because its actor wants that; a merge under way is dropped."""
        if not self.training.is_running:
            raise InvalidRequest(f"Training {self.training.pk} is not running!")
        self.fail(ReasonCode.STOPPED, "Stopped by its actor.")

    def resume(self) -> None:
        """Go on where an error ended the training.

        The answers that are there still count, unless too few are left of those who were asked:
        then everybody is, also who has come meanwhile.
        """
        training = self.training
        if training.state != TrainingState.ERROR:
            raise InvalidRequest(f"Training {training.pk} is not in state ERROR!")
        quotas.check_running(training.actor)
        self._say(ReasonCode.NONE, "")
        training.retries = training.claims = 0
        training.phase = training.phase or Phase.UPDATE
        self._revive_requests()
        self._begin_phase()
        self.ask_again()
        if turnout(training).is_hopeless:
            self._ask_anew()
        else:
            self.judge()

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
        history.restore(checkpoint, training.model)
        close_updates(LocalModel.objects.filter(base_model=training.model_id))
        self._say(ReasonCode.NONE, "")
        self._begin_attempt()
        self._welcome()
        self.next_round()

    def _welcome(self) -> None:
        """Owe the start to those who have come since the training was completed."""
        started = self.training.notifications.filter(type=NotificationType.TRAINING_START)
        starts = started.standing()
        new = self.training.participants.exclude(pk__in=starts.values("receiver"))
        notifier.owe(self.training, NotificationType.TRAINING_START, new)

    def ask_again(self) -> int:
        """Owe the present call anew to those who haven't answered it; return to how many."""
        if not self.training.is_running:
            raise InvalidRequest(f"Training {self.training.pk} is not running!")
        count = turnout(self.training)
        silent = count.asked - count.answered
        requests = round_requests(self.training).filter(receiver__in=silent)
        return self._send_again(requests)

    def _send_again(self, requests: NotificationQuerySet) -> int:
        hints.on_commit("dispatch", str(self.training.pk))
        return requests.send_again()

    # --- Steps that several of these share -----------------------------------------

    def _open(self, phase: Phase) -> None:
        self.training.phase = phase
        self.training.retries = 0
        self._ask()

    def _ask(self) -> None:
        training, asked = self.training, sampling.choose(self.training)
        self._begin_phase()
        dealt = deal_models(training, asked) if training.phase == Phase.UPDATE else {}
        notifier.owe(training, REQUESTS[Phase(training.phase)], asked, dealt)
        self.judge()

    def _begin_phase(self) -> None:
        """Let the phase's time begin, by the database's clock."""
        training, limit = self.training, self.training.typed_options.round.deadline
        is_swag = training.phase == Phase.SWAG
        training.state = TrainingState.SWAG_ROUND if is_swag else TrainingState.ONGOING
        self._save()
        deadline = Now() + limit if limit else None
        row = Training.objects.filter(pk=training.pk)
        row.update(phase_since=Now(), deadline=deadline)
        row.postpone()
        training.refresh_from_db(fields=["phase_since", "deadline", "judge_at"])

    def _begin_attempt(self) -> None:
        self._withdraw_requests()
        self.training.attempt += 1
        self._drop_claim()

    def _requests(self) -> NotificationQuerySet:
        requests: NotificationQuerySet = self.training.notifications.filter(
            type__in=REQUESTS.values()
        )
        return requests

    def _withdraw_requests(self) -> None:
        self._requests().pending().withdraw()

    def _revive_requests(self) -> None:
        """Let the present phase's requests to present participants count."""
        training = self.training
        present = self._requests().filter(
            type=REQUESTS[Phase(training.phase)], round=training.round, attempt=training.attempt
        )
        present.filter(receiver__in=training.participants.all()).revive()

    def _close_rounds(self, *, before: int, keep: int = 0) -> None:
        over = LocalModel.objects.filter(base_model=self.training.model_id, round__lt=before)
        close_updates(over, keep_from=before - max(settings.FL_KEEP_UPDATE_ROUNDS, keep))

    def _drop_claim(self) -> None:
        training = self.training
        training.claim, training.claimed_until, training.claims = None, None, 0

    def _say(self, code: ReasonCode, reason: str) -> None:
        self.training.reason_code, self.training.state_reason = code, reason

    def _end(self, state: TrainingState) -> None:
        self.training.state = state
        self.training.deadline = None
        self._drop_claim()
        self._save()

    def _save(self) -> None:
        self.training.last_update = timezone.now()
        self.training.save()
