"""SWAG moments: what participants send in a SWAG round."""

from django.db import models

from fl_server_core.files import indexes_by_name
from fl_server_core.models.model import Model
from fl_server_core.models.user import User


class Moments(models.Model):
    """The first and second moment of a participant's weights, for one round and attempt.

    The row outlives its files, as an update's does. Maddox et al. 2019, "A Simple Baseline for
    Bayesian Uncertainty in Deep Learning", arXiv 1902.02476, section 3.2.
    """

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="moments")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="moments")
    round = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=0)
    sample_size = models.PositiveBigIntegerField()
    first = models.FileField(blank=True)
    first_sha256 = models.CharField(max_length=64)
    second = models.FileField(blank=True)
    second_sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes of both.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "moments"
        ordering = ["created_at"]
        indexes = indexes_by_name("moments", "first", "second")
        constraints = [
            models.UniqueConstraint(
                fields=["model", "round", "attempt", "owner"], name="one_pair_of_moments_each"
            )
        ]

    def __str__(self) -> str:
        return f"moments of {self.model_id} at {self.round}"
