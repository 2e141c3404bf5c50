"""What is decided about a request before its body is read, and how refusals are logged."""

import json
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, cast

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponsePermanentRedirect,
    JsonResponse,
    UnreadablePostError,
)
from django.http.request import split_domain_port
from django.middleware import common
from django.utils.functional import SimpleLazyObject
from django.utils.log import log_response
from rest_framework import status

from fl_server_api.encodings import ENCODINGS, Inflated
from fl_server_core.log_context import note

logger = logging.getLogger(__name__)

LIMITS = [
    ("/api/uploads/", "FL_MAX_UPLOAD_BYTES", "FL_SMALL_BODY_BYTES"),
    ("/api/models/", "FL_MAX_UPLOAD_BYTES", "FL_MAX_BODY_BYTES"),
    ("/api/inference/", "FL_MAX_INFERENCE_BYTES", "FL_MAX_INFERENCE_JSON_BYTES"),
    ("/models/[^/]+/$", "FL_MAX_INFERENCE_BYTES", "FL_MAX_INFERENCE_JSON_BYTES"),
    ("/api/trainings/$", "FL_MAX_BODY_BYTES", "FL_MAX_BODY_BYTES"),
]
"""Where bodies may be larger than FL_SMALL_BODY_BYTES: as FILES, and otherwise.

Requests without credentials don't get such a body read, because the views authenticate first.
"""

FILES = ("multipart/form-data", "application/octet-stream", "application/offset+octet-stream")
"""What goes to the disk as it comes; other bodies are read into memory."""

API = re.compile(r"/+api(/|$)")
UNREADABLE = re.compile(r"[^\w.,:\[\] -]", re.ASCII)
MAX_LOGGED = 300
READ_AWAY_SECONDS = 30

Answer = Callable[[HttpRequest], HttpResponseBase]


class LogRefusals:
    """Logs each refused request with its reason, in one line and without its body.

    Django says nothing more of a response that `log_response` has logged.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on and log what is refused."""
        response = self.get_response(request)
        if response.status_code >= 400:
            user = _known_user(request)
            note(user=user)
            log_response(
                "%s %s: %s, user %s: %s",
                request.method,
                request.path[:MAX_LOGGED],
                response.status_code,
                user,
                _reason(response)[:MAX_LOGGED],
                response=cast(HttpResponse, response),  # any kind, whatever the stubs say
                request=request,
                logger=logger,
                level="error" if response.status_code == 500 else "warning",
            )
        return response


def _known_user(request: HttpRequest) -> object:
    """Return the user's id if it has been looked up, because a refusal shouldn't cost a query."""
    user = getattr(request, "user", None)
    if type(user) is SimpleLazyObject:  # the session's; isinstance would query it
        user = getattr(request, "_cached_user", None)
    return getattr(user, "pk", None)


def _reason(response: HttpResponseBase) -> str:
    said = getattr(response, "data", None)  # DRF's, whichever way it is rendered
    if isinstance(response, JsonResponse):
        said = json.loads(response.content)
    if said is None:
        return response.reason_phrase
    if isinstance(said, dict) and set(said) == {"detail"}:
        return str(said["detail"])
    return json.dumps(said, ensure_ascii=False, default=str)


class NameActor:
    """Has what a request changes stand in the audit log under its user and its address."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on."""
        from fl_server_core.audit import answering  # its imports need the apps

        with answering(request):
            return self.get_response(request)


class KnownHost:
    """Says which setting is behind it when a host name is refused."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 400, or pass the request on."""
        if request.path_info == "/metrics/":  # asked by address, and told to who has a token
            return self.get_response(request)
        try:
            request.get_host()
        except DisallowedHost:
            asked = request.headers.get("Host") or request.META["SERVER_NAME"]
            name = _printable(split_domain_port(asked)[0] or asked)
            return _refuse(
                status.HTTP_400_BAD_REQUEST,
                f"The host name '{name}' is not allowed: the server's setting "
                "FL_DJANGO_ALLOWED_HOSTS has to name it.",
            )
        return self.get_response(request)


class KeepMethod:
    """Turns a 301 into a 308, which keeps the method and the body.

    After a 301 clients send a GET, and take its 200 for the answer to what they posted.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on and change the status of its answer."""
        response = self.get_response(request)
        moved = response.status_code == status.HTTP_301_MOVED_PERMANENTLY
        if moved and request.method not in ("GET", "HEAD"):
            response.status_code = status.HTTP_308_PERMANENT_REDIRECT
        return response


class AnswerThrottled:
    """Has pages such as the login answer like the API's views when something is tried too often."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(
        self,
        request: HttpRequest,  # noqa: ARG002 (Django's signature)
        exception: Exception,
    ) -> HttpResponseBase | None:
        """Answer 429 where that is the reason."""
        from fl_server_api.errors import answer_throttled  # its imports need the apps

        return answer_throttled(exception)


class CommonMiddleware(common.CommonMiddleware):
    """Redirects to the path with a closing slash; below /api/ an unknown path is a 404 in JSON.

    Django's redirects only after the body limit has refused, and raises for a POST with DEBUG on.
    """

    def process_request(  # noqa: D102
        self, request: HttpRequest
    ) -> HttpResponsePermanentRedirect | None:
        if self.should_redirect_with_slash(request):
            _read_away(request)
            path = request.get_full_path(force_append_slash=True)
            return HttpResponsePermanentRedirect("/" + path.lstrip("/"))  # never to another host
        return None

    def process_response(  # noqa: D102
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        unknown = response.status_code == 404 and request.resolver_match is None
        if unknown and API.match(request.path_info):
            detail = "Not found."
            if "//" in request.path_info:
                detail = "Not found: the path has two slashes in a row."
            response = _refuse(status.HTTP_404_NOT_FOUND, detail)
        return super().process_response(request, response)


class BodyLimit:
    """Refuses bodies that are too large, don't say how large they are, or can't be decoded.

    What comes compressed is decoded while it is read, up to the same limit.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 411, 413 or 415, or pass the request on."""
        length = request.headers.get("Content-Length", "")
        if not length and "Transfer-Encoding" in request.headers:
            return _refuse(status.HTTP_411_LENGTH_REQUIRED, "A Content-Length is required.")
        limit = self._limit(request)
        if length.isdecimal() and int(length.lstrip("0")[:20] or 0) > limit:
            return _refuse(
                status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
                f"The request's body is larger than {limit} bytes.",
            )
        return self._decode(request, limit) or self.get_response(request)

    def _limit(self, request: HttpRequest) -> int:
        for path, of_files, of_others in LIMITS:
            if re.match(path, request.path_info):
                is_file = request.content_type in FILES
                return int(getattr(settings, of_files if is_file else of_others))
        return int(settings.FL_SMALL_BODY_BYTES)

    def _decode(self, request: HttpRequest, limit: int) -> HttpResponseBase | None:
        """Have a body that came compressed read decoded; refuse an unknown encoding."""
        encoding = request.META.pop("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding in ("", "identity"):
            return None
        if encoding in ENCODINGS:
            content = Inflated(request._stream, ENCODINGS[encoding], limit)
            request._stream = cast(BinaryIO, content)
            return None
        refusal = _refuse(
            status.HTTP_415_UNSUPPORTED_MEDIA_TYPE,
            f"The Content-Encoding '{_printable(encoding)}' is not supported: "
            "send gzip, zstd or none.",
        )
        refusal["Accept-Encoding"] = "gzip, zstd"  # RFC 9110, 15.5.16
        return refusal


def _read_away(request: HttpRequest) -> None:
    """Read a body that isn't needed, as far as it comes in time.

    A client that is redirected sends its next request at once, over the same connection if it
    can, and nginx loses that request if the first is still being sent.
    """
    end = time.monotonic() + READ_AWAY_SECONDS
    with suppress(UnreadablePostError):
        while request.read(1 << 13) and time.monotonic() < end:
            pass


def _printable(header: str) -> str:
    return UNREADABLE.sub("?", header[:100])


def _refuse(code: int, detail: str) -> HttpResponse:
    return JsonResponse({"detail": detail}, status=code)
