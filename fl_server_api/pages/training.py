"""Trainings: the list of them, and the page on which one is watched."""

import hashlib
import time
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from fl_server_api.pages.asking import page
from fl_server_api.pages.looking import (
    find_training,
    user_of,
    visible_trainings,
    with_people,
)
from fl_server_api.pages.training_view import TrainingView
from fl_server_core.models import Training, User
from fl_server_core.models.notification import NotificationState
from fl_server_core.models.training import TrainingState

PAGE = 50
FRESH_SECONDS = 30
"""A page is rendered anew after this long, for what its tag doesn't see: names, late updates."""


@require_safe
@page
def list_trainings(request: HttpRequest) -> HttpResponse:
    """List the trainings that the user may see, the newest first."""
    state, name = request.GET.get("state", ""), request.GET.get("name", "").strip()[:255]
    trainings = visible_trainings(user_of(request)).order_by("-created_at", "id")
    if state in TrainingState.values:
        trainings = trainings.filter(state=state)
    if name:
        trainings = trainings.filter(model__name__icontains=name.replace("\0", ""))
    found = Paginator(with_people(trainings), PAGE).get_page(request.GET.get("page"))
    shown = {"page": found, "states": TrainingState.choices, "state": state, "name": name}
    return render(request, "fl_server_api/trainings.html", shown)


@require_safe
@page
def show(request: HttpRequest, id: UUID) -> HttpResponse:
    """Show a training; what is live on the page asks for itself anew."""
    return _rendered(request, find_training(request, id), "fl_server_api/training.html")


@require_safe
@page
def show_live(request: HttpRequest, id: UUID) -> HttpResponse:
    """Show what is live alone; nothing that whoever asks has already."""
    training = find_training(request, id)
    etag = _tag_of(training, user_of(request))
    unchanged = get_conditional_response(request, etag=etag)
    if unchanged is not None:
        return unchanged
    return _rendered(request, training, "fl_server_api/training/live.html", etag)


def _rendered(
    request: HttpRequest, training: Training, template: str, etag: str = ""
) -> HttpResponse:
    etag = etag or _tag_of(training, user_of(request))
    view = TrainingView.read(training, user_of(request), request.GET)
    shown = {"view": view, "training": training, "etag": etag}
    answer = render(request, template, shown)
    answer["ETag"], answer["Cache-Control"] = etag, "private, no-cache"
    return answer


def _tag_of(training: Training, user: User) -> str:
    """Return what changes with the page: by the training's row and its present calls."""
    present = training.notifications.filter(round=training.round, attempt=training.attempt)
    missed = Count("pk", filter=Q(state=NotificationState.MISSED))
    calls = present.aggregate(Count("pk"), Max("delivered_at"), Max("failed_at"), missed=missed)
    row = {name: value for name, value in vars(training).items() if not name.startswith("_")}
    seen = (user.pk, training.round, row, calls, int(time.time() / FRESH_SECONDS))
    return f'W/"{hashlib.sha256(repr(seen).encode()).hexdigest()[:32]}"'
