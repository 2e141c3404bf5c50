"""Lists in pages, for those who ask for them."""

from typing import Any

from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.views import APIView


class Pages(PageNumberPagination):
    """Pages of a list in DRF's envelope; without `page` and `page_size` it comes whole."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000
    page_query_description = "A page of the list, from 1; without it the list comes whole."
    page_size_query_description = f"Rows in a page: {page_size}, or so many, up to {max_page_size}."

    def paginate_queryset(  # noqa: D102
        self, queryset: Any, request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        asked = request.query_params.keys() & {self.page_query_param, self.page_size_query_param}
        return super().paginate_queryset(queryset, request, view) if asked else None

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe both forms."""
        return {"oneOf": [schema, super().get_paginated_response_schema(schema)]}
