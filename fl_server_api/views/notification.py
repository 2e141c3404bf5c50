"""Notifications, for clients that fetch them."""

import time

from rest_framework import status
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from fl_server_api.documented.notification import documented
from fl_server_api.permissions import IsReceiver
from fl_server_api.serializers.notification import NotificationSerializer, WaitSchema
from fl_server_api.utils import AuthenticatedRequest
from fl_server_api.views.base import ViewSet
from fl_server_api.waiting import POLLS, TURNED_AWAY, wait_for
from fl_server_core import models
from fl_server_core.models.notification import pending_for
from fl_server_core.news import LISTENER


@documented
class Notification(ViewSet):
    """What a client behind a firewall asks for instead of being called."""

    permission_classes = [IsAuthenticated, IsReceiver]

    def list(self, request: AuthenticatedRequest) -> Response:
        """List the caller's undelivered notifications, oldest first.

        Waits up to `wait` seconds for one to come. A server with many waiting clients
        answers at once, and says by `Retry-After` when to ask again.
        """
        begun = time.monotonic()
        wait = WaitSchema().read(request.query_params.dict())["wait"]
        user = request.user.pk
        found = wait_for(
            lambda: pending_for(user), wait, places=POLLS, user=user, listener=LISTENER
        )
        turned_away = not found and time.monotonic() - begun < wait
        response = self.listed(found, NotificationSerializer)
        if turned_away:
            response["Retry-After"] = f"{TURNED_AWAY.pause(user)}"
        return response

    def ack(self, request: AuthenticatedRequest, id: str) -> Response:  # noqa: ARG002
        """Mark a notification as delivered; again changes nothing."""
        notification = self.get_entity(models.Notification, id)
        models.Notification.objects.filter(pk=notification.pk).deliver()
        return Response(status=status.HTTP_204_NO_CONTENT)
