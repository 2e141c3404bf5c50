"""Answers that more than one noun needs."""

from typing import Any

from rest_framework import serializers

from fl_server_ai.turnout import round_updates, turnout
from fl_server_core.models import Training
from fl_server_core.models.training import Phase


class DetailSerializer(serializers.Serializer[Any]):
    """A sentence about what was done."""

    detail = serializers.CharField(help_text="What was done.")


class ErrorSerializer(serializers.Serializer[Any]):
    """A sentence about what went wrong."""

    detail = serializers.CharField(help_text="What went wrong.")


class TrainingSerializer(serializers.ModelSerializer[Training]):
    """A training as its actor and participants see it."""

    locked = serializers.BooleanField(
        read_only=True, help_text="Whether an aggregation is under way."
    )

    class Meta:
        model = Training
        fields = [
            "id",
            "model",
            "actor",
            "participants",
            "state",
            "state_reason",
            "target_num_updates",
            "last_update",
            "uncertainty_method",
            "aggregation_method",
            "options",
            "locked",
        ]
        read_only_fields = fields


class TrainingSerializerWithRounds(TrainingSerializer):
    """A training and how far its present round is."""

    local_models_arrived = serializers.SerializerMethodField(
        help_text="Updates that are there for the present round."
    )
    local_models_expected = serializers.SerializerMethodField(help_text="Updates that complete it.")

    class Meta(TrainingSerializer.Meta):
        fields = [
            *TrainingSerializer.Meta.fields,
            "local_models_arrived",
            "local_models_expected",
        ]
        read_only_fields = fields

    def get_local_models_arrived(self, training: Training) -> int:
        """Count the present round's updates."""
        return round_updates(training).count()

    def get_local_models_expected(self, training: Training) -> int:
        """Count whose updates are waited for: before and between rounds, all participants'."""
        if training.phase == Phase.UPDATE:
            return len(turnout(training).left)
        return training.participants.count()
