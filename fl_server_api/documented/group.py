"""The documented answers about groups."""

from drf_spectacular.utils import extend_schema

from fl_server_api.openapi import answers, described
from fl_server_api.permissions import IsGroupMember, IsSuperuser
from fl_server_api.serializers.user import GroupSerializer

UNKNOWN = {"detail": "Group 7 not found."}
STRANGER = {"detail": IsGroupMember.message}
NAMELESS = {"name": ["This field is required."]}

documented = described(
    list=extend_schema(
        responses=answers(
            {200: GroupSerializer(many=True)}, {403: [{"detail": IsSuperuser.message}]}
        )
    ),
    create=extend_schema(
        request=GroupSerializer, responses=answers({201: GroupSerializer}, {400: [NAMELESS]})
    ),
    retrieve=extend_schema(
        responses=answers({200: GroupSerializer}, {400: [UNKNOWN], 403: [STRANGER]})
    ),
    update=extend_schema(
        request=GroupSerializer,
        responses=answers({200: GroupSerializer}, {400: [NAMELESS, UNKNOWN], 403: [STRANGER]}),
    ),
    partial_update=extend_schema(
        request=GroupSerializer,
        responses=answers({200: GroupSerializer}, {400: [UNKNOWN], 403: [STRANGER]}),
    ),
    destroy=extend_schema(responses=answers({204: None}, {400: [UNKNOWN], 403: [STRANGER]})),
)
