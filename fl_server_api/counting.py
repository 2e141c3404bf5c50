"""Counting the requests, for `/metrics/`."""

import time

from django.http import HttpRequest, HttpResponseBase

from fl_server_api.middleware import Answer
from fl_server_core.counters import count_request


class CountRequests:
    """Counts each request by the pattern of its path, its method and its answer's status."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on and count it."""
        begun = time.monotonic()
        response = self.get_response(request)
        route = request.resolver_match.route if request.resolver_match else ""
        seconds = time.monotonic() - begun
        count_request(route, request.method or "", response.status_code, seconds)
        return response
