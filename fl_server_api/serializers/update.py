"""Local updates: the form that comes with one."""

from marshmallow import fields, validate

from fl_server_api.serializers.fields import BIG, Upload, WholeNumber
from fl_server_api.serializers.metric import MetricsSchema


class UpdateSchema(MetricsSchema):
    """What a participant says about its update."""

    round = WholeNumber(
        required=True, metadata={"description": "The round that the update is for: the current."}
    )
    sample_size = WholeNumber(
        required=True,
        validate=validate.Range(0, BIG),
        metadata={"description": "On how many samples it was trained; its weight."},
    )
    model_file = Upload(required=True)
    owner = fields.Raw(
        metadata={"description": "Ignored: the caller is the owner.", "type": "string"}
    )
