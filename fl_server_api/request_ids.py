"""Each request's id, and its span: by these its traces in logs, workers and answers are found."""

import re
import uuid

from django.http import HttpRequest, HttpResponseBase

from fl_server_api.middleware import Answer
from fl_server_core import log_context, spans

HEADER = "X-Request-ID"
WELL_FORMED = re.compile(r"[A-Za-z0-9_.-]{1,64}")
UNTRACED = ("/health/", "/metrics/", "/static/")
"""What is asked all the time, and tells nothing."""


class TrackRequests:
    """Begins a request's work: takes the id that a caller or the proxy gives it, or makes one.

    The ids stay until the thread's next request begins, because an answer may still be sent, and
    the server's own lines come after it.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on, and tell its id with the answer."""
        request_id = request.META.get("HTTP_X_REQUEST_ID", "")
        if not WELL_FORMED.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        log_context.begin(request=request_id)
        if request.path_info.startswith(UNTRACED):
            response = self.get_response(request)
        else:
            response = self._traced(request)
        response.headers[HEADER] = request_id
        return response

    def _traced(self, request: HttpRequest) -> HttpResponseBase:
        """Answer within a span, which goes on with a trace that the caller has begun."""
        carried = {"traceparent": request.META.get("HTTP_TRACEPARENT", "")}
        with spans.span(request.method or "", kind="SERVER", carried=carried):
            response = self.get_response(request)
            route = request.resolver_match.route if request.resolver_match else ""
            told = {"http.request.method": request.method or "", "http.route": route}
            spans.describe(
                told | {"http.response.status_code": response.status_code},
                name=f"{request.method} {route}",
                failed=response.status_code >= 500,
            )
        return response
