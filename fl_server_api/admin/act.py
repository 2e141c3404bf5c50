"""The audit log."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Act


@admin.register(Act)
class ActAdmin(ReadOnlyAdmin):
    """Who has done what, and when."""

    list_display = ["created_at", "code", "user_name", "address", "object_type", "object_id"]
    list_filter = ["code", "created_at", ("user_id", admin.EmptyFieldListFilter)]
    ordering = ["-pk"]
    search_fields = ["=object_id", "=user_id", "user_name", "=address", "=request_id"]
    date_hierarchy = "created_at"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002, D102
        return False
