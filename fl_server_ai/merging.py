"""Merging a complete round: claim it, merge its files, hand the result in.

Imported by workers alone: this is where torch comes in.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from uuid import UUID

from django.conf import settings

from fl_server_ai.aggregation import AggregationError, Update, merge
from fl_server_ai.device import DeviceMissing
from fl_server_ai.plans import PLANS
from fl_server_ai.trainer import ClaimLost, MergeClaim, ModelTrainer
from fl_server_core.files import StoredFile, local_path, scratch_path, store
from fl_server_core.models import Training
from fl_server_core.models.training import AggregationMethod

logger = logging.getLogger(__name__)


def merge_round(training_id: UUID, round: int, attempt: int) -> None:
    """Merge the round if that is due; again or at the same time elsewhere changes nothing."""
    try:
        with ModelTrainer.locked(training_id) as trainer:
            claim = trainer.claim_merge(round, attempt)
        if claim is not None:
            _merge_claimed(claim)
    except (ClaimLost, Training.DoesNotExist):
        logger.info("training %s round %s: the merge is no longer due", training_id, round)


def _merge_claimed(claim: MergeClaim) -> None:
    """Merge outside of any transaction; anything but a final error leaves it to a retry."""
    try:
        merged = _merge_files(claim)
    except (AggregationError, DeviceMissing) as error:
        with ModelTrainer.locked(claim.training.pk) as trainer:
            trainer.fail(f"The updates of round {claim.training.round} can't be merged: {error}")
        return
    with ModelTrainer.locked(claim.training.pk) as trainer:
        trainer.complete_merge(claim.token, merged)


def _merge_files(claim: MergeClaim) -> StoredFile:
    training = claim.training
    with ExitStack() as stack:
        target = stack.enter_context(scratch_path())
        merge(
            strategy=PLANS[AggregationMethod(training.aggregation_method)].strategy,
            template=stack.enter_context(local_path(training.model.file)),
            updates=[
                Update(
                    path=stack.enter_context(local_path(update.file)),
                    sha256=update.sha256,
                    sample_size=update.sample_size or 0,
                )
                for update in claim.updates
            ],
            target=target,
            progress=_now_and_then(claim.renew),
        )
        return store(target)


def _now_and_then(renew: Callable[[], None]) -> Callable[[], None]:
    """Return a function to be called often that renews three times per lease."""
    latest = time.monotonic()

    def progress() -> None:
        nonlocal latest
        if time.monotonic() - latest > settings.FL_MERGE_LEASE_SECONDS / 3:
            renew()
            latest = time.monotonic()

    return progress
