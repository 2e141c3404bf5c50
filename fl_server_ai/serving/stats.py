"""Summaries of models: asked for when somebody wants to see one, made once, kept as a row."""

import json
import logging
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from fl_server_ai import hints
from fl_server_ai.runner.errors import NoCage
from fl_server_ai.serving import worker
from fl_server_core.models import Model, ModelStats

logger = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=1)
"""After this a summary that was asked for is asked for again."""


def want_stats(model: Model) -> ModelStats | None:
    """Return the summary's row, and have a worker fill it if nobody is at it.

    None for a model that can't have one. An update's is that of its base model.
    """
    described = model.global_model
    if not described.file or not described.input_shape or described.weights_only:
        return None
    row, is_new = ModelStats.objects.get_or_create(
        sha256=described.sha256,
        input_shape=json.dumps(described.input_shape),
        defaults={"asked_at": timezone.now()},
    )
    if is_new or (row.computed_at is None and row.asked_at < timezone.now() - PATIENCE):
        row.asked_at = timezone.now()
        row.save(update_fields=["asked_at"])
        hints.on_commit("summarise", str(described.pk))
    return row


def fill_stats(model_id: UUID) -> None:
    """Summarise a model if that is still wanted."""
    for model in Model.objects.filter(pk=model_id):
        rows = ModelStats.objects.filter(sha256=model.sha256, computed_at=None)
        for row in rows:
            try:
                row.stats = worker.summarise(model, json.loads(row.input_shape))
            except NoCage as error:  # it may hold another day
                logger.error(
                    "model %s isn't summarised, the cage doesn't hold: %s", model_id, error
                )
                return
            row.computed_at = timezone.now()
            row.save(update_fields=["stats", "computed_at"])


def forget_stats() -> None:
    """Delete the summaries of files that no model has any more."""
    ModelStats.objects.exclude(sha256__in=Model.objects.values("sha256")).delete()
