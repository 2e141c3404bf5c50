"""Metrics: how they are shown and reported."""

import base64
from typing import Any

from django.conf import settings
from marshmallow import fields, validate
from rest_framework import serializers
from rest_framework.exceptions import ParseError

from fl_server_api.serializers.fields import MAX_ITEMS, FormSchema, short_text
from fl_server_core.models import Metric
from fl_server_core.models.metric import MetricValue


class MetricSerializer(serializers.ModelSerializer[Metric]):
    """A value under a name: a number, or base64 of what was sent instead."""

    value_binary = serializers.SerializerMethodField()

    class Meta:
        model = Metric
        fields = [
            "id",
            "model",
            "identifier",
            "key",
            "value_float",
            "value_binary",
            "step",
            "reporter",
        ]
        read_only_fields = fields

    def get_value_binary(self, metric: Metric) -> str | None:
        """Encode the bytes for JSON."""
        if metric.value_binary is None:
            return None
        return base64.b64encode(bytes(metric.value_binary)).decode()


class ReportedValue(fields.Field[Any]):
    """A text, or in JSON a number."""

    default_error_messages = {
        "invalid": "Not a valid string or number.",
        "long": "Longer than {limit} bytes.",
    }

    def __init__(self, **kwargs: Any) -> None:
        either = {"oneOf": [{"type": "string"}, {"type": "number"}]}
        super().__init__(metadata=either, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> str | float:  # noqa: ARG002
        if isinstance(value, str):
            if len(value.encode()) > settings.FL_MAX_METRIC_BYTES:
                raise self.make_error("long", limit=settings.FL_MAX_METRIC_BYTES)
            return value
        try:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
        except OverflowError:
            pass
        raise self.make_error("invalid")


class MetricsSchema(FormSchema):
    """Metrics in two lists of the same length."""

    metric_names = fields.List(
        short_text(), load_default=list, validate=validate.Length(max=MAX_ITEMS)
    )
    metric_values = fields.List(
        ReportedValue(), load_default=list, validate=validate.Length(max=MAX_ITEMS)
    )


def pair_metrics(form: dict[str, Any]) -> list[tuple[str, MetricValue]]:
    """Return what a loaded form reports, by name; an empty list for no metrics."""
    names, values = form["metric_names"], form["metric_values"]
    if bool(names) != bool(values):
        raise ParseError("Metric names or values are missing")
    if len(names) != len(values):
        raise ParseError("Metric names and values must have the same length")
    return list(zip(names, values, strict=True))


def require_metrics(form: dict[str, Any]) -> list[tuple[str, MetricValue]]:
    """Return what a loaded form reports, which has to be something."""
    metrics = pair_metrics(form)
    if not metrics:
        raise ParseError("Metric names or values are missing")
    return metrics
