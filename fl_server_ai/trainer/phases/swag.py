"""The participants make SWAG's moments of the merged model, or the server does."""

from typing import Any

from django.db.models import QuerySet

from fl_server_ai.trainer import checkpoints
from fl_server_ai.trainer.phases.base import Merge, Phase
from fl_server_ai.trainer.quorum import Quorum
from fl_server_core.files import StoredFile, let_go, names_in
from fl_server_core.models import Moments, User
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import PhaseName, TrainingState
from fl_server_core.options import MomentsBy


class SwagPhase(Phase):
    """Moments are asked for and merged into the model's.

    Stock clients know no SWAG round and answer its call with an error, so a refusal loses a
    participant for this phase only.
    """

    name = PhaseName.SWAG
    request = NotificationType.SWAG_ROUND_START
    state = TrainingState.SWAG_ROUND
    refusal_removes = False

    @property
    def moments_by(self) -> MomentsBy:
        """Who makes them."""
        return self.options.uncertainty.swag

    def choose(self) -> list[User]:
        """Ask nobody where the server makes them."""
        return [] if self.moments_by == MomentsBy.SERVER else super().choose()

    def given_ever(self) -> QuerySet[Moments]:
        """Return moments."""
        return Moments.objects.filter(model=self.training.model_id)

    def answers_needed(self, target: int) -> int:
        """Return one where any will do and nobody says otherwise."""
        takes_any = self.moments_by == MomentsBy.AUTO and self.options.round.quorum is None
        return 1 if takes_any else super().answers_needed(target)

    def merges(self, quorum: Quorum) -> bool:
        """Tell whether there are moments enough, or the server is to make them."""
        return quorum.is_complete or self._server_steps_in(quorum)

    def to_merge(self, quorum: Quorum) -> Merge:
        """Return the participants' moments, or the versions that the server makes them of."""
        if self._server_steps_in(quorum):
            return Merge(versions=checkpoints.last_versions(self.training))
        return Merge(moments=list(self.answers()))

    def _server_steps_in(self, quorum: Quorum) -> bool:
        """Tell whether the server is to make the moments that participants don't give."""
        may = self.moments_by != MomentsBy.CLIENTS
        return may and quorum.is_hopeless and self.training.memberships.exists()

    def keep(self, owner: User, *, sample_size: int, first: StoredFile, second: StoredFile) -> None:
        """Store a participant's moments for the present round, in place of earlier ones."""
        training = self.training
        if training.claim:
            raise self.not_in_round(training.round)
        key: dict[str, Any] = {
            "model": training.model,
            "round": training.round,
            "attempt": training.attempt,
        }
        let_go(names_in(Moments.objects.filter(owner=owner, **key)))
        Moments.objects.update_or_create(
            owner=owner,
            **key,
            defaults={
                "sample_size": sample_size,
                "first": first.name,
                "size": first.size + second.size,
                "first_sha256": first.sha256,
                "second": second.name,
                "second_sha256": second.sha256,
            },
        )

    def drop(self) -> None:
        """Let go of the participants' moments: they are merged."""
        let_go(names_in(self.answers()))
        self.answers().update(first="", second="")
