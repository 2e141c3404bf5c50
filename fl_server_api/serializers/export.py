"""A training's metrics as rows: which are asked for."""

from marshmallow import fields, validate

from fl_server_api.serializers.fields import FormSchema


class MetricsExportSchema(FormSchema):
    """Which rows are wanted."""

    shape = fields.String(
        load_default="long",
        validate=validate.OneOf(["long", "wide"]),
        metadata={"description": "A row for each value, or for each participant and round."},
    )
