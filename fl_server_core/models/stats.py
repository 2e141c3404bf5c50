"""Summaries of models, stored because making one runs the model."""

from django.db import models


class ModelStats(models.Model):
    """The layers of a model file, run on an input of one shape; null where that fails."""

    sha256 = models.CharField(max_length=64, help_text="Of the model's file.")
    input_shape = models.TextField(help_text="JSON.")
    stats = models.JSONField(null=True, blank=True)
    asked_at = models.DateTimeField()
    computed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "model stats"
        constraints = [
            models.UniqueConstraint(fields=["sha256", "input_shape"], name="one_summary_each")
        ]

    def __str__(self) -> str:
        return f"stats of {self.sha256[:8]} for {self.input_shape[:40]}"
