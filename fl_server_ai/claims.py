"""Whose turn it is to merge: a lease that is the database's, and can be taken over."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from fl_server_ai import history
from fl_server_ai.turnout import counted_updates, round_moments
from fl_server_core.models import Checkpoint, Model, Moments, Training
from fl_server_core.models.training import Phase


class ClaimLost(Exception):
    """Another worker has taken the merge over, or the training is gone."""


@dataclass(frozen=True)
class MergeClaim:
    """A worker's turn at merging updates, or moments, or versions of the model into moments.

    After `is_last` nobody gets another.
    """

    training: Training
    token: uuid.UUID
    is_last: bool
    updates: Sequence[Model]
    moments: Sequence[Moments]
    versions: Sequence[Checkpoint]

    def renew(self) -> None:
        """Keep the turn for another lease; raise ClaimLost when it is no longer ours."""
        mine = Training.objects.filter(pk=self.training.pk, claim=self.token)
        if not mine.update(claimed_until=_lease_end()):
            raise ClaimLost


def take_turn(training: Training, *, of_versions: bool) -> MergeClaim | None:
    """Claim the merge of the answers that count; None while another worker's lease runs.

    `of_versions`: not of answers, but of the model's own last versions.
    """
    token = uuid.uuid4()
    free = Q(claimed_until=None) | Q(claimed_until__lte=Now())
    won = Training.objects.filter(free, pk=training.pk).update(
        claim=token, claimed_until=_lease_end(), claims=F("claims") + 1
    )
    if not won:
        return None
    of_moments = training.phase == Phase.SWAG and not of_versions
    return MergeClaim(
        training,
        token,
        is_last=training.claims + 1 >= settings.FL_MERGE_ATTEMPTS,
        updates=list(counted_updates(training)) if training.phase == Phase.UPDATE else [],
        moments=list(round_moments(training)) if of_moments else [],
        versions=history.last_versions(training) if of_versions else [],
    )


def _lease_end() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.FL_MERGE_LEASE_SECONDS)
