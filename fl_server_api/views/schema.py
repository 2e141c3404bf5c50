"""The API's description."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request


class Schema(SpectacularAPIView):
    """The description in YAML or JSON, the same for everybody.

    Making it takes a third of a second of processor time, with which strangers could keep the
    server busy: so a process makes each form once.
    """

    def _get_schema_response(self, request: Request) -> HttpResponse:
        renderer: Any = request.accepted_renderer
        name = self._get_filename(request, None)  # type: ignore[no-untyped-call]  # drf-spectacular's
        return HttpResponse(
            _written(type(renderer)),  # type: ignore[arg-type]  # the stubs' hash of a class
            content_type=f"{renderer.media_type}; charset=utf-8",
            headers={"Content-Disposition": f'inline; filename="{name}"'},
        )


@cache
def _written(form: Callable[[], Any]) -> Any:
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]  # drf-spectacular's
    return form().render(generator.get_schema(public=True))
