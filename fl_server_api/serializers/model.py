"""Models: how each kind is shown, and what uploads hold."""

from functools import cached_property
from typing import Any

import marshmallow
from django.conf import settings
from django.utils import timezone
from marshmallow import fields, post_load, validate
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError

from fl_server_ai.inference.stats import tensor_stats, want_stats
from fl_server_api.serializers.fields import (
    BIG,
    SMALL,
    FormSchema,
    Upload,
    WholeNumber,
    ids,
    long_text,
    short_text,
)
from fl_server_api.serializers.related import RelatedIds
from fl_server_api.waiting import SUMMARIES, wait_for
from fl_server_core.models import LocalModel, MeanModel, Model, ModelStats, User
from fl_server_core.models.model import ModelKind
from fl_server_core.options import Precision

MAX_DIMENSIONS = 64
MAX_MEMBERS = 100
"""Members of a MEAN model: every list of models shows them, and a prediction loads each."""

_MEMBERS = ids()

INPUT_SHAPE = serializers.ListField(
    child=serializers.IntegerField(allow_null=True),
    read_only=True,
    allow_null=True,
    help_text="Sizes per dimension; null matches any size.",
)


class GlobalModelSerializer(serializers.ModelSerializer[Model]):
    """A model that can be trained and served."""

    input_shape = INPUT_SHAPE
    has_preprocessing = serializers.SerializerMethodField()

    class Meta:
        model = Model
        fields = [
            "id",
            "owner",
            "round",
            "name",
            "description",
            "input_shape",
            "has_preprocessing",
        ]
        read_only_fields = fields

    def get_has_preprocessing(self, model: Model) -> bool:  # noqa: D102
        return bool(model.preprocessing_file)


class MeanModelSerializer(GlobalModelSerializer):
    """The mean of several models."""

    models: Any = RelatedIds(source="members")

    class Meta(GlobalModelSerializer.Meta):
        model = MeanModel
        fields = [*GlobalModelSerializer.Meta.fields, "models"]
        read_only_fields = fields


class LocalModelSerializer(serializers.ModelSerializer[LocalModel]):
    """A participant's update."""

    class Meta:
        model = LocalModel
        fields = ["id", "owner", "round", "base_model", "sample_size"]
        read_only_fields = fields


KINDS: dict[str, type[serializers.ModelSerializer[Any]]] = {
    ModelKind.GLOBAL: GlobalModelSerializer,
    ModelKind.SWAG: GlobalModelSerializer,
    ModelKind.MEAN: MeanModelSerializer,
    ModelKind.LOCAL: LocalModelSerializer,
}


class ModelStatsSerializer(serializers.Serializer[Model]):
    """What is told of a single model of any kind."""

    has_preprocessing = serializers.SerializerMethodField(
        help_text="An update is served with its base model's."
    )
    stats = serializers.SerializerMethodField(
        help_text="A summary of the layers; of weights alone, of the tensors."
    )

    def get_has_preprocessing(self, model: Model) -> bool:  # noqa: D102
        return bool(model.global_model.preprocessing_file)

    def get_stats(self, model: Model) -> dict[str, Any] | None:
        """Return the summary, if there is one in time; else the next request may see it."""
        if model.global_model.weights_only:
            return tensor_stats(model.global_model)
        row = want_stats(model)
        if row is None:
            return None
        wait = settings.FL_STATS_WAIT_SECONDS - (timezone.now() - row.asked_at).total_seconds()
        rows = ModelStats.objects.filter(pk=row.pk).exclude(computed_at=None)
        user = self.context["user"]
        found = wait_for(lambda: list(rows.all()), max(wait, 0), places=SUMMARIES, user=user)
        return found[0].stats if found else None


class ModelSerializer(serializers.BaseSerializer[Any]):
    """A model of any kind, each with its own fields."""

    also: type[serializers.Serializer[Model]] | None = None

    def to_representation(self, instance: Model) -> dict[str, Any]:  # noqa: D102
        shown: dict[str, Any] = self._kinds[instance.kind].to_representation(instance)
        if self.also:
            shown |= self.also(instance, context=self.context).data
        return shown

    @cached_property
    def _kinds(self) -> dict[str, serializers.ModelSerializer[Any]]:
        """One serializer of each kind for a whole list, because making its fields takes long."""
        return {kind: serializer() for kind, serializer in KINDS.items()}


class ModelMetadataSerializer(ModelSerializer):
    """A model, whether it has preprocessing, and a summary of its layers."""

    also = ModelStatsSerializer


class InputShape(fields.List[Any]):
    """Sizes per dimension, `None` or `null` for any; what makes no sense counts as not given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(WholeNumber(allow_none=True), **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> Any:  # noqa: ARG002
        sizes = value if isinstance(value, list) else [value]
        try:
            shape = [_read_size(size) for size in sizes]
        except (ValueError, TypeError):
            return None
        return shape if 0 < len(shape) <= MAX_DIMENSIONS else None


def _read_size(size: object) -> int | None:
    if size is None or str(size).strip().lower() in ("none", "null"):
        return None
    if isinstance(size, bool) or not 0 < (number := int(str(size))) <= BIG:
        raise ValueError(size)
    return number


class ModelDescriptionSchema(FormSchema):
    """What is said about a model when it is uploaded."""

    name = short_text(required=True)
    description = long_text(required=True)
    type = fields.String(
        load_default="GLOBAL",
        metadata={"description": "GLOBAL, SWAG or MEAN, in any case."},
    )
    round = WholeNumber(load_default=0, validate=validate.Range(0, SMALL))
    input_shape = InputShape(
        load_default=None,
        allow_none=True,
        metadata={"description": "Sizes per dimension; `None` or `null` for any size."},
    )

    def missing(self, name: str) -> APIException:  # noqa: D102
        return ValidationError([f"Missing required field: {name}"])

    @post_load
    def name_kind(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Give the type the name that rows have for it."""
        kind = data.pop("type").upper()
        if kind not in (ModelKind.GLOBAL, ModelKind.SWAG, ModelKind.MEAN):
            raise ValidationError({"type": ["Must be one of: GLOBAL, SWAG, MEAN."]})
        return data | {"kind": ModelKind(kind)}


class UploadModelSchema(ModelDescriptionSchema):
    """The form that comes with a model file."""

    model_file = Upload(required=True)
    model_preprocessing_file = Upload()


class TensorsSchema(FormSchema):
    """Which of a model's tensors are downloaded, and in how many bits."""

    part = fields.String(
        load_default="",
        validate=validate.OneOf(["exchanged"]),
        metadata={"description": "The tensors that its training exchanges, as safetensors."},
    )
    dtype = fields.String(
        load_default="",
        validate=validate.OneOf(Precision.values),
        metadata={
            "description": "Safetensors with float tensors in this type where that is smaller. "
            "Those of `int8` have scales beside them, `<name>.int8_scale`, one for each of the "
            "first dimension."
        },
    )


class CreateMeanModelSchema(ModelDescriptionSchema):
    """A model without a file: the mean of others."""

    models = ids(required=True)


def read_members(user: User, body: dict[str, Any]) -> list[Model]:
    """Return the models that a MEAN model is to be made of, each as the user's own."""
    if "models" not in body:
        raise ValidationError(["Missing required field: models"])
    if not isinstance(body["models"], list):
        raise ValidationError(["Invalid type for field: models"])
    try:
        wanted: set[Any] = set(_MEMBERS.deserialize(body["models"]))
    except marshmallow.ValidationError as error:
        raise ValidationError(["Invalid model UUIDs found."]) from error
    if len(wanted) > MAX_MEMBERS:
        raise ValidationError([f"A MEAN model has up to {MAX_MEMBERS} models."])
    members = list(Model.objects.visible().filter(pk__in=wanted).exclude(kind=ModelKind.MEAN))
    if not members or len(members) < len(wanted):
        raise ValidationError(["Invalid model UUIDs found."])
    if any(member.owner_id != user.pk for member in members):
        raise ValidationError(["Invalid model selection. Insufficient model permissions."])
    return members


class PreprocessingSchema(FormSchema):
    """The form that comes with a preprocessing file."""

    model_preprocessing_file = Upload(required=True)


class ServingSchema(FormSchema):
    """The form that comes with code to predict with."""

    serving_file = Upload(required=True)


class ModelUploadedSerializer(serializers.Serializer[Any]):
    """A new model's id."""

    detail = serializers.CharField()
    model_id = serializers.UUIDField()
