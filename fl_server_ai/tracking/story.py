"""What a tracker is told of a training: as it begins, of each version of its model, as it ends."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any, cast

from django.db.models import Q

from fl_server_ai.tracking.tracker import Point, Run, RunState
from fl_server_core.models import Checkpoint, Metric, Tracking, Training
from fl_server_core.models.checkpoint import CheckpointQuerySet
from fl_server_core.models.metric import MetricQuerySet
from fl_server_core.models.training import ReasonCode, TrainingState

CHUNK = 500
"""Rows read at a time, because one round may have more than fit into memory."""

STATES = {
    TrainingState.COMPLETED: RunState.FINISHED,
    TrainingState.ERROR: RunState.FAILED,
}


def run_of(training: Training) -> Run:
    """Return what is known as a training begins."""
    model, uploaded = training.model, _versions(training)[0]
    return Run(
        key=str(training.pk),
        name=f"{model.name or 'model'} {str(training.pk)[:8]}",
        user=training.actor.username,
        started_at=uploaded.created_at,
        tags={
            "fl.model": str(model.pk),
            "fl.actor": training.actor.username,
            "fl.server": version("fl-server"),
        },
        parameters={
            "aggregation": training.aggregation_method,
            "uncertainty": training.uncertainty_method,
            "rounds": str(training.target_num_updates),
            "model_sha256": uploaded.sha256,
            **dict(_flattened("options", training.options)),
        },
    )


def state_of(training: Training) -> tuple[RunState, str, datetime | None]:
    """Return how its run stands, why, and since when it has ended."""
    if training.is_running:
        return RunState.RUNNING, "", None
    stopped = training.reason_code == ReasonCode.STOPPED
    state = RunState.KILLED if stopped else STATES[TrainingState(training.state)]
    return state, training.state_reason, training.last_update


def untold(training: Training, told: Tracking) -> CheckpointQuerySet:
    """Return the versions after the last that was told and tested, in their order."""
    versions = _versions(training)
    if told.round is None:
        return versions
    return versions.filter(
        Q(attempt__gt=told.attempt) | Q(attempt=told.attempt, round__gt=told.round)
    )


def points_of(checkpoint: Checkpoint) -> Iterator[Point]:
    """Yield the means of a version's metrics, everybody's, and how its round went."""
    step, made_at = checkpoint.round, checkpoint.created_at
    for name, value in (checkpoint.metric_means or {}).items():
        yield Point(name, value, step, made_at)
    columns = ("key", "reporter__username", "value_float", "created_at")
    for name, user, value, time in _reported(checkpoint).values_list(*columns).iterator(CHUNK):
        yield Point(f"{name}/{user}", cast(float, value), step, time)
    for name, value in _of_round(checkpoint):
        yield Point(f"round/{name}", value, step, made_at)


def tags_of(checkpoint: Checkpoint) -> Mapping[str, str]:
    """Return where the version can be had, and by what it is known."""
    path = f"/api/models/{checkpoint.model_id}/checkpoints/{checkpoint.pk}/"
    return {
        f"fl.checkpoint.{checkpoint.round}": f"sha256 {checkpoint.sha256} at {path}",
        "fl.round": str(checkpoint.round),
        "fl.attempt": str(checkpoint.attempt),
    }


def _versions(training: Training) -> CheckpointQuerySet:
    """Return a training's versions as they came, by no clock: attempts only grow."""
    rows: CheckpointQuerySet = training.model.checkpoints.order_by("attempt", "round")
    return rows


def _reported(checkpoint: Checkpoint) -> MetricQuerySet:
    """Return the numbers reported on a version, also where its test was begun anew."""
    rows = Metric.objects.filter(
        model=checkpoint.model_id,
        step=checkpoint.round,
        attempt__gte=checkpoint.attempt,
        value_float__isnull=False,
    )
    later = Checkpoint.objects.filter(
        model=checkpoint.model_id, round=checkpoint.round, attempt__gt=checkpoint.attempt
    ).order_by("attempt")
    following = later.values_list("attempt", flat=True).first()
    return rows if following is None else rows.filter(attempt__lt=following)


def _of_round(checkpoint: Checkpoint) -> Iterator[tuple[str, float]]:
    """Yield what made the version; of the first, which was uploaded, there is nothing to say."""
    earlier = Checkpoint.objects.filter(
        Q(attempt__lt=checkpoint.attempt)
        | Q(attempt=checkpoint.attempt, round__lt=checkpoint.round),
        model=checkpoint.model_id,
    )
    before = earlier.order_by("-attempt", "-round").first()
    if before:
        yield "updates", float(checkpoint.updates.count())
        yield "seconds", (checkpoint.created_at - before.created_at).total_seconds()


def _flattened(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flattened(f"{path}.{name}", inner)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
