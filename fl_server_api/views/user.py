"""Users."""

from rest_framework import decorators, status
from rest_framework.response import Response

from fl_server_api.documented.user import documented
from fl_server_api.permissions import MayRegister, invitation_code
from fl_server_api.serializers.generic import TrainingSerializer
from fl_server_api.serializers.user import (
    ChangeUserSerializer,
    CreateUserSerializer,
    GroupSerializer,
    MyselfSerializer,
    OwnUserSerializer,
    UserSerializer,
)
from fl_server_api.utils import AuthenticatedRequest, get_entity, read_body
from fl_server_api.views.base import ViewSet
from fl_server_core import models, users
from fl_server_core.throttles import REGISTRATIONS, address_of


@documented
class User(ViewSet):
    """Clients, actors and operators."""

    def list(self, request: AuthenticatedRequest) -> Response:
        """List all users.

        Where others are reached, `email` and `message_endpoint`, is left empty but for staff.
        """
        everybody = models.User.objects.order_by("date_joined", "pk")
        return self.listed(everybody, UserSerializer, context={"viewer": request.user})

    @decorators.authentication_classes([])
    @decorators.permission_classes([MayRegister])
    def create(self, request: AuthenticatedRequest) -> Response:
        """Register a user.

        Needs no credentials, and ignores any. A user name and a password suffice; the
        answer holds the token to come with from then on.
        """
        REGISTRATIONS.take(address_of(request))
        serializer = CreateUserSerializer(data=read_body(request))
        serializer.is_valid(raise_exception=True)
        user = users.register(invitation=invitation_code(request), **serializer.validated_data)
        shown = OwnUserSerializer(user, context={"viewer": user}).data
        return Response(shown, status.HTTP_201_CREATED)

    def retrieve(self, request: AuthenticatedRequest, id: str) -> Response:
        """Show a user.

        Where others are reached, `email` and `message_endpoint`, is left empty but for staff.
        """
        user = get_entity(models.User, id)
        shown = OwnUserSerializer if user == request.user else UserSerializer
        return Response(shown(user, context={"viewer": request.user}).data)

    def myself(self, request: AuthenticatedRequest) -> Response:
        """Show the caller."""
        return Response(MyselfSerializer(request.user, context={"viewer": request.user}).data)

    def change(self, request: AuthenticatedRequest) -> Response:
        """Change the caller's own name, address, endpoint, secret, password or willingness.

        What isn't sent stays. A new password needs the old one, and ends all sessions; the token
        stays. Undelivered notifications go to a new endpoint.
        """
        serializer = ChangeUserSerializer(request.user, data=read_body(request), partial=True)
        serializer.is_valid(raise_exception=True)
        users.change_user(request.user, **serializer.validated_data)
        return self.myself(request)

    def renew_token(self, request: AuthenticatedRequest) -> Response:
        """Make a new token for the caller; the one it had ends."""
        return Response({"token": users.renew_token(request.user).key}, status.HTTP_201_CREATED)

    def groups(self, request: AuthenticatedRequest) -> Response:
        """List the caller's groups."""
        return self.listed(request.user.groups.order_by("pk"), GroupSerializer)

    def trainings(self, request: AuthenticatedRequest) -> Response:
        """List the trainings that the caller runs or takes part in."""
        rows = models.Training.objects.involving(request.user)
        return self.listed(rows, TrainingSerializer, ids="participants")
