"""The documented answers about notifications."""

from drf_spectacular.utils import OpenApiParameter, extend_schema

from fl_server_api.openapi import STRANGER, answers, described
from fl_server_api.serializers.notification import MAX_WAIT, NotificationSerializer

PAUSE = OpenApiParameter(
    "Retry-After",
    int,
    OpenApiParameter.HEADER,
    response=[200],
    description="Seconds; where too many wait already and the list is empty.",
)
WAIT = OpenApiParameter("wait", float, description=f"Seconds, up to {MAX_WAIT}.", default=0)
UNKNOWN = {"detail": "Notification 5e0c1f0a-3f0e-4a39-b0ac-52b3ffb7f6d4 not found."}

documented = described(
    list=extend_schema(
        parameters=[WAIT, PAUSE],
        responses=answers(
            {200: NotificationSerializer(many=True)},
            {400: [{"wait": ["Must be greater than or equal to 0 and less than or equal to 30."]}]},
        ),
    ),
    ack=extend_schema(
        request=None, responses=answers({204: None}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
)
