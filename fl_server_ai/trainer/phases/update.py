"""The participants train the model that they were handed."""

import random
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from fl_archive.encoded import Encoding
from fl_server_ai.trainer.phases.base import Merge, Phase
from fl_server_ai.trainer.quorum import Quorum
from fl_server_core.compiled import compiled, first
from fl_server_core.exceptions import InvalidRequest
from fl_server_core.files import StoredFile, let_go
from fl_server_core.models import LocalModel, Model, User
from fl_server_core.models.model import ModelKind, ModelQuerySet, close_updates
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import PhaseName
from fl_server_core.options import LateUpdates


class UpdatePhase(Phase):
    """Updates are asked for, and merged into the next model or permuted."""

    name = PhaseName.UPDATE
    request = NotificationType.UPDATE_ROUND_START
    draws_anew = True

    def hand_out(self, asked: Sequence[User]) -> Mapping[uuid.UUID, uuid.UUID]:
        """Return by user which update of the round before each goes on training, at random.

        The messages that hand them out are the record of who got whose. With more users than
        updates the rest goes on from the global model, as everybody does after a merge.
        """
        updates = LocalModel.objects.visible().filter(
            base_model=self.training.model_id, round=self.training.round - 1
        )
        shuffled = list(updates.values_list("pk", flat=True))
        random.SystemRandom().shuffle(shuffled)
        return {user.pk: pk for user, pk in zip(asked, shuffled, strict=False)}

    def given_ever(self) -> ModelQuerySet:
        """Return updates, also late ones."""
        updates: ModelQuerySet = LocalModel.objects.filter(base_model=self.training.model_id)
        return updates

    def given(self) -> QuerySet[Any]:
        """Leave out one that came late: it is closed."""
        return super().given().filter(closed_at=None)

    def counted(self) -> QuerySet[Model]:
        """Return the updates that the round ends with.

        Where a sample is asked, an update that came before the round opened may be of somebody
        who isn't in it. Else that of somebody who joined meanwhile counts as well.
        """
        if self.training.sample_target is None:
            return self.answers()
        return self.answers().filter(owner__in=self.requests().values("receiver"))

    def merges(self, quorum: Quorum) -> bool:
        """Tell whether the updates are complete, and the last of a chain."""
        return quorum.is_complete and not self.permutes

    def to_merge(self, quorum: Quorum) -> Merge:  # noqa: ARG002
        """Return the updates that count."""
        return Merge(updates=list(self.counted()))

    @property
    def permutes(self) -> bool:
        """Whether the participants go on training each other's models."""
        return not self.plan.merges_after(self.training.round)

    @property
    def follows(self) -> str | None:
        """More updates, where these are permuted."""
        return self.name if self.permutes else super().follows

    def begin_anew(self) -> None:
        """Let no update so far count."""
        close_updates(self.open_updates())

    # --- Taking one in --------------------------------------------------------------

    @property
    def discards_late(self) -> bool:
        """Whether an update for a closed round is noted instead of refused."""
        return self.options.round.late_updates == LateUpdates.DISCARD

    def check(
        self, user: User, round: int, base: str = "", encoding: Encoding = Encoding.STATE
    ) -> None:
        """Raise unless an update of this user for this round can be taken.

        For a round that is yet to open that says nothing of whether the user will be asked. `base`
        is the ETag of the version that it was made from, where that is known.
        """
        if round < self.training.round and self.training.is_running and self.discards_late:
            self.check_participant(user)
        else:
            super().check(user, round)
        if encoding != Encoding.STATE and self.options.chain_period > 1:
            raise InvalidRequest("In a daisy chain updates are whole: send the trained weights.")
        if base and self.options.chain_period == 1:  # in a chain each begins from another model
            self._check_base(base.strip('W/"').partition(".")[0])

    def _check_base(self, version: str) -> None:
        present = self.training.model.sha256
        if version != present:
            raise InvalidRequest(
                f"The update was made from version {version[:64]} of the model, but training "
                f"{self.training.pk} is at {present}: download that and train it."
            )

    def keep(
        self, owner: User, round: int, *, sample_size: int, file: StoredFile, may_be_last: bool
    ) -> Model | None:
        """Store a participant's update for a round, in place of an earlier one and its metrics.

        Once the merge has begun nothing is replaced. What comes then is refused, or goes into the
        ledger if the training wants that; None is returned, and the file let go. `may_be_last`
        unless others are waited for.
        """
        update = self._find(owner, round)
        is_known = not update._state.adding
        counts = is_known and update.closed_at is None
        late = self._is_late(round, may_complete=may_be_last and not counts)
        if late:
            is_repeated = is_known and update.sha256 == file.sha256
            if not self.discards_late and not is_repeated:
                raise self.not_in_round(round)
            let_go([file.name])
            if is_known:
                return None
        elif is_known:
            let_go([update.file.name])
            update.metrics.all().delete()
        update.file = "" if late else file.name
        update.closed_at = timezone.now() if late else None
        update.sha256, update.size, update.sample_size = file.sha256, file.size, sample_size
        update.save()
        return None if late else update

    def _is_late(self, round: int, *, may_complete: bool) -> bool:
        """Tell whether an update comes when its round has closed."""
        if round < self.training.round or self.training.claim:
            return True
        return self.is_open and may_complete and self.quorum().is_complete

    def _find(self, owner: User, round: int) -> Model:
        training = self.training
        return first(_updates(training.model_id, round, training.attempt, owner.pk)) or LocalModel(
            kind=ModelKind.LOCAL,
            owner=owner,
            base_model=training.model,
            round=round,
            attempt=training.attempt,
        )


@compiled
def _updates(model: uuid.UUID, round: int, attempt: int, owner: uuid.UUID) -> QuerySet[LocalModel]:
    rows: QuerySet[LocalModel] = LocalModel.objects.filter(
        base_model=model, round=round, attempt=attempt, owner=owner
    )
    return rows
