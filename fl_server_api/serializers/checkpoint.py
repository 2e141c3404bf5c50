"""Checkpoints: versions of a global model, and what each was made of."""

from rest_framework import serializers

from fl_server_core.models import Checkpoint, LocalModel


class MergedUpdateSerializer(serializers.ModelSerializer[LocalModel]):
    """An update that a version was merged from."""

    class Meta:
        model = LocalModel
        fields = ["id", "owner", "round", "attempt", "sample_size", "sha256", "size"]
        read_only_fields = fields


class CheckpointSerializer(serializers.ModelSerializer[Checkpoint]):
    """A version of a global model; `stored` tells whether it can be downloaded."""

    stored = serializers.SerializerMethodField()
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
            "updates",
        ]
        read_only_fields = fields

    def get_stored(self, checkpoint: Checkpoint) -> bool:  # noqa: D102
        return bool(checkpoint.file)
