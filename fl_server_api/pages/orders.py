"""What a training's page lets one do: the orders, to whom the API permits them, as forms."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from fl_server_api.orders import ORDERS, Order, OrderForm
from fl_server_api.pages.asking import page
from fl_server_api.pages.looking import find_training, user_of
from fl_server_api.permissions import (
    IsActor,
    IsInvolved,
    ManagesTraining,
    RowPermission,
    SteersTraining,
)
from fl_server_core.exceptions import FLError, PermissionDenied
from fl_server_core.models import Training, User

DEFAULT_REFUSAL = "You do not have permission to perform this action."

PERMISSIONS: dict[str, type[RowPermission[Training]]] = {
    "start": ManagesTraining,
    "resume": SteersTraining,
    "notify": SteersTraining,
    "add": ManagesTraining,
    "stop": SteersTraining,
    "remove": IsInvolved,
    "rollback": SteersTraining,
    "delete": IsActor,
}


def offered(training: Training, user: User) -> dict[str, Order]:
    """Return the orders that fit the training's state and that this user may give."""
    return {
        name: order
        for name, order in ORDERS.items()
        if training.state in order.states and PERMISSIONS[name]().may(user, training)
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page
def give(request: HttpRequest, id: UUID, name: str) -> HttpResponse:
    """Carry an order out and go back to the page, which says what has happened; or ask first."""
    if name not in ORDERS:
        raise Http404
    order, training, user = ORDERS[name], find_training(request, id), user_of(request)
    _require(PERMISSIONS[name], user, training)
    sent = request.POST if request.method == "POST" else request.GET or None
    form = order.form(training, sent)
    told = form.is_valid()
    if told and set(form.cleaned_data.get("participants", ())) - {user}:
        _require(ManagesTraining, user, training)
    if request.method != "POST" or not told:
        return _ask(request, order, form)
    try:
        messages.success(request, order.carry_out(training, user, form.cleaned_data))
    except FLError as error:
        messages.error(request, str(error))
    except Training.DoesNotExist:
        messages.error(request, "The training was removed meanwhile.")
    return redirect(_next(training, user))


def _require(wanted: type[RowPermission[Training]], user: User, training: Training) -> None:
    """Raise for somebody who may not, in the API's words."""
    permission = wanted()
    if not permission.may(user, training):
        raise PermissionDenied(getattr(permission, "message", DEFAULT_REFUSAL))


def _ask(request: HttpRequest, order: Order, form: OrderForm) -> HttpResponse:
    shown = {"order": order, "training": form.training, "form": form}
    status = 400 if request.method == "POST" else 200
    return render(request, "fl_server_api/order.html", shown, status=status)


def _next(training: Training, user: User) -> str:
    """Return where one goes after an order: to the page, if it still is one's to see."""
    left = Training.objects.filter(pk=training.pk).first()
    return f"/trainings/{training.pk}/" if left and IsInvolved().may(user, left) else "/trainings/"
