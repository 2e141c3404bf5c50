"""Opening a training on a page: the API's request as a form."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods
from marshmallow import ValidationError
from rest_framework.exceptions import ParseError

from fl_server_ai.aggregation.strategies import STRATEGIES
from fl_server_ai.trainer import opening
from fl_server_ai.uncertainty.registry import METHODS
from fl_server_api.orders import split
from fl_server_api.pages.asking import page
from fl_server_api.pages.looking import user_of
from fl_server_api.parsers import JSONParser
from fl_server_api.serializers.training import CreateTrainingRequest, CreateTrainingRequestSchema
from fl_server_core import trainings
from fl_server_core.exceptions import FLError
from fl_server_core.models import Model, Training, User
from fl_server_core.models.model import ModelKind
from fl_server_core.options import TrainingOptions

SHOWN = 200
"""Models and clients to choose from; further clients are named."""

Errors = dict[str, list[str]]
"""Sentences by field; those about the whole under ""."""

FIELDS = ("model_id", "target_num_updates", "aggregation_method", "uncertainty_method")


@require_http_methods(["GET", "HEAD", "POST"])
@page
def create(request: HttpRequest) -> HttpResponse:
    """Show the form; of a valid one open the training and go to its page.

    What the address says, such as `?model_id=`, is filled in.
    """
    user, errors = user_of(request), {}
    if request.method == "POST":
        try:
            training = _open(user, request.POST)
        except _Invalid as error:
            errors = error.errors
        else:
            _tell(request, training)
            return redirect("training", id=training.pk)
    shown = (
        _choices(user)
        | _given(request.POST or request.GET)
        | {"errors": errors, "whole": errors.get("")}
    )
    return render(request, "fl_server_api/new_training.html", shown, status=400 if errors else 200)


class _Invalid(Exception):
    """What was sent makes no training."""

    def __init__(self, errors: Errors) -> None:
        super().__init__(errors)
        self.errors = errors


def _open(user: User, form: QueryDict) -> Training:
    wanted = _read(form)
    model = _models(user).filter(pk=wanted.model_id).first()
    if model is None:
        raise _Invalid({"model_id": ["Choose one of your models."]})
    clients = trainings.find_users(wanted.clients)
    if clients is None:
        raise _Invalid({"clients": ["Not all of these users were found."]})
    fields = {name: value for name, value in asdict(wanted).items() if name not in REPLACED}
    try:
        return opening.create_training(actor=user, model=model, participants=clients, **fields)
    except FLError as error:
        raise _Invalid({"": [str(error)]}) from error


REPLACED = ("model_id", "clients")


def _read(form: QueryDict) -> CreateTrainingRequest:
    """Return the request that the form stands for, checked as the API checks it."""
    named, errors = _named(form.get("names", ""))
    body: dict[str, Any] = {name: form.get(name, "") for name in FIELDS}
    body["metric_names"] = split(form.get("metric_names", ""))
    body["clients"] = list(dict.fromkeys([*form.getlist("clients"), *named]))
    try:
        sent = form.get("options", "").strip() or "{}"
        body["options"] = JSONParser().parse(BytesIO(sent.encode()))
    except ParseError as error:
        errors["options"] = [str(error.detail)]
    try:
        wanted: CreateTrainingRequest = CreateTrainingRequestSchema().load(body)
    except ValidationError as error:
        errors = _by_field(error.messages) | errors
    if errors:
        raise _Invalid(errors)
    return wanted


def _named(names: str) -> tuple[list[str], Errors]:
    """Return the ids of those who are named, and who is unknown."""
    wanted = split(names)
    known = dict(User.objects.filter(username__in=wanted).values_list("username", "pk"))
    unknown = [name for name in wanted if name not in known]
    said = {"names": [f"Nobody is called {', '.join(unknown[:10])}."]} if unknown else {}
    return [str(pk) for pk in known.values()], said


def _by_field(said: Any) -> Errors:
    """Return marshmallow's nested messages by the form's fields."""
    return {name: list(_sentences(messages)) for name, messages in said.items()}


def _sentences(said: Any, path: str = "") -> Iterator[str]:
    if isinstance(said, dict):
        for name, inner in said.items():
            at = path if name == "_schema" else f"{path}.{name}".lstrip(".")
            yield from _sentences(inner, at)
    else:
        for sentence in [said] if isinstance(said, str) else said:
            yield f"{path}: {sentence}" if path else str(sentence)


def _tell(request: HttpRequest, training: Training) -> None:
    messages.success(request, "The training is open. Start it when all are ready.")
    if unknown := TrainingOptions.unknown(training.options):
        names = ", ".join(unknown)
        messages.warning(request, f"Options that mean nothing to the server are kept: {names}.")


def _models(user: User) -> Any:
    """Return the user's own models that may be trained."""
    kinds = (ModelKind.GLOBAL, ModelKind.SWAG)
    return Model.objects.visible().filter(owner=user, kind__in=kinds)


def _choices(user: User) -> dict[str, Any]:
    clients = [
        client
        for client in User.objects.filter(client=True).order_by("username")[:SHOWN]
        if client.accepts_trainings_of(user)
    ]
    return {
        "models": _models(user).order_by("-created_at")[:SHOWN],
        "clients": clients,
        "strategies": list(STRATEGIES),
        "methods": list(METHODS),
    }


def _given(form: QueryDict) -> dict[str, Any]:
    """Return what the form's fields hold, as they were sent or as they begin."""
    begin = {"target_num_updates": "10", "metric_names": "accuracy", "options": "{}"}
    chosen: Sequence[str] = form.getlist("clients")
    return {"given": begin | form.dict(), "chosen": chosen}
