"""Trainings."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Training

TRAINING_FIELDS = (
    "id",
    "actor",
    "model",
    "participants",
    "state",
    "reason_code",
    "state_reason",
    "phase",
    "phase_since",
    "deadline",
    "round",
    "attempt",
    "retries",
    "sample_target",
    "target_num_updates",
    "aggregation_method",
    "uncertainty_method",
    "metric_names",
    "options",
    "created_at",
    "last_update",
    "claimed_until",
    "claims",
)


@admin.register(Training)
class TrainingAdmin(ReadOnlyAdmin):
    """Trainings, with who takes part and how far they are."""

    list_display = [
        "id",
        "actor",
        "model__name",
        "state",
        "round",
        "target_num_updates",
        "participant_count",
        "aggregation_method",
        "phase_since",
        "deadline",
        "last_update",
    ]
    list_filter = ["state", "phase", "aggregation_method", "uncertainty_method", "created_at"]
    list_select_related = ["actor", "model"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=model__id", "model__name", "actor__username", "state_reason"]
    date_hierarchy = "created_at"
    fields = TRAINING_FIELDS
    readonly_fields = TRAINING_FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Training]:
        """Count the participants in the same query."""
        rows: QuerySet[Training] = super().get_queryset(request)
        return rows.annotate(participant_count=Count("participants"))

    @admin.display(description="participants", ordering="participant_count")
    def participant_count(self, training: Any) -> int:
        """Return how many take part."""
        count: int = training.participant_count
        return count
