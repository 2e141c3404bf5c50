"""Summaries of models."""

from django.contrib import admin

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import ModelStats


@admin.register(ModelStats)
class ModelStatsAdmin(ReadOnlyAdmin):
    """Summaries of models."""

    list_display = ["sha256", "input_shape", "asked_at", "computed_at"]
    list_filter = ["asked_at"]
    ordering = ["-asked_at"]
    search_fields = ["=sha256"]
