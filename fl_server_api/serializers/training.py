"""Trainings: the requests that open one and change who takes part."""

import inspect
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema
from rest_framework import serializers

from fl_server_ai.aggregation.strategies import STRATEGIES
from fl_server_ai.uncertainty.registry import METHODS
from fl_server_api.serializers.fields import MAX_ITEMS, SMALL, WholeNumber, ids, short_text
from fl_server_api.serializers.options import OptionsSchema, check_size, schema_of
from fl_server_core.options import TrainingOptions, types_of


@dataclass(frozen=True)
class CreateTrainingRequest:
    """A training to be opened."""

    model_id: UUID
    target_num_updates: int
    metric_names: list[str]
    aggregation_method: str
    uncertainty_method: str = "NONE"
    options: dict[str, Any] = field(default_factory=dict)
    clients: list[UUID] = field(default_factory=list)


@dataclass(frozen=True)
class ClientAdministrationBody:
    """Users who are to take part in a training, or no longer."""

    clients: list[UUID]


def describe_strategies() -> str:
    """Return a sentence on each strategy, with the options that it has."""
    lines = []
    for name, strategy in STRATEGIES.items():
        names = ", ".join(f"`{option}`" for option in types_of(strategy.Options))
        options = f" `options.aggregation`: {names}." if names else ""
        lines.append(f"- `{name}`: {inspect.getdoc(strategy)}{options}")
    return "\n".join(lines)


class CreateTrainingRequestSchema(Schema):
    """The body of `POST /trainings/`."""

    model_id = fields.UUID(required=True)
    target_num_updates = WholeNumber(
        required=True, validate=validate.Range(1, SMALL), metadata={"description": "Merges."}
    )
    metric_names = fields.List(short_text(), required=True, validate=validate.Length(max=MAX_ITEMS))
    aggregation_method = fields.String(
        required=True,
        validate=validate.OneOf(STRATEGIES),
        metadata={"description": "How updates become the next model, and how often."},
    )
    uncertainty_method = fields.String(
        validate=validate.OneOf(METHODS),
        metadata={"description": "How predictions and their uncertainty are found."},
    )
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
        """Return the request, with the method's own options as its class has them."""
        options = data.get("options", {})
        schema = schema_of(STRATEGIES[data["aggregation_method"]].Options)()  # type: ignore[arg-type]  # mypy takes dataclasses for unhashable
        try:
            wanted = schema.load(options.get("aggregation") or {})
        except ValidationError as error:
            raise ValidationError({"options": {"aggregation": error.messages}}) from error
        if wanted:
            options["aggregation"] = wanted
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
