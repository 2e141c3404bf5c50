"""Which form an answer takes."""

from collections.abc import Iterable
from typing import Any

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


def accept_parameters(request: Request) -> dict[str, str]:
    """Return what `Accept` says beside its types, such as `…/octet-stream;dtype=int8`."""
    types = request._request.accepted_types
    return {name: str(value) for kind in types for name, value in kind.params.items()}


class LenientContentNegotiation(DefaultContentNegotiation):
    """JSON for clients that accept none of the offered types, or what `?format=` names.

    A client that downloads a model may accept `application/octet-stream` only, which no renderer
    offers; an error has to be told to it, too.
    """

    def select_renderer(  # noqa: D102
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> Any:
        form = format_suffix or request.query_params.get("format")
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            offered = list(renderers)
            named = self.filter_renderers(offered, form) if form else offered
            return named[0], named[0].media_type
