"""Messages to participants."""

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from fl_server_api.admin.base import ReadOnlyAdmin, span
from fl_server_core.models import Notification


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """Messages to participants, and whether they were delivered."""

    list_display = [
        "type",
        "receiver",
        "status",
        "attempts",
        "age",
        "error",
        "about",
        "round",
        "next_attempt_at",
        "delivered_at",
        "failed_at",
    ]
    list_filter = [
        "type",
        "state",
        ("failed_at", admin.EmptyFieldListFilter),
        ("error", admin.EmptyFieldListFilter),
        "created_at",
    ]
    list_select_related = ["receiver", "training__model"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=training__id", "receiver__username", "error"]
    date_hierarchy = "created_at"

    @admin.display(ordering="state")
    def status(self, notification: Notification) -> str:
        """Return its state in a word: the filter has the sentences."""
        return format_html('<span class="is-{0}">{0}</span>', notification.state)

    @admin.display(description="training", ordering="training__model__name")
    def about(self, notification: Notification) -> str:
        """Return which training it is about, by its model's name."""
        training = notification.training
        where = reverse("admin:fl_server_core_training_change", args=[training.pk])
        return format_html('<a href="{}">{}</a>', where, training.model.name or training.pk)

    @admin.display(ordering="deliveries")
    def attempts(self, notification: Notification) -> int:
        """Return how often it was posted."""
        return notification.deliveries

    @admin.display(ordering="-created_at")
    def age(self, notification: Notification) -> str:
        """Return for how long there has been something to tell."""
        return span(notification.created_at)
