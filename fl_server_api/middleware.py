"""What is decided about a request before its body is read."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware import common
from rest_framework import status

UPLOADS = {"/api/models/": "FL_MAX_UPLOAD_BYTES", "/api/inference/": "FL_MAX_INFERENCE_BYTES"}
"""Where files come in, and up to what: nobody without credentials gets to send any there."""

Answer = Callable[[HttpRequest], HttpResponseBase]


class BodyLimit:
    """Refuses bodies that are too large, or that don't say how large they are."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 411 or 413, or pass the request on."""
        length = request.headers.get("Content-Length", "")
        if not length and "Transfer-Encoding" in request.headers:
            return _refuse(status.HTTP_411_LENGTH_REQUIRED, "A Content-Length is required.")
        limit = self._limit(request)
        if length.isdecimal() and int(length.lstrip("0")[:20] or 0) > limit:
            return _refuse(
                status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
                f"The request's body is larger than {limit} bytes.",
            )
        return self.get_response(request)

    def _limit(self, request: HttpRequest) -> int:
        """Files go to disk as they come, where there are any; else a body is read into memory."""
        if request.content_type == "multipart/form-data":
            for path, setting in UPLOADS.items():
                if request.path_info.startswith(path):
                    return int(getattr(settings, setting))
        return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)


def _refuse(code: int, detail: str) -> HttpResponse:
    return JsonResponse({"detail": detail}, status=code)


class CommonMiddleware(common.CommonMiddleware):
    """Django's, which redirects to the path with a closing slash.

    With DEBUG on, Django's raises for a POST instead of redirecting it.
    """

    def get_full_path_with_slash(self, request: HttpRequest) -> str:
        """Return the path with the slash; never one that leads to another host."""
        return "/" + request.get_full_path(force_append_slash=True).lstrip("/")
