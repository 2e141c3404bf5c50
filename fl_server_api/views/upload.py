"""Uploads in parts, by the tus protocol."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from rest_framework import status
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from fl_server_api import tus
from fl_server_api.documented.upload import documented
from fl_server_api.utils import AuthenticatedRequest, find_upload
from fl_server_api.views.base import ViewSet
from fl_server_api.waiting import POLLS
from fl_server_core import resumable


@documented
class Upload(ViewSet):
    """Files that come in parts; nobody but who has begun an upload can go on with it."""

    permission_classes = [IsAuthenticated]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Take the method that is meant."""
        request.method = tus.method_of(request)
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse other versions of the protocol, once the caller is known."""
        super().initial(request, *args, **kwargs)
        tus.check_version(request)

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        """Name the version in every answer."""
        response: Response = super().finalize_response(*args, **kwargs)
        return tus.name_version(response)

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002
        """Tell what of the protocol the server knows, and how long an upload may be."""
        return tus.answer_options()

    def create(self, request: AuthenticatedRequest) -> Response:
        """Begin an upload.

        `Location` is where its parts go, by PATCH; its id is given as `model_file_upload`, or
        beside any other field for a file, where that file is asked for. The first part may come
        along as the body. OPTIONS tells which extensions of tus 1.0.0 there are.
        """
        length, metadata = tus.read_length(request), tus.read_metadata(request)
        part = tus.find_part(request)
        upload = resumable.create(owner=request.user, length=length, metadata=metadata)
        if part:
            with resumable.known_or_gone(upload):
                resumable.receive(upload, part)
        location = f"{request.path}{upload.pk}/"
        return tus.answer(upload, status.HTTP_201_CREATED, Location=location)

    def show(self, request: AuthenticatedRequest, id: str) -> Response:
        """Tell how far an upload is; a part that is on its way is waited for, for a moment."""
        upload = find_upload(request.user, id)
        with POLLS.place(request.user.pk) as may_wait:
            if may_wait:
                resumable.settle(upload)
        return tus.answer(upload, status.HTTP_200_OK)

    def receive(self, request: AuthenticatedRequest, id: str) -> Response:
        """Go on with an upload.

        What has come counts, also where the connection ends before the part does.
        """
        upload = find_upload(request.user, id)
        resumable.receive(upload, tus.read_part(request))
        return tus.answer(upload, status.HTTP_204_NO_CONTENT)

    def destroy(self, request: AuthenticatedRequest, id: str) -> Response:
        """Remove an upload."""
        resumable.remove(find_upload(request.user, id))
        return Response(status=status.HTTP_204_NO_CONTENT)
