"""A training's options. Those that the server reads are checked, all others kept."""

import json
import math
from typing import Any

from django.conf import settings
from marshmallow import INCLUDE, Schema, ValidationError, fields, validate, validates_schema
from marshmallow.types import UnknownOption

from fl_server_ai.history import MAX, MIN
from fl_server_ai.plans import AUTO, CLIENTS, SERVER
from fl_server_ai.policy import DISCARD, REJECT
from fl_server_api.serializers.fields import BIG, SMALL, WholeNumber, short_text
from fl_server_core.models.training import Manager

MAX_RETRIES = 100
MAX_DEADLINE = 365 * 24 * 3600.0


class Number(fields.Float):
    """A finite number or its text: no true."""

    def _validated(self, value: Any) -> float:
        if isinstance(value, bool):
            raise self.make_error("invalid")
        number: float = super()._validated(value)
        return number


class Share(Number):
    """A whole number from 1 on, or a fraction between 0 and 1."""

    default_error_messages = {"share": "Must be a whole number from 1 on, or between 0 and 1."}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        number = super()._deserialize(value, *args, **kwargs)
        if number is None or 0 < number < 1:
            return number
        if not (1 <= number <= SMALL and math.floor(number) == number):
            raise self.make_error("share")
        return int(number)


class UncertaintyOptionsSchema(Schema):
    """How often a prediction is sampled, and what of."""

    N = WholeNumber(
        validate=validate.Range(1, SMALL), metadata={"description": "Samples; 10 if not given."}
    )
    softmax = fields.Boolean(metadata={"description": "Whether to apply softmax first."})
    swag = fields.String(
        validate=validate.OneOf([CLIENTS, SERVER, AUTO]),
        metadata={
            "description": "Who makes SWAG's moments: the participants, the server of its own last "
            "models, or (auto) the server where no participant does; auto."
        },
    )

    class Meta:
        unknown: UnknownOption | None = INCLUDE


class MetricGoalSchema(Schema):
    """A metric, and which way is better."""

    metric = short_text(required=True)
    goal = fields.String(
        validate=validate.OneOf([MAX, MIN]), metadata={"description": "Which is better; max."}
    )


class StopWhenSchema(MetricGoalSchema):
    """When a training has learned enough; at least one of `value` and `patience`."""

    value = Number(metadata={"description": "The mean over the participants that is enough."})
    patience = WholeNumber(
        validate=validate.Range(1, SMALL),
        metadata={"description": "Tested rounds without an improvement of that mean."},
    )
    min_delta = Number(
        validate=validate.Range(0), metadata={"description": "What counts as one is more; 0."}
    )

    @validates_schema
    def check_condition(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a condition that says nothing."""
        if not data.keys() & {"value", "patience"}:
            raise ValidationError("Give value or patience.")


class RoundOptionsSchema(Schema):
    """Who is asked in a round, how many answers it needs, how long it waits."""

    quorum = Share(
        metadata={"description": "With how few answers a round may close: a number, or a fraction."}
    )
    deadline_seconds = Number(
        validate=validate.Range(0, MAX_DEADLINE, min_inclusive=False),
        metadata={
            "description": "After this a round closes that has its quorum; none if not given."
        },
    )
    round_retries = WholeNumber(
        validate=validate.Range(0, MAX_RETRIES),
        metadata={
            "description": "How often a round without a quorum is begun anew before the training "
            "ends in an error; 1 with a deadline, else 0."
        },
    )
    sample = Share(
        metadata={"description": "How many participants a round asks: a number, or a fraction."}
    )
    over_selection = Number(
        validate=validate.Range(1, 100),
        metadata={
            "description": "How many times as many are asked: the round closes when the sample's "
            "number has answered; 1."
        },
    )
    late_updates = fields.String(
        validate=validate.OneOf([REJECT, DISCARD]),
        metadata={"description": "Whether an update for a closed round is a 400 or a 201."},
    )
    max_sample_size = WholeNumber(
        validate=validate.Range(1, BIG),
        metadata={"description": "A larger sample size counts as this; no limit if not given."},
    )
    max_share = Number(
        validate=validate.Range(0, 1, min_inclusive=False),
        metadata={
            "description": "How much of a merge one participant may make up; 1. Where there are "
            "too few for that, all count equally."
        },
    )
    stop_when = fields.Nested(StopWhenSchema)

    @validates_schema
    def check_sample(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse to select more than all."""
        if "over_selection" in data and "sample" not in data:
            raise ValidationError("Needs sample.", "over_selection")


class CheckpointOptionsSchema(Schema):
    """Which versions of the model are kept; the newest always is."""

    last = WholeNumber(
        validate=validate.Range(1, SMALL), metadata={"description": "So many of the newest."}
    )
    every = WholeNumber(
        validate=validate.Range(1, SMALL), metadata={"description": "Those of every n-th round."}
    )
    best = fields.Nested(
        MetricGoalSchema, metadata={"description": "The one with the best mean of a metric."}
    )


class OptionsSchema(Schema):
    """Options; keys that aren't known are kept for the clients."""

    daisy_chain_period = WholeNumber(
        validate=validate.Range(0, SMALL),
        metadata={
            "description": "Local rounds to a merge, for FedDC; 0, 1 or none merges every round."
        },
    )
    managed_by = fields.String(
        validate=validate.OneOf(Manager.values),
        metadata={
            "description": "Who changes the participants and starts: the actor and the "
            "participants, or the actor alone; a participant may always leave."
        },
    )
    uncertainty = fields.Nested(UncertaintyOptionsSchema)
    round = fields.Nested(RoundOptionsSchema)
    checkpoints = fields.Nested(CheckpointOptionsSchema)

    class Meta:
        unknown: UnknownOption | None = INCLUDE

    @validates_schema
    def check_chain(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a sample of a daisy chain: whoever sits out would break it."""
        if data.get("daisy_chain_period", 0) > 1 and "sample" in data.get("round", {}):
            raise ValidationError({"sample": ["Not with a daisy chain."]}, "round")


def check_size(options: dict[str, Any]) -> None:
    """Refuse options that are too long to be shown in every list of trainings."""
    if len(json.dumps(options)) > settings.FL_MAX_OPTIONS_BYTES:
        raise ValidationError(f"Longer than {settings.FL_MAX_OPTIONS_BYTES} bytes as JSON.")


def unknown_options(options: dict[str, Any], schema: Schema | None = None) -> list[str]:
    """Return what the server will not look at, as paths such as `uncertainty.n`."""
    known = (schema or OptionsSchema()).fields
    unknown = [name for name in options if name not in known]
    for name, value in options.items():
        field = known.get(name)
        if isinstance(field, fields.Nested) and isinstance(value, dict):
            unknown += [f"{name}.{inner}" for inner in unknown_options(value, field.schema)]
    return unknown
