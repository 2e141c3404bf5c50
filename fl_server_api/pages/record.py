"""A training's record as a page to print: what the API signs, read by a person."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from fl_server_ai.trainer.silence import Silence
from fl_server_api.pages.asking import ask, page, refused
from fl_server_api.pages.looking import find_training
from fl_server_api.views.training import Training
from fl_server_core.models.notification import NotificationType
from fl_server_core.models.training import TrainingState

TEMPLATE = "fl_server_api/record.html"


@require_safe
@page
def record(request: HttpRequest, id: UUID) -> HttpResponse:
    """Show the record to whom the API shows it, of the same rounds.

    Where that refuses the rounds, these can be asked for anew.
    """
    filled = {name: value for name, value in request.GET.items() if value}
    if len(filled) < len(request.GET):  # a browser sends a form's empty fields, too
        return redirect(f"{request.path}?{urlencode(filled)}")
    training = find_training(request, id)
    answer = ask(request, Training, "record", id=str(training.pk))
    if answer.status_code < 400:
        return render(request, TEMPLATE, _in_words(answer.data) | {"query": urlencode(filled)})
    return refused(request, answer, TEMPLATE, id=id)


def _in_words(signed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows; `file` is the very document: the next has another time."""
    record = signed["record"]
    training = record["training"]
    return {
        "id": training["id"],
        "signed": signed,
        "record": record,
        "state": TrainingState(training["state"]).label,
        "options": list(_flat(training["options"])),
        "calls": [_call(call) for call in record["calls"]],
        "file": b64encode(json.dumps(signed).encode()).decode(),
    }


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    missing = [
        {"user": who["user"], "because": Silence(who["because"]).label} for who in call["missing"]
    ]
    words = NotificationType(call["type"]).label if call["type"] in NotificationType else None
    return {**call, "words": words or call["type"], "missing": missing}


def _flat(options: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each option by its path (`round.quorum`) with its value as JSON."""
    if isinstance(options, dict) and options:
        for name, value in options.items():
            yield from _flat(value, f"{path}.{name}" if path else name)
    elif path:
        yield path, json.dumps(options, ensure_ascii=False)
