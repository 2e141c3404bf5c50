"""Merging a complete round: claim it, merge its files, hand the result in.

Imported by workers alone: this is where torch comes in.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from uuid import UUID

from django.conf import settings
from django.db.models.fields.files import FieldFile

from fl_server_ai.aggregation.engine import State, Update, merge, merge_tensors
from fl_server_ai.aggregation.errors import AggregationError
from fl_server_ai.aggregation.strategies import STRATEGIES, Strategy
from fl_server_ai.aggregation.trajectory import make_moments
from fl_server_ai.device import DeviceMissing
from fl_server_ai.trainer import ModelTrainer
from fl_server_ai.trainer.lease import ClaimLost, MergeClaim
from fl_server_ai.trainer.weighting import weights_of
from fl_server_core import counters
from fl_server_core.files import StoredFile, local_path, named_or_gone, scratch_path, store
from fl_server_core.models import Training
from fl_server_core.spans import span

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
    merge, merge_answers, of = claim.merge, _merge_updates, "updates"
    if merge.moments:
        merge_answers, of = _merge_moments, "moments"
    elif merge.versions:
        merge_answers, of = _make_moments, "versions"
    clients = len(merge.updates) + len(merge.moments)
    try:
        with (
            counters.merging(of, merge.size),
            span("merge", of=of, clients=clients, bytes=merge.size),
        ):
            merge_answers(claim)
    except (AggregationError, DeviceMissing) as error:
        _give_up(claim, str(error))
    except OSError as error:  # a full disk, say: there may be room later
        if not claim.is_last:
            raise
        logger.exception("training %s: the merge has failed too often", claim.training.pk)
        _give_up(claim, error.strerror or type(error).__name__)


def _give_up(claim: MergeClaim, error: str) -> None:
    with ModelTrainer.locked(claim.training.pk) as trainer:
        trainer.fail_merge(claim, error)


def _merge_updates(claim: MergeClaim) -> None:
    training, weights = claim.training, weights_of(claim.training, claim.merge.updates)
    strategy = _strategy_of(training)
    with ExitStack() as stack:
        updates = [
            _answer(stack, update.file, update.sha256, weight, training.round - update.round)
            for update, weight in zip(claim.merge.updates, weights, strict=True)
        ]
        target = stack.enter_context(scratch_path())
        state = _state(stack, training) if strategy.initial_state() else None
        sha256 = merge(
            strategy=strategy,
            template=stack.enter_context(local_path(training.model.file)),
            updates=updates,
            target=target,
            progress=_now_and_then(claim.renew),
            participants=training.participants.count(),
            state=state,
        )
        stored = [store(target, sha256)] + ([store(state.target)] if state else [])
    with named_or_gone(*stored), ModelTrainer.locked(training.pk) as trainer:
        trainer.complete_merge(claim, *stored)


def _strategy_of(training: Training) -> Strategy:
    kind = STRATEGIES[training.aggregation_method]
    return kind(kind.Options.read(training.typed_options.aggregation))


def _state(stack: ExitStack, training: Training) -> State:
    file = training.model.server_state
    present = stack.enter_context(local_path(file)) if file else None
    return State(present, stack.enter_context(scratch_path()))


def _merge_moments(claim: MergeClaim) -> None:
    weights = weights_of(claim.training, claim.merge.moments)
    with ExitStack() as stack:
        firsts, seconds = [], []
        for row, weight in zip(claim.merge.moments, weights, strict=True):
            firsts.append(_answer(stack, row.first, row.first_sha256, weight))
            seconds.append(_answer(stack, row.second, row.second_sha256, weight))
        first, second = _merged_moment(firsts, claim), _merged_moment(seconds, claim)
    with named_or_gone(first, second), ModelTrainer.locked(claim.training.pk) as trainer:
        trainer.complete_swag(claim, first, second)


def _make_moments(claim: MergeClaim) -> None:
    """Make the moments of the model's own versions."""
    with ExitStack() as stack:
        versions = [
            stack.enter_context(local_path(version.file)) for version in claim.merge.versions
        ]
        first, second = stack.enter_context(scratch_path()), stack.enter_context(scratch_path())
        progress = _now_and_then(claim.renew)
        make_moments(versions=versions, first=first, second=second, progress=progress)
        stored = store(first), store(second)
    logger.info(
        "training %s: SWAG's moments are those of %s versions of the model",
        claim.training.pk,
        len(versions),
    )
    with named_or_gone(*stored), ModelTrainer.locked(claim.training.pk) as trainer:
        trainer.complete_swag(claim, *stored)


def _merged_moment(moments: list[Update], claim: MergeClaim) -> StoredFile:
    with scratch_path() as target:
        merge_tensors(updates=moments, target=target, progress=_now_and_then(claim.renew))
        return store(target)


def _answer(stack: ExitStack, file: FieldFile, sha256: str, weight: int, age: int = 0) -> Update:
    return Update(stack.enter_context(local_path(file)), sha256, weight, age)


def _now_and_then(renew: Callable[[], None]) -> Callable[[], None]:
    """Return a function to be called often that renews three times per lease."""
    latest = time.monotonic()

    def progress() -> None:
        nonlocal latest
        if time.monotonic() - latest > settings.FL_MERGE_LEASE_SECONDS / 3:
            renew()
            latest = time.monotonic()

    return progress
