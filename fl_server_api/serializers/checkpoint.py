"""Checkpoints: versions of a global model, and what each was made of."""

from typing import Any

from rest_framework import serializers

from fl_server_ai.trainer.weighting import shares_of
from fl_server_core.models import Checkpoint, LocalModel


class MergedUpdateSerializer(serializers.ModelSerializer[LocalModel]):
    """An update that a version was merged from."""

    share = serializers.FloatField(help_text="How much of the version it made up, 1 being all.")

    class Meta:
        model = LocalModel
        fields = ["id", "owner", "round", "attempt", "sample_size", "share", "sha256", "size"]
        read_only_fields = fields


class CheckpointSerializer(serializers.ModelSerializer[Checkpoint]):
    """A version of a global model; `stored` tells whether it can be downloaded."""

    stored = serializers.SerializerMethodField()
    metric_means = serializers.DictField(
        child=serializers.FloatField(),
        allow_null=True,
        read_only=True,
        help_text=(
            "The mean of each numeric metric, by its name, over the participants who were asked "
            "to test this version; null until that test has ended."
        ),
    )
    weighted_means = serializers.DictField(
        child=serializers.FloatField(),
        allow_null=True,
        read_only=True,
        help_text=(
            "The same means, weighted by `sample_size` in `updates`; whoever has none there is "
            "left out. Null, too, of versions that were tested before these were kept."
        ),
    )
    updates = MergedUpdateSerializer(many=True, read_only=True)

    class Meta:
        model = Checkpoint
        fields = [
            "id",
            "model",
            "round",
            "attempt",
            "created_at",
            "sha256",
            "size",
            "stored",
            "metric_means",
            "weighted_means",
            "updates",
        ]
        read_only_fields = fields

    def get_stored(self, checkpoint: Checkpoint) -> bool:  # noqa: D102
        return bool(checkpoint.file)

    def to_representation(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Show the prefetched updates with their shares, which the training's options may limit."""
        updates: list[Any] = list(checkpoint.updates.all())
        shares = shares_of(getattr(checkpoint.model, "training", None), updates)
        for update, share in zip(updates, shares, strict=True):
            update.share = share
        return super().to_representation(checkpoint)
