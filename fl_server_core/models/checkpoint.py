"""Checkpoints: what a global model was at the end of each merge."""

import uuid
from typing import Self

from django.db import models

from fl_server_core.files import indexes_by_name
from fl_server_core.models.model import Model


class CheckpointQuerySet(models.QuerySet["Checkpoint"]):
    """Which checkpoints can still be used."""

    def stored(self) -> Self:
        """Keep those whose file is kept."""
        return self.exclude(file="")


class Checkpoint(models.Model):
    """A global model's version at one round and attempt; the first is what the actor uploaded.

    The row outlives its file: with the updates that name it in `merged_into` it says who has
    made which version out of what.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="checkpoints")
    round = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    file = models.FileField(blank=True)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    swag_first_moment = models.FileField(blank=True)
    swag_second_moment = models.FileField(blank=True)
    server_state = models.FileField(blank=True)
    server_state_size = models.PositiveBigIntegerField(default=0, help_text="Bytes.")
    metric_means = models.JSONField(
        null=True,
        blank=True,
        help_text="The mean of each numeric metric by name; null until its test has ended.",
    )
    weighted_means = models.JSONField(
        null=True,
        blank=True,
        help_text="The same, weighted by the samples of those who have made this version.",
    )

    objects = CheckpointQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        indexes = indexes_by_name(
            "checkpoint", "file", "swag_first_moment", "swag_second_moment", "server_state"
        )
        constraints = [
            models.UniqueConstraint(
                fields=["model", "round", "attempt"], name="one_checkpoint_per_round_and_attempt"
            )
        ]

    def __str__(self) -> str:
        return f"checkpoint of {self.model_id} at {self.round}"
