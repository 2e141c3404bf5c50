"""Summaries of models: asked for when somebody wants to see one, made once, kept as a row."""

import json
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from fl_archive.model import read_model
from fl_archive.summary import summarise
from fl_server_ai import enqueue
from fl_server_ai.failures import NoCage
from fl_server_ai.inference import worker
from fl_server_core.models import Model, ModelStats
from fl_server_core.outgoing import model_path

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=enqueue.EXPIRE["summarise"])
"""After this a summary that was asked for is asked for again."""

AT_ONCE = 3
"""Of one owner's models so many are in line, so that others' come soon."""


def want_stats(model: Model) -> ModelStats | None:
    """Return the summary's row, and have a worker fill it if nobody is at it.

    None for a model that can't have one, or not yet. An update's is that of its base model.
    """
    described = model.global_model
    if not described.file or not described.input_shape or described.weights_only:
        return None
    row = ModelStats.objects.filter(**_key(described)).first()
    if row and (row.computed_at or _in_line(row)):
        return row
    if _owner_has_enough_in_line(described):
        return None
    row, _ = ModelStats.objects.update_or_create(
        **_key(described), defaults={"asked_at": timezone.now()}
    )
    enqueue.on_commit("summarise", str(described.pk))
    return row


def tensor_stats(model: Model) -> dict[str, Any]:
    """Return the summary of a model that is weights alone, which nobody has to run."""
    with model_path(model) as path, read_model(path) as archive:
        return summarise(archive)


def _key(model: Model) -> dict[str, Any]:
    """Return what names a summary: the file and the shape."""
    return {"sha256": model.sha256, "input_shape": json.dumps(model.input_shape)}


def _in_line(row: ModelStats) -> bool:
    return row.asked_at >= timezone.now() - PATIENCE


def _owner_has_enough_in_line(model: Model) -> bool:
    rows = ModelStats.objects.filter(
        computed_at=None,
        asked_at__gte=timezone.now() - PATIENCE,
        sha256__in=Model.objects.filter(owner=model.owner_id).values("sha256"),
    )
    return rows.count() >= AT_ONCE


def fill_stats(model_id: UUID) -> None:
    """Summarise a model if that is still wanted."""
    for model in Model.objects.filter(pk=model_id):
        for row in ModelStats.objects.filter(**_key(model), computed_at=None):
            try:
                row.stats = worker.summarise(model, json.loads(row.input_shape))
            except NoCage as error:  # it may hold another day
                logger.error(
                    "model %s isn't summarised, the cage doesn't hold: %s", model_id, error
                )
                return
            row.computed_at = timezone.now()
            row.save(update_fields=["stats", "computed_at"])


def find_needless() -> "QuerySet[ModelStats]":
    """Return the summaries of files that no model has any more."""
    return ModelStats.objects.exclude(sha256__in=Model.objects.values("sha256"))


def forget_stats() -> None:
    """Delete these."""
    find_needless().delete()
