"""Groups."""

from django.contrib.auth import models
from django.db import transaction
from rest_framework import decorators, status
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from fl_server_api.documented.group import documented
from fl_server_api.permissions import ChangesGroup, IsGroupMember, IsSuperuser
from fl_server_api.serializers.user import GroupSerializer
from fl_server_api.utils import AuthenticatedRequest, read_body
from fl_server_api.views.base import ViewSet
from fl_server_core import users


@documented
class Group(ViewSet):
    """Groups of users; members see and change them."""

    permission_classes = [IsAuthenticated, IsGroupMember]

    @decorators.permission_classes([IsAuthenticated, IsSuperuser])
    def list(self, request: AuthenticatedRequest) -> Response:  # noqa: ARG002
        """List all groups.

        Only superusers may.
        """
        return self.listed(models.Group.objects.order_by("pk"), GroupSerializer)

    def create(self, request: AuthenticatedRequest) -> Response:
        """Create a group.

        The creator becomes a member.
        """
        serializer = GroupSerializer(data=read_body(request))
        serializer.is_valid(raise_exception=True)
        group = users.create_group(member=request.user, **serializer.validated_data)
        return Response(GroupSerializer(group).data, status.HTTP_201_CREATED)

    def retrieve(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """Show a group to its members."""
        return Response(GroupSerializer(self.get_entity(models.Group.objects.all(), id)).data)

    @decorators.permission_classes([IsAuthenticated, ChangesGroup])
    def update(self, request: AuthenticatedRequest, id: str, *, partial: bool = False) -> Response:
        """Rename a group."""
        body = read_body(request)
        # Locked, because saving a group that was removed meanwhile would bring it back.
        with transaction.atomic():
            group = self.get_entity(models.Group.objects.select_for_update(), id)
            serializer = GroupSerializer(group, data=body, partial=partial)
            serializer.is_valid(raise_exception=True)
            if serializer.validated_data:
                users.rename_group(group, **serializer.validated_data)
        return Response(GroupSerializer(group).data)

    @decorators.permission_classes([IsAuthenticated, ChangesGroup])
    def partial_update(self, request: AuthenticatedRequest, id: str) -> Response:
        """Rename a group, if a name is given."""
        return self.update(request, id, partial=True)

    @decorators.permission_classes([IsAuthenticated, ChangesGroup])
    def destroy(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """Remove a group; its members stay."""
        users.remove_group(self.get_entity(models.Group.objects.all(), id))
        return Response(status=status.HTTP_204_NO_CONTENT)
