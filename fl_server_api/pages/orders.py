"""What a training's page lets one do: the API's orders, as forms."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from fl_server_ai.trainer import ModelTrainer
from fl_server_api.orders import ordered
from fl_server_api.pages.signed_in import find_training, signed_in, split, user_of
from fl_server_api.permissions import (
    IsActor,
    IsInvolved,
    ManagesTraining,
    RowPermission,
    SteersTraining,
)
from fl_server_core import removal
from fl_server_core.exceptions import FLError, InvalidRequest, PermissionDenied
from fl_server_core.models import Checkpoint, Training, User
from fl_server_core.models.training import TrainingState

T = TypeVar("T")

DEFAULT_REFUSAL = "You do not have permission to perform this action."
RUNNING = (TrainingState.ONGOING, TrainingState.SWAG_ROUND)
BEGUN = (*RUNNING, TrainingState.ERROR, TrainingState.COMPLETED)


@dataclass(frozen=True)
class Wanted:
    """An order as it was sent: of whom, for which training, about what."""

    training: Training
    user: User
    sent: Mapping[str, str]

    def person(self) -> User:
        """Return the user whom it is about."""
        return _found(User.objects.filter(pk=_uuid(self.sent.get("user", ""))).first())

    def checkpoint(self) -> Checkpoint:
        """Return the version that it is about."""
        versions = self.training.model.checkpoints.stored()
        return _found(versions.filter(pk=_uuid(self.sent.get("checkpoint", ""))).first())


@dataclass(frozen=True)
class Order:
    """What can be done to a training in some states, and by whom; `question` is asked first.

    `about` is what else the order names: a field of its form.
    """

    label: str
    permission: type[RowPermission[Training]]
    states: Collection[TrainingState]
    carry_out: Callable[[Wanted], str]
    question: str = ""
    about: str = ""
    grave: bool = False

    def is_for(self, training: Training, user: User) -> bool:
        """Tell whether it is offered."""
        return training.state in self.states and self.permission().may(user, training)

    def check(self, wanted: Wanted) -> None:
        """Raise for somebody who may not give it, in the API's words."""
        permission = self.permission()
        if not permission.may(wanted.user, wanted.training):
            raise PermissionDenied(getattr(permission, "message", DEFAULT_REFUSAL))


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def give(request: HttpRequest, id: UUID, name: str) -> HttpResponse:
    """Carry an order out and go back to the page, which says what has happened; or ask first."""
    if name not in ORDERS:
        raise Http404("There is no such order.")
    order, training = ORDERS[name], find_training(request, id)
    sent = request.POST if request.method == "POST" else request.GET
    wanted = Wanted(training, user_of(request), sent.dict())
    try:
        order.check(wanted)
        if request.method != "POST":
            return _ask(request, order, wanted)
        messages.success(request, order.carry_out(wanted))
    except PermissionDenied as error:
        return render(request, "403.html", {"exception": error}, status=403)
    except FLError as error:
        messages.error(request, str(error))
    except Training.DoesNotExist:
        messages.error(request, "The training was removed meanwhile.")
    return redirect(_next(training, wanted.user))


def _next(training: Training, user: User) -> str:
    """Return where one goes after an order: to the page, if it still is one's to see."""
    left = Training.objects.filter(pk=training.pk).first()
    return f"/trainings/{training.pk}/" if left and IsInvolved().may(user, left) else "/trainings/"


def _ask(request: HttpRequest, order: Order, wanted: Wanted) -> HttpResponse:
    shown: dict[str, object] = {"order": order, "training": wanted.training}
    if order.about == "user":
        shown["person"] = wanted.person()
    if order.about == "checkpoint":
        shown["checkpoint"] = wanted.checkpoint()
    return render(request, "fl_server_api/order.html", shown)


def _simply(do: Callable[[ModelTrainer], object], said: str) -> Callable[[Wanted], str]:
    """Return how an order is carried out that is about nothing else."""

    def carry_out(wanted: Wanted) -> str:
        with ordered(wanted.training, wanted.user) as trainer:
            do(trainer)
        return said

    return carry_out


def _notify(wanted: Wanted) -> str:
    with ordered(wanted.training, wanted.user) as trainer:
        notified = trainer.ask_again()
    return f"Called again: {notified}."


def _remove(wanted: Wanted) -> str:
    person = wanted.person()
    if person != wanted.user:
        ORDERS["add"].check(wanted)  # who may change others' part in it
    with ordered(wanted.training, wanted.user) as trainer:
        trainer.remove_participants([person])
    return f"{person.username} takes part no longer."


def _add(wanted: Wanted) -> str:
    names = set(split(wanted.sent.get("names", "")))
    users = list(User.objects.filter(username__in=names))
    if unknown := names - {user.username for user in users}:
        raise InvalidRequest(f"Nobody is called {', '.join(sorted(unknown)[:10])}.")
    with ModelTrainer.locked(wanted.training.pk) as trainer:
        trainer.add_participants(users)
    return f"Added: {', '.join(sorted(names)[:10]) or 'nobody'}."


def _roll_back(wanted: Wanted) -> str:
    version = wanted.checkpoint()
    with ordered(wanted.training, wanted.user) as trainer:
        trainer.roll_back(version.pk)
    return f"The training goes on from its version of round {version.round}."


def _delete(wanted: Wanted) -> str:
    removal.remove_training(wanted.training)
    return "The training is removed; its model stays."


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404("This names nothing.") from error


def _found(row: T | None) -> T:
    if row is None:
        raise Http404("What this is about is not there.")
    return row


ORDERS: dict[str, Order] = {
    "start": Order(
        "Start",
        ManagesTraining,
        [TrainingState.INITIAL],
        _simply(ModelTrainer.start, "The training has started."),
    ),
    "resume": Order(
        "Resume",
        SteersTraining,
        [TrainingState.ERROR],
        _simply(ModelTrainer.resume, "The training goes on."),
    ),
    "notify": Order("Call again", SteersTraining, RUNNING, _notify),
    "add": Order(
        "Add participants",
        ManagesTraining,
        list(TrainingState),
        _add,
        question="Who is to take part? A running training asks them from its next round on.",
        about="names",
    ),
    "stop": Order(
        "Stop",
        SteersTraining,
        RUNNING,
        _simply(ModelTrainer.stop, "The training is stopped."),
        question="Stop this training? A merge under way is dropped. It can be resumed.",
        grave=True,
    ),
    "remove": Order(
        "Remove",
        IsInvolved,
        list(TrainingState),
        _remove,
        question="The present round goes on without this participant.",
        about="user",
        grave=True,
    ),
    "rollback": Order(
        "Roll back",
        SteersTraining,
        BEGUN,
        _roll_back,
        question=(
            "Go back to this version? The training goes on from there. Later versions stay, but no "
            "answer given so far counts any more."
        ),
        about="checkpoint",
        grave=True,
    ),
    "delete": Order(
        "Delete",
        IsActor,
        list(TrainingState),
        _delete,
        question=(
            "Delete this training, with all that is known of its calls? That can't be undone. Its "
            "model and the model's versions stay."
        ),
        grave=True,
    ),
}
"""By the name that their address has."""
