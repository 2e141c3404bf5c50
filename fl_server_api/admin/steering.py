"""How operators steer trainings: the orders' pages and actions, downloads, removal."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from rest_framework.request import Request

from fl_server_ai.trainer.record import RecordReader
from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_api.downloads import archive, send
from fl_server_api.orders import ORDERS, Order
from fl_server_api.serializers.record import RecordSerializer
from fl_server_core import removal, signing
from fl_server_core.exceptions import FLError
from fl_server_core.models import Notification, Training, User

OFFERED = {name: order for name, order in ORDERS.items() if name != "delete"}
"""Django's admin deletes in its own way."""

AT_ONCE = 100
"""Trainings that one order goes to."""


def _for_selected(name: str) -> Callable[..., HttpResponseBase | None]:
    """Return the action of a list that gives an order to each training that is selected."""
    order = OFFERED[name]

    @admin.action(description=f"{order.label}: selected trainings", permissions=["steer"])
    def act(
        pages: "SteeringAdmin", request: HttpRequest, trainings: QuerySet[Training]
    ) -> HttpResponseBase | None:
        return pages.order_selected(request, name, trainings)

    act.__name__ = name
    return act


class SteeringAdmin(ReadOnlyAdmin):
    """Lets those steer trainings who may change them."""

    change_form_template = "fl_server_api/admin/training.html"
    actions = [_for_selected(name) for name in ("start", "notify", "resume", "stop")]

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may steer trainings: those may who could change them."""
        return cast(User, request.user).has_perm("fl_server_core.change_training")

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of one training: its orders, what can be downloaded."""
        pages: dict[str, Callable[..., HttpResponseBase]] = {
            "<path:object_id>/order/<str:name>/": self.order_view,
            "<path:object_id>/model/": self.model_view,
            "<path:object_id>/record/": self.record_view,
        }
        own = [
            path(where, self.admin_site.admin_view(view), name=f"training_{where.split('/')[1]}")
            for where, view in pages.items()
        ]
        urls: list[URLPattern] = own + super().get_urls()
        return urls

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a training, with the orders that it can take now."""
        training = self.get_object(request, unquote(object_id))
        shown: dict[str, Any] = {"steers": self.has_steer_permission(request)}
        if training is not None and shown["steers"]:
            fitting = (item for item in OFFERED.items() if training.state in item[1].states)
            shown["orders"] = dict(fitting)
        context = shown | (extra_context or {})
        answer: HttpResponse = super().change_view(request, object_id, form_url, context)
        return answer

    def order_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponseBase:
        """Ask for what an order has to be told and whether it is meant; give it."""
        training, order = self._steered(request, object_id), OFFERED.get(name)
        if training is None or order is None:
            return self._missing(request, object_id)
        form = order.form(training, *([request.POST] if request.method == "POST" else []))
        if not form.is_valid():
            return self._ask(request, order, {"form": form, "original": training})
        self._order(request, order, training, form.cleaned_data)
        return redirect("admin:fl_server_core_training_change", training.pk)

    def order_selected(
        self, request: HttpRequest, name: str, trainings: QuerySet[Training]
    ) -> HttpResponseBase | None:
        """Give an order to each of them, after asking whether it is meant where there are words."""
        order, rows = OFFERED[name], list(trainings[: AT_ONCE + 1])
        if len(rows) > AT_ONCE:
            sentence = f"Select at most {AT_ONCE} trainings at once: nothing was done."
            self.message_user(request, sentence, messages.ERROR)
        elif order.words and "confirmed" not in request.POST:
            return self._ask(request, order, {"name": name, "trainings": rows})
        else:
            for training in rows:
                self._order(request, order, training, {})
        return None

    def _order(
        self, request: HttpRequest, order: Order, training: Training, said: dict[str, Any]
    ) -> None:
        """Give an order and say what came of it."""
        name = training.model.name or "Training"
        of, tell = f"{name} ({training.pk}):", partial(self.message_user, request)
        try:
            done = order.carry_out(training, cast(User, request.user), said)
        except FLError as error:
            tell(f"{of} {error}", messages.ERROR)
        except Training.DoesNotExist:
            tell(f"{of} It is gone.", messages.ERROR)
        else:
            tell(f"{of} {done}", messages.SUCCESS)
            self.log_change(request, training, done)

    def _ask(self, request: HttpRequest, order: Order, shown: dict[str, Any]) -> HttpResponseBase:
        site = self.admin_site.each_context(request)
        context = site | {"opts": self.opts, "title": order.label, "order": order} | shown
        return TemplateResponse(request, "fl_server_api/admin/order.html", context)

    def _steered(self, request: HttpRequest, object_id: str) -> Training | None:
        """Return a training to somebody who may steer it; None if there is none."""
        if not self.has_steer_permission(request):
            raise PermissionDenied
        training: Training | None = self.get_object(request, unquote(object_id))
        return training

    def _missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]

    # --- What is taken away -----------------------------------------------------------

    def model_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Download the global model; never anybody's update."""
        training = self._steered(request, object_id)
        if training is None:
            return self._missing(request, object_id)
        try:
            return send(Request(request), archive(training.model))
        except FLError as error:
            return self._refuse(request, training, error)

    def record_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Download the signed record."""
        training = self._steered(request, object_id)
        if training is None:
            return self._missing(request, object_id)
        try:
            record = RecordSerializer(RecordReader(training).read()).data
        except FLError as error:
            return self._refuse(request, training, error)
        name = f'attachment; filename="training-{training.pk}.json"'
        return JsonResponse(signing.sign(record), headers={"Content-Disposition": name})

    def _refuse(self, request: HttpRequest, training: Training, error: FLError) -> HttpResponse:
        self.message_user(request, str(error), messages.ERROR)
        return redirect("admin:fl_server_core_training_change", training.pk)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:  # noqa: ARG002
        """Say what goes along as a number, because there may be many thousand messages.

        Who may delete a training needs no permission for these, as in the API.
        """
        told = Notification.objects.filter(training__in=objs).count()
        return [str(training) for training in objs], {"notifications": told}, set(), []

    def delete_model(self, request: HttpRequest, obj: Training) -> None:  # noqa: D102 (Django's)
        self.delete_queryset(request, Training.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Training]) -> None:  # noqa: ARG002, D102 (Django's)
        for training in queryset:
            with suppress(Training.DoesNotExist):
                removal.remove_training(training)
