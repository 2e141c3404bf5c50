"""Telling a tracker what is new about each training, in a thread of its own.

The thread is one of this process's and works through what is due, so a tracker that is slow or
dead holds up nothing but itself. It may die at any moment: the rows say what is due.
"""

import logging
import threading
from contextlib import closing
from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from fl_server_ai.tracking import registry, story
from fl_server_ai.tracking.tracker import Tracker, TrackerError
from fl_server_core import outgoing
from fl_server_core.exceptions import NotFound
from fl_server_core.models import Checkpoint, Tracking, Training
from fl_server_core.models.training import TrainingState

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=1)
"""After so long with one version another worker takes a training over, which does no harm."""

PAUSE = timedelta(seconds=5)
"""Between looks at a training that is well."""

LONGEST_PAUSE = timedelta(minutes=10)
PER_TURN = 20
"""Versions that are told before other trainings have their turn."""

PER_PASS = 256

_turn = threading.Lock()
"""Of this process only one thread tells."""


def begin() -> None:
    """Have what is due told, if there is a tracker and nobody here is at it."""
    if registry.is_wanted() and not _turn.locked():
        threading.Thread(target=_tell_in_thread, name="track", daemon=True).start()


def _tell_in_thread() -> None:
    if not _turn.acquire(blocking=False):
        return
    try:
        with closing(connection):
            tell_all()
    except Exception:  # what is due stays so, for the next sweep
        logger.exception("no telling now")
    finally:
        _turn.release()


def tell_all() -> None:
    """Tell the tracker about every training of which something is to be told."""
    tracker = registry.find_tracker()
    if tracker is None:
        return
    with closing(tracker):
        for training_id in Tracking.waiting().values_list("pk", flat=True)[:PER_PASS]:
            _try_to_tell(tracker, training_id)


def _try_to_tell(tracker: Tracker, training_id: UUID) -> None:
    """Tell about one training, or note why that failed, so that others are told about."""
    training = Training.objects.select_related("model", "actor").filter(pk=training_id).first()
    if training is None:
        return  # removed since it was listed
    told, _ = Tracking.objects.get_or_create(training=training)
    if not Tracking.objects.filter(pk=told.pk).claim(LEASE):
        return
    try:
        is_all = _tell(tracker, training, told)
    except Exception as error:
        words = str(error) if isinstance(error, TrackerError) else repr(error)
        logger.warning("training %s: its tracker isn't told now: %s", training_id, words)
        told.put_off(_pause(told.failures), words)
    else:
        told.rest(PAUSE if is_all else timedelta(0))


def _pause(failures: int) -> timedelta:
    return min(PAUSE * (1 << min(failures, 10)), LONGEST_PAUSE)


def _tell(tracker: Tracker, training: Training, told: Tracking) -> bool:
    """Tell what is new; return whether that was all.

    The training was read before its versions, so what comes meanwhile makes it due again.
    """
    if not told.run:
        told.note(run=tracker.open(story.run_of(training)))
    versions = list(story.untold(training, told)[: PER_TURN + 1])
    for version in versions[:PER_TURN]:
        is_settled = version is not versions[-1] or version.metric_means is not None
        if is_settled or not training.is_running:
            _tell_version(tracker, version, told)
        if is_settled:  # else it is told again when its test has ended
            told.note(attempt=version.attempt, round=version.round, due_at=Now() + LEASE)
    if len(versions) > PER_TURN:
        return False
    if told.state != training.state or training.state == TrainingState.ERROR:
        tracker.mark(told.run, *story.state_of(training))
        told.note(state=training.state)
    told.note(seen=training.last_update)
    return True


def _tell_version(tracker: Tracker, version: Checkpoint, told: Tracking) -> None:
    tracker.log(told.run, story.points_of(version), story.tags_of(version))
    if tracker.takes_files and version.file:
        _keep_file(tracker, version, told)


def _keep_file(tracker: Tracker, version: Checkpoint, told: Tracking) -> None:
    try:
        with closing(outgoing.open_checkpoint(version)) as file:
            tracker.keep(told.run, f"checkpoints/round-{version.round}.pt", file)
    except NotFound:
        logger.info("checkpoint %s was dropped before it was uploaded", version.pk)
