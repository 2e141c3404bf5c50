"""What browsers let the server's pages load and do: nothing from elsewhere, no inline scripts.

Other answers (JSON, downloads) may do nothing, in case a browser shows one as a page.
"""

import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
STYLED = f"{PAGE}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
POLICIES = [
    # ReDoc and Swagger UI make style sheets while they run, and have icons in them; ReDoc's
    # search runs in a worker that it makes of its own script.
    (re.compile("/api/schema/redoc/"), f"{STYLED}; worker-src 'self' blob:"),
    # The pages of Django REST framework have style attributes.
    (re.compile("/api/"), STYLED),
]
"""By path, the first that fits; PAGE elsewhere."""

Answer = Callable[[HttpRequest], HttpResponseBase]


class ContentSecurity:
    """Sends the policy with every answer (Content Security Policy Level 3)."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on; Django's own pages about errors, with FL_DEBUG, are left alone."""
        response = self.get_response(request)
        if not (settings.DEBUG and response.status_code >= 400):
            response.headers["Content-Security-Policy"] = _policy(request, response)
        return response


def _policy(request: HttpRequest, response: HttpResponseBase) -> str:
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return NOTHING
    fitting = (policy for path, policy in POLICIES if path.match(request.path_info))
    return next(fitting, PAGE)
