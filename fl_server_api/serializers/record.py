"""The record of a training, as it is signed."""

import platform
from functools import cache
from importlib.metadata import version
from typing import Any

from django.utils import timezone
from marshmallow import validate
from rest_framework import serializers

from fl_server_ai.trainer.record import Asked, Missing, Record
from fl_server_ai.trainer.silence import Silence
from fl_server_api.serializers.checkpoint import CheckpointSerializer, MergedUpdateSerializer
from fl_server_api.serializers.fields import SMALL, FormSchema, WholeNumber
from fl_server_core.models import Model, Training, User

SCHEMA = 1
"""Grows when a field of the record changes its meaning or goes; new ones may come."""

PACKAGES = ("fl-server", "torch", "numpy", "Django")


class RecordSchema(FormSchema):
    """Which rounds of a training are wanted."""

    first_round = WholeNumber(
        load_default=0,
        validate=validate.Range(0, SMALL),
        metadata={"description": "The first round that is wanted."},
    )
    last_round = WholeNumber(
        load_default=None,
        validate=validate.Range(0, SMALL),
        metadata={"description": "The last; without it all that there are."},
    )


class PersonSerializer(serializers.ModelSerializer[User]):
    """A user, as everybody in the training knows it."""

    class Meta:
        model = User
        fields = ["id", "username"]
        read_only_fields = fields


class RecordedUpdateSerializer(MergedUpdateSerializer):
    """An update that a version was merged from, and whose it is."""

    owner = PersonSerializer()
    sample_size = serializers.CharField(
        help_text="As its owner reported it: digits, because it may be too large for a number."
    )


class VersionSerializer(CheckpointSerializer):
    """A version of the global model, and what made it: nothing the first, which was uploaded."""

    updates = RecordedUpdateSerializer(many=True, read_only=True)

    class Meta(CheckpointSerializer.Meta):
        fields = [
            name for name in CheckpointSerializer.Meta.fields if name not in ("model", "stored")
        ]
        read_only_fields = fields


class MissingSerializer(serializers.Serializer[Missing]):
    """Somebody who was asked and has not answered."""

    user = PersonSerializer()
    because = serializers.ChoiceField(Silence.choices)


class AskedSerializer(serializers.Serializer[Asked]):
    """One call of a round and attempt."""

    type = serializers.CharField(help_text="The notification's type: what was asked for.")
    round = serializers.IntegerField()
    attempt = serializers.IntegerField()
    asked = serializers.IntegerField(help_text="How many users got the call.")
    missing = MissingSerializer(many=True)


class RecordedModelSerializer(serializers.ModelSerializer[Model]):
    """The global model, as it is now."""

    owner = PersonSerializer()

    class Meta:
        model = Model
        fields = ["id", "name", "owner", "round", "sha256", "size"]
        read_only_fields = fields


class RecordedTrainingSerializer(serializers.ModelSerializer[Training]):
    """What a training was to do."""

    actor = PersonSerializer()

    class Meta:
        model = Training
        fields = [
            "id",
            "actor",
            "state",
            "reason_code",
            "state_reason",
            "created_at",
            "target_num_updates",
            "aggregation_method",
            "uncertainty_method",
            "metric_names",
            "options",
        ]
        read_only_fields = fields


class RecordSerializer(serializers.Serializer[Record]):
    """Who made which version of a model, in which training; docs/record.md explains it."""

    schema = serializers.SerializerMethodField(help_text="The version of this format.")
    made_at = serializers.SerializerMethodField(help_text="By the server's clock.")
    software = serializers.SerializerMethodField(help_text="Versions, by name.")
    training = RecordedTrainingSerializer()
    model = RecordedModelSerializer(source="training.model")
    participants = PersonSerializer(many=True, help_text="Who takes part now.")
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    rounds = serializers.DictField(
        child=serializers.IntegerField(allow_null=True),
        help_text="The `first` and the `last` that versions and calls are of; null: all there are.",
    )
    versions = VersionSerializer(many=True)
    calls = AskedSerializer(many=True)

    def get_schema(self, _: Record) -> int:  # noqa: D102
        return SCHEMA

    def get_made_at(self, _: Record) -> str:  # noqa: D102
        return timezone.now().isoformat()

    def get_software(self, _: Record) -> dict[str, str]:  # noqa: D102
        return software()


class SignedRecordSerializer(serializers.Serializer[Any]):
    """A record with the server's signature."""

    record = RecordSerializer()
    signature = serializers.CharField(help_text="Base64.")
    key = serializers.CharField(help_text="The server's public key: 32 bytes in base64.")
    algorithm = serializers.CharField(help_text="`Ed25519`.")
    canonicalization = serializers.CharField(help_text="`RFC 8785`.")


@cache
def software() -> dict[str, str]:
    """Return what the server is made of, by what the packages say of themselves."""
    return {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
