"""Messages to participants."""

from django.contrib import admin

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Notification


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """Messages to participants, and whether they were delivered."""

    list_display = [
        "type",
        "receiver",
        "training",
        "round",
        "state",
        "deliveries",
        "delivered_at",
        "failed_at",
        "error",
    ]
    list_filter = [
        "type",
        "state",
        "created_at",
    ]
    list_select_related = ["receiver", "training"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=training__id", "receiver__username", "error"]
    date_hierarchy = "created_at"
