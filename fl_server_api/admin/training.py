"""Trainings: how far they are."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, F, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timeuntil

from fl_server_ai.trainer.phases import phase_of
from fl_server_ai.trainer.progress import count_awaited
from fl_server_api.admin.base import CountsFigures, span
from fl_server_api.admin.steering import SteeringAdmin
from fl_server_core.models import Notification, Training

NAMED = 100
"""Participants that a page lists."""

FIELDSETS: Any = (
    (None, {"fields": ("id", "model", "actor", "state", "reason_code", "state_reason")}),
    (
        "The present round",
        {
            "fields": (
                "round_of_target",
                "phase",
                "phase_since",
                "deadline",
                "who_is_awaited",
                "sample_target",
                "attempt",
                "retries",
                "claimed_until",
                "claims",
            )
        },
    ),
    (
        "What was agreed",
        {
            "fields": (
                "participants",
                "aggregation_method",
                "uncertainty_method",
                "metric_names",
                "options",
                "created_at",
                "last_update",
            )
        },
    ),
)


class Silent(admin.SimpleListFilter):
    """Running trainings of which nothing has come for a while."""

    title = "nothing came for"
    parameter_name = "silent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002, D102
        return [("1", "an hour"), ("24", "a day"), ("168", "a week")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002, D102
        if self.value() not in dict(self.lookup_choices):
            return queryset
        since = timezone.now() - timedelta(hours=int(self.value() or 0))
        running: QuerySet[Any] = queryset.running().filter(last_update__lt=since)  # type: ignore[attr-defined]
        return running


@admin.register(Training)
class TrainingAdmin(CountsFigures, SteeringAdmin):
    """Trainings, with who takes part and how far they are."""

    list_display = [
        "name",
        "actor",
        "state_and_why",
        "round_of_target",
        "phase",
        "awaited",
        "participant_count",
        "failures",
        "waits",
        "time_left",
        "came",
    ]
    list_filter = [
        "state",
        "phase",
        "reason_code",
        Silent,
        "aggregation_method",
        "uncertainty_method",
        "created_at",
    ]
    list_select_related = ["actor", "model"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=model__id", "model__name", "actor__username", "state_reason"]
    date_hierarchy = "created_at"
    fieldsets = FIELDSETS
    readonly_fields = [name for _, group in FIELDSETS for name in group["fields"]]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Training]:
        """Read the model along: its round is the training's."""
        rows: QuerySet[Training] = super().get_queryset(request)
        return rows.select_related("model", "actor")

    def add_figures(self, rows: Sequence[Any]) -> None:  # noqa: D102 (base's)
        joined = Training.participants.through.objects.filter(training__in=rows)
        present = {"round": F("training__model__round"), "attempt": F("training__attempt")}
        failed = Notification.objects.filter(training__in=rows, failed_at__isnull=False, **present)
        figures = {
            "participant_count": dict(joined.values_list("training").annotate(Count("pk"))),
            "awaited": count_awaited(rows),
            "failures": dict(failed.order_by().values_list("training").annotate(Count("pk"))),
        }
        for row in rows:
            row.figures = {name: counts.get(row.pk, 0) for name, counts in figures.items()}

    @admin.display(description="model", ordering="model__name")
    def name(self, training: Training) -> str:
        """Return what the training is known by: its model's name."""
        return training.model.name or str(training.model_id)

    @admin.display(description="state", ordering="state")
    def state_and_why(self, training: Training) -> str:
        """Return its state, and why it ended if that isn't its target."""
        why = training.get_reason_code_display() if training.reason_code else ""
        shown = f"{training.get_state_display()}: {why}" if why else training.get_state_display()
        return format_html('<span class="state-{}">{}</span>', training.state, shown)

    @admin.display(description="round", ordering="model__round")
    def round_of_target(self, training: Training) -> str:
        """Return how far it is."""
        return f"{training.round} of {training.target_num_updates}"

    @admin.display(description="participants")
    def participant_count(self, training: Any) -> int:
        """Return how many take part."""
        return int(training.figures["participant_count"])

    @admin.display(empty_value="")
    def awaited(self, training: Any) -> int | None:
        """Return from how many an answer may still come."""
        return training.figures["awaited"] if training.is_running else None

    @admin.display
    def failures(self, training: Any) -> int:
        """Return how many calls of the present round failed."""
        return int(training.figures["failures"])

    @admin.display(description="waits for", ordering="-phase_since")
    def waits(self, training: Training) -> str:
        """Return for how long it has waited for its present phase's answers."""
        return span(training.phase_since) if training.is_running else ""

    @admin.display(ordering="deadline")
    def time_left(self, training: Training) -> str:
        """Return how long that phase may still take."""
        return timeuntil(training.deadline, depth=1) if training.deadline else ""

    @admin.display(description="last came", ordering="last_update")
    def came(self, training: Training) -> str:
        """Return when something last happened."""
        return f"{span(training.last_update)} ago"

    @admin.display(description="awaited")
    def who_is_awaited(self, training: Training) -> str:
        """Return who may still answer."""
        if not training.is_running:
            return "nobody"
        awaited = phase_of(training).awaited().order_by("receiver__username")
        names = list(awaited.values_list("receiver__username", flat=True)[: NAMED + 1])
        more = [f"and {awaited.count() - NAMED} more"] if len(names) > NAMED else []
        return ", ".join(names[:NAMED] + more) or "nobody"
