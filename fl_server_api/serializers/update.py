"""What participants hand in: the forms that come with updates and SWAG moments."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from fl_archive.encoded import Encoding
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
    encoding = fields.Enum(
        Encoding,
        by_value=fields.String(),
        load_default=Encoding.STATE,
        metadata={
            "description": "What the floating-point tensors are: the trained weights (`state`), "
            "their differences from the global model's (`delta`), or some of these differences "
            "alone (`topk`): `<name>.topk_indices`, which ascend, and `<name>.topk_values`."
        },
    )
    base = fields.String(
        load_default="",
        metadata={
            "description": "The ETag with which the model that was trained had been downloaded. "
            "An update made from another version than the present one is refused; `delta` and "
            "`topk` need it."
        },
    )
    owner = fields.Raw(
        metadata={"description": "Ignored: the caller is the owner.", "type": "string"}
    )

    @validates_schema
    def check_base(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a difference that doesn't say from what."""
        if data["encoding"] != Encoding.STATE and not data["base"]:
            raise ValidationError(f"Needed where encoding is {data['encoding']}.", "base")
