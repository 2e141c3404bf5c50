"""Whose turn it is to merge: a lease that is the database's, and can be taken over."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from fl_server_ai.trainer.phases.base import Merge
from fl_server_core.models import Training


class ClaimLost(Exception):
    """Another worker has taken the merge over, or the training is gone."""


@dataclass(frozen=True)
class MergeClaim:
    """A worker's turn at a merge. After `is_last` nobody gets another."""

    training: Training
    token: uuid.UUID
    is_last: bool
    merge: Merge

    def renew(self) -> None:
        """Keep the turn for another lease; raise ClaimLost when it is no longer ours."""
        mine = Training.objects.filter(pk=self.training.pk, claim=self.token)
        if not mine.update(claimed_until=_lease_end()):
            raise ClaimLost


def take_turn(training: Training, merge: Merge) -> MergeClaim | None:
    """Claim a merge; None while another worker's lease runs."""
    token = uuid.uuid4()
    free = Q(claimed_until=None) | Q(claimed_until__lte=Now())
    won = Training.objects.filter(free, pk=training.pk).update(
        claim=token, claimed_until=_lease_end(), claims=F("claims") + 1
    )
    if not won:
        return None
    is_last = training.claims + 1 >= settings.FL_MERGE_ATTEMPTS
    return MergeClaim(training, token, is_last=is_last, merge=merge)


def end_turn(training: Training, claim: MergeClaim) -> None:
    """Give the turn back; raise ClaimLost when it is no longer this worker's."""
    if training.claim != claim.token:
        raise ClaimLost
    drop_turn(training)


def drop_turn(training: Training) -> None:
    """Let nobody have the turn, so that the next one begins to count anew."""
    training.claim, training.claimed_until, training.claims = None, None, 0


def _lease_end() -> CombinedExpression:
    return Now() + timedelta(seconds=settings.FL_MERGE_LEASE_SECONDS)
