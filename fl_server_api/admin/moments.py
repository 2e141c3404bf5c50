"""SWAG moments."""

from django.contrib import admin

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Moments


@admin.register(Moments)
class MomentsAdmin(ReadOnlyAdmin):
    """SWAG moments handed in."""

    exclude = ["first", "second"]
    list_display = ["owner", "model", "round", "attempt", "sample_size", "created_at"]
    list_filter = ["created_at"]
    list_select_related = ["model", "owner"]
    ordering = ["-created_at"]
    search_fields = ["=model__id", "model__name", "owner__username"]
