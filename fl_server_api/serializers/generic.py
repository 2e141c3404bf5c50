"""Answers that more than one noun needs."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fl_server_ai.trainer.phases import UpdatePhase, phase_of
from fl_server_ai.trainer.quorum import Quorum
from fl_server_ai.uncertainty.registry import METHODS
from fl_server_api.serializers.related import RelatedIds
from fl_server_core.links import ids_of
from fl_server_core.models import Training
from fl_server_core.models.training import PhaseName


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

    uncertainty_method = serializers.ChoiceField(
        [(name, f"passes: {method.passes}") for name, method in METHODS.items()], read_only=True
    )
    participants = RelatedIds()

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


class RoundSerializer(serializers.Serializer[Training]):
    """What a training waits for, and of whom."""

    number = serializers.IntegerField(source="round")
    attempt = serializers.IntegerField(help_text="Grows whenever a round is gone through again.")
    phase = serializers.ChoiceField(PhaseName.choices)
    since = serializers.DateTimeField(
        source="phase_since", allow_null=True, help_text="When the answers were asked for."
    )
    deadline = serializers.DateTimeField(allow_null=True)
    asked = serializers.SerializerMethodField(help_text="Who was asked.")
    awaited = serializers.SerializerMethodField(help_text="Who of them may still answer.")
    target = serializers.SerializerMethodField(help_text="How many answers close the round.")
    quorum = serializers.SerializerMethodField(
        help_text="How many are enough when no more come in time."
    )

    @property
    def _quorum(self) -> Quorum:
        quorum: Quorum = self.context["quorum"]  # counted once for the whole training
        return quorum

    def get_asked(self, _: Training) -> list[UUID]:  # noqa: D102
        return sorted(self._quorum.asked)

    def get_awaited(self, training: Training) -> list[UUID]:  # noqa: D102
        return sorted(self._quorum.awaited) if training.is_running else []

    def get_target(self, _: Training) -> int:  # noqa: D102
        return self._quorum.target

    def get_quorum(self, _: Training) -> int:  # noqa: D102
        return self._quorum.needed


class TrainingSerializerWithRounds(TrainingSerializer):
    """A training and how far its present round is."""

    local_models_arrived = serializers.SerializerMethodField(
        help_text="Updates that are there for the present round."
    )
    local_models_expected = serializers.SerializerMethodField(help_text="Updates that complete it.")
    round = serializers.SerializerMethodField()

    class Meta(TrainingSerializer.Meta):
        fields = [
            *TrainingSerializer.Meta.fields,
            "local_models_arrived",
            "local_models_expected",
            "round",
        ]
        read_only_fields = fields

    def to_representation(self, training: Training) -> dict[str, Any]:
        """Count once for all fields, but anew if the training has moved on meanwhile."""
        self._quorum = phase_of(training).quorum()
        shown = super().to_representation(training)
        if training.has_moved_on:  # what answered its last phase has been merged and closed
            return self.to_representation(Training.objects.get(pk=training.pk))
        return shown

    def get_local_models_arrived(self, training: Training) -> int:
        """Count the present round's updates."""
        phase = UpdatePhase(training)
        return len(self._quorum.answered) if phase.is_open else phase.answers().count()

    def get_local_models_expected(self, training: Training) -> int:
        """Count whose updates are waited for: before and between rounds, all participants'."""
        if UpdatePhase(training).is_open:
            return min(self._quorum.target, len(self._quorum.left))
        return len(ids_of(training, "participants"))

    @extend_schema_field(RoundSerializer)
    def get_round(self, training: Training) -> Any:  # noqa: D102
        return RoundSerializer(training, context={"quorum": self._quorum}).data
