"""What operators see first: how the server is, what runs, what fails, who has done what here.

Each part is shown to who may see the rows that it tells of. It takes as many queries with many rows
as with few.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from django.contrib import admin
from django.db.models import Count, F, Max, Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from fl_server_ai.trainer.progress import count_awaited
from fl_server_core.models import Act, Notification, Training, User
from fl_server_core.models.training import ReasonCode, TrainingState

SHOWN = 10
"""Rows of each part; its heading leads to all of them."""

LATE = timedelta(days=7)
"""For how long a failure is told."""

Measured = Mapping[str, Mapping[str, float]]
"""Numbers by what they count, and by kind."""


def overview(
    request: HttpRequest, ask: Callable[[], Mapping[str, str]], measure: Callable[[], Measured]
) -> HttpResponse:
    """Show the page; `ask` says "ok" or what is wrong of each thing that the server needs.

    `measure` tells what `fl_server.gauges` knows.
    """
    user, checks = cast(User, request.user), ask()
    shown: dict[str, Any] = {"checks": checks, "well": set(checks.values()) == {"ok"}}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "fl_server_core.view_training": lambda: of_trainings() | of_work(measure()),
        "fl_server_core.view_model": lambda: of_storage(measure()),
        "fl_server_core.view_notification": lambda: {"failing": failing_receivers()},
        "fl_server_core.view_act": lambda: {"acts": recent_acts()},
    }
    for permission, read in parts.items():
        if user.has_perm(permission):
            shown |= read()
    answer: HttpResponse = admin.site.index(request, extra_context=shown)
    return answer


def of_trainings() -> dict[str, Any]:
    """Return the running trainings that have waited longest, and those that failed of late."""
    rows = Training.objects.select_related("model", "actor")
    running: list[Any] = list(rows.running().order_by("phase_since")[:SHOWN])
    awaited = count_awaited(running)
    for training in running:
        training.awaited = awaited.get(training.pk, 0)
    since = timezone.now() - LATE
    failed = rows.filter(state=TrainingState.ERROR, last_update__gte=since)
    failed = failed.exclude(reason_code=ReasonCode.STOPPED)  # which somebody wanted
    return {
        "running": running,
        "running_count": Training.objects.running().count(),
        "failed": failed.order_by("-last_update")[:SHOWN],
    }


def of_work(measured: Measured) -> dict[str, Any]:
    """Return what waits for a worker, and whether something is overdue."""
    return {
        "queues": measured.get("fl_queue_messages", {}),
        "pending": measured.get("fl_notifications_pending", {}),
        "overdue": measured.get("fl_overdue_seconds", {}),
    }


def of_storage(measured: Measured) -> dict[str, Any]:
    """Return how much is stored, by kind, and how much room is left."""
    free, disk = (
        measured.get(name, {}).get("") for name in ("fl_disk_free_bytes", "fl_disk_bytes")
    )
    used = disk - free if disk is not None and free is not None else None
    return {
        "stored": measured.get("fl_stored_bytes", {}),
        "disk": disk,
        "disk_free": free,
        "disk_used": used,
    }


def failing_receivers() -> Sequence[dict[str, Any]]:
    """Return whose endpoints don't take notifications: refused or given up of late, or on trial.

    Those with the most failures first.
    """
    lost = Q(failed_at__gte=timezone.now() - LATE)
    tried = Q(state="pending", deliveries__gt=0)
    rows = Notification.objects.filter(lost | tried).order_by().values("receiver")
    counted = rows.annotate(
        name=F("receiver__username"),
        endpoint=F("receiver__message_endpoint"),
        lost=Count("pk", filter=lost),
        tried=Count("pk", filter=tried),
        since=Min("created_at"),
        example=Max("error"),
    )
    return [dict(row) for row in counted.order_by("-lost", "-tried")[:SHOWN]]


def recent_acts() -> QuerySet[Act]:
    """Return the newest rows of the audit log."""
    return Act.objects.order_by("-pk")[:SHOWN]
