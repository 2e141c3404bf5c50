"""Trainings: the requests that open one and change who takes part."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema
from rest_framework import serializers

from fl_server_api.serializers.fields import MAX_ITEMS, SMALL, WholeNumber, ids, short_text
from fl_server_api.serializers.options import OptionsSchema, check_size
from fl_server_core.models.training import AggregationMethod, UncertaintyMethod
from fl_server_core.options import TrainingOptions


@dataclass(frozen=True)
class CreateTrainingRequest:
    """A training to be opened."""

    model_id: UUID
    target_num_updates: int
    metric_names: list[str]
    aggregation_method: AggregationMethod
    uncertainty_method: UncertaintyMethod = UncertaintyMethod.NONE
    options: dict[str, Any] = field(default_factory=dict)
    clients: list[UUID] = field(default_factory=list)


@dataclass(frozen=True)
class ClientAdministrationBody:
    """Users who are to take part in a training, or no longer."""

    clients: list[UUID]


class CreateTrainingRequestSchema(Schema):
    """The body of `POST /trainings/`."""

    model_id = fields.UUID(required=True)
    target_num_updates = WholeNumber(
        required=True, validate=validate.Range(1, SMALL), metadata={"description": "Merges."}
    )
    metric_names = fields.List(short_text(), required=True, validate=validate.Length(max=MAX_ITEMS))
    aggregation_method = fields.Enum(
        AggregationMethod,
        by_value=fields.String,
        required=True,
        metadata={"description": "How updates become the next model, and how often."},
    )
    uncertainty_method = fields.Enum(UncertaintyMethod, by_value=fields.String)
    options = fields.Nested(OptionsSchema, validate=check_size)
    clients = ids()

    @validates_schema
    def check_rounds(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse more local rounds than can be counted."""
        period = TrainingOptions.read(data.get("options")).chain_period
        if data["target_num_updates"] * period > SMALL:
            raise ValidationError("Too many rounds.", "target_num_updates")

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> CreateTrainingRequest:
        """Return the request."""
        return CreateTrainingRequest(**data)


class ClientAdministrationBodySchema(Schema):
    """The body of `PUT` and `DELETE /trainings/<id>/clients/`."""

    clients = ids(required=True)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> ClientAdministrationBody:
        """Return the body."""
        return ClientAdministrationBody(**data)


class RollbackBodySchema(Schema):
    """The body of `POST /trainings/<id>/rollback/`."""

    checkpoint = fields.UUID(
        required=True, metadata={"description": "One of `/models/<id>/checkpoints/`."}
    )


class NotifiedSerializer(serializers.Serializer[Any]):
    """How many participants were called again."""

    detail = serializers.CharField()
    notified = serializers.IntegerField()


class TrainingCreatedSerializer(serializers.Serializer[Any]):
    """A new training's id."""

    detail = serializers.CharField()
    training_id = serializers.UUIDField()
    unknown_options = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Options that are kept but mean nothing to the server; if there are any.",
    )
