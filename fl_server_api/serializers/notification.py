"""Notifications that a client fetches."""

from marshmallow import fields, validate
from rest_framework import serializers

from fl_server_api.serializers.fields import FormSchema
from fl_server_core.models import Notification

MAX_WAIT = 30
"""Seconds."""


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """The JSON that would be pushed, with an id to acknowledge and the time it was written."""

    notification_type = serializers.CharField(source="type", read_only=True)
    training_uuid = serializers.UUIDField(source="training_id", read_only=True)
    body = serializers.DictField(read_only=True)

    class Meta:
        model = Notification
        fields = ["id", "created_at", "notification_type", "training_uuid", "body"]
        read_only_fields = fields


class WaitSchema(FormSchema):
    """How long to wait for the first notification."""

    wait = fields.Float(
        load_default=0.0,
        validate=validate.Range(0, MAX_WAIT),
        metadata={"description": f"Seconds, up to {MAX_WAIT}."},
    )
