"""What all views share."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from rest_framework import viewsets
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from fl_server_api.pagination import Pages
from fl_server_api.renderers import StreamRenderer
from fl_server_api.utils import Source, get_entity
from fl_server_core.links import with_ids
from fl_server_core.log_context import note

M = TypeVar("M", bound=Model)


class ViewSet(viewsets.ViewSet):
    """A ViewSet whose methods may carry DRF's decorators.

    `@authentication_classes`, `@permission_classes`, `@parser_classes` and `@renderer_classes` on
    a method go before what the class says.
    """

    pagination_class = Pages

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Read every body as UTF-8, whatever its Content-Type claims."""
        request.encoding = "utf-8"
        self.request = cast(Request, request)  # drf-spectacular reads it before there is one
        return super().initialize_request(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Have the log know who it is."""
        super().perform_authentication(request)
        note(user=request.user.pk)

    def get_authenticators(self) -> list[BaseAuthentication]:  # noqa: D102
        return [policy() for policy in self._policies("authentication_classes")]

    def get_permissions(self) -> Sequence[BasePermission]:  # noqa: D102
        return [policy() for policy in self._policies("permission_classes")]

    def get_parsers(self) -> list[BaseParser]:  # noqa: D102
        return [policy() for policy in self._policies("parser_classes")]

    def get_renderers(self) -> list[BaseRenderer]:  # noqa: D102
        return [policy() for policy in self._policies("renderer_classes")]

    def handle_exception(self, exc: Exception) -> Response:
        """Tell in JSON what went wrong, whatever was to be streamed."""
        if isinstance(getattr(self.request, "accepted_renderer", None), StreamRenderer):
            self.request.accepted_renderer = JSONRenderer()
            self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)

    def get_entity(self, source: Source[M], id: object, name: str = "") -> M:
        """Return the row with this id if the caller may do to it what the method does."""
        entity = get_entity(source, id, name)
        self.check_object_permissions(self.request, entity)
        return entity

    def listed(
        self,
        rows: QuerySet[M] | list[M],
        serializer: type[BaseSerializer[Any]],
        *,
        ids: str = "",
        context: dict[str, Any] | None = None,
    ) -> Response:
        """Answer with these rows, or with the page of them that is asked for.

        `ids` is a relation of theirs whose ids are shown.
        """
        pages = self.pagination_class()
        page = pages.paginate_queryset(rows, self.request, self)
        shown = rows if page is None else page
        shown = with_ids(shown, ids) if ids else shown
        data = serializer(shown, many=True, context=context or {}).data
        return Response(data) if page is None else pages.get_paginated_response(data)

    def require(self, permission: type[BasePermission], row: Model) -> None:
        """Refuse a caller who lacks a permission that depends on what was sent."""
        if not permission().has_object_permission(self.request, self, row):
            self.permission_denied(self.request)

    def _policies(self, kind: str) -> Sequence[Any]:
        # DRF asks for authenticators before it sets `action`.
        method = self.action_map.get((self.request.method or "").lower())
        handler = getattr(self, method, None) if method else None
        policies: Sequence[Any] = getattr(handler, kind, getattr(self, kind))
        return policies
