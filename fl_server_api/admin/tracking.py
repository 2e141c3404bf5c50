"""What an experiment tracker has been told."""

from django.contrib import admin

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Tracking


@admin.register(Tracking)
class TrackingAdmin(ReadOnlyAdmin):
    """What it knows of each training; one removed here is told once more, as a new run."""

    list_display = ["training", "run", "attempt", "round", "state", "due_at", "failures", "error"]
    list_filter = ["state", "due_at"]
    list_select_related = ["training"]
    ordering = ["-due_at"]
    search_fields = ["=training__id", "=run", "error"]
