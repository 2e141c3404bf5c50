"""Reported metrics."""

from django.contrib import admin

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Metric


@admin.register(Metric)
class MetricAdmin(ReadOnlyAdmin):
    """Reported metrics."""

    list_display = ["key", "value_float", "step", "model", "reporter", "created_at"]
    list_filter = ["created_at"]  # not "key": the filter would list every name there is
    list_select_related = ["model", "reporter"]
    ordering = ["-created_at"]
    search_fields = ["key", "=model__id", "model__name", "reporter__username"]
