"""The start page: what this server is, whether it is well, and where to go from here."""

from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from fl_server_core.models import Training

SHOWN = 20
"""Trainings, the newest: the API lists all."""


@require_safe
def start(request: HttpRequest, ask: Callable[[], Mapping[str, str]]) -> HttpResponse:
    """Show the page; `ask` says "ok" or what is wrong of each thing that the server needs.

    Who is signed in sees the newest trainings that it starts or takes part in.
    """
    checks = ask()
    trainings = Training.objects.none()
    if request.user.is_authenticated:
        own = Training.objects.involving(request.user).select_related("model", "actor")
        trainings = own.order_by("-created_at")[:SHOWN]
    shown = {"checks": checks, "well": set(checks.values()) == {"ok"}, "trainings": trainings}
    return render(request, "fl_server_api/start.html", shown)
