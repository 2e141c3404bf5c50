"""What participants hand in: the forms that come with updates and SWAG moments."""

from marshmallow import fields, validate

from fl_server_api.serializers.fields import BIG, FormSchema, Upload, WholeNumber
from fl_server_api.serializers.metric import MetricsSchema


class AnswerSchema(FormSchema):
    """What a participant says about what it hands in."""

    round = WholeNumber(
        required=True,
        metadata={
            "description": "The round that it is for: the current. A form without it is answered "
            """`{"detail": "'round'"}`, which names the missing field."""
        },
    )
    sample_size = WholeNumber(
        required=True,
        validate=validate.Range(0, BIG),
        metadata={"description": "On how many samples the model was trained; the weight."},
    )


class MomentsSchema(AnswerSchema):
    """The form that comes with SWAG moments."""

    first_moment_file = Upload(required=True)
    second_moment_file = Upload(required=True)


class UpdateSchema(MetricsSchema, AnswerSchema):
    """The form that comes with an update."""

    model_file = Upload(required=True)
    owner = fields.Raw(
        metadata={"description": "Ignored: the caller is the owner.", "type": "string"}
    )
