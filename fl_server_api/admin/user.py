"""Users, as Django shows them, with what trainings need of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from fl_server_api.admin.audited import Audited, AuditedPermissions
from fl_server_api.admin.base import CountsFigures, span
from fl_server_core.models import Model, Notification, Token, Training, User
from fl_server_core.models.model import ModelKind
from fl_server_core.models.user import validate_secret
from fl_server_core.quotas import models_of, stored_by, stored_bytes
from fl_server_core.users import renew_token


class AddUserForm(AdminUserCreationForm):  # type: ignore[type-arg]  # generic only in the stubs
    """A name and a password."""

    class Meta(AdminUserCreationForm.Meta):
        model = User


class ChangeUserForm(UserChangeForm):  # type: ignore[type-arg]  # generic only in the stubs
    """Takes a new secret, never shows the one that is stored."""

    notification_secret = forms.CharField(
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        validators=[validate_secret],
        max_length=128,
        help_text="Replaces the one that notifications are signed with; empty leaves it.",
    )

    def clean_notification_secret(self) -> str:
        """Keep the stored one where none was entered."""
        entered: str = self.cleaned_data["notification_secret"]
        return entered or self.instance.notification_secret


def last_seen(users: Sequence[User]) -> dict[UUID, datetime]:
    """Return when each user gave the last sign of life that is stored; who gave none isn't there.

    Signs are a login, a model or an update handed in, a notification fetched or accepted.
    """
    handed_in = Model.objects.filter(owner__in=users).order_by().values_list("owner")
    told = Notification.objects.filter(receiver__in=users).order_by().values_list("receiver")
    signs = [
        {user.pk: user.last_login for user in users},
        dict(handed_in.annotate(Max("created_at"))),
        dict(told.annotate(Max("delivered_at"))),
    ]
    seen = {user.pk: [times[user.pk] for times in signs if times.get(user.pk)] for user in users}
    return {pk: max(times) for pk, times in seen.items() if times}


@admin.register(User)
class UserAdmin(CountsFigures, AuditedPermissions, Audited, DjangoUserAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Users, as Django shows them, with what trainings need of them."""

    form = ChangeUserForm
    add_form = AddUserForm
    list_display = [
        "username",
        "email",
        "actor",
        "client",
        "message_endpoint",
        "seen",
        "stores",
        "model_count",
        "training_count",
        "is_active",
        "is_staff",
    ]
    list_filter = ["actor", "client", "is_staff", "is_superuser", "is_active", "groups"]
    search_fields = ["username", "first_name", "last_name", "email", "message_endpoint", "=id"]
    ordering = ["-date_joined"]
    actions = ["end_tokens"]
    readonly_fields = [
        "id",
        "token_since",
        "usage",
        "answers_promptly",
        "last_login",
        "date_joined",
    ]
    fieldsets = (
        (None, {"fields": ("id", "username", "password", "token_since")}),
        (
            "Federated learning",
            {
                "fields": (
                    "actor",
                    "client",
                    "message_endpoint",
                    "notification_secret",
                    "answers_promptly",
                    "usage",
                )
            },
        ),
        *(DjangoUserAdmin.fieldsets or ())[1:],
    )

    def add_figures(self, rows: Sequence[Any]) -> None:  # noqa: D102 (base's)
        seen, stored = last_seen(rows), stored_by([user.pk for user in rows])
        owned = Model.objects.filter(owner__in=rows).exclude(kind=ModelKind.LOCAL).order_by()
        models = dict(owned.values_list("owner").annotate(Count("pk")))
        run = Training.objects.filter(actor__in=rows).order_by()
        trainings = dict(run.values_list("actor").annotate(Count("pk")))
        for user in rows:
            user.figures = {
                "seen": seen.get(user.pk),
                "stores": filesizeformat(stored[user.pk]),
                "models": models.get(user.pk, 0),
                "trainings": trainings.get(user.pk, 0),
            }

    @admin.display(description="last seen")
    def seen(self, user: Any) -> str:
        """Return when it last gave a sign of life."""
        return f"{span(user.figures['seen'])} ago" if user.figures["seen"] else "never"

    @admin.display
    def stores(self, user: Any) -> str:
        """Return how much it stores."""
        return str(user.figures["stores"])

    @admin.display(description="models")
    def model_count(self, user: Any) -> int:
        """Return how many models it has, without its updates."""
        return int(user.figures["models"])

    @admin.display(description="trainings")
    def training_count(self, user: Any) -> int:
        """Return how many trainings it is the actor of."""
        return int(user.figures["trainings"])

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: D102 (Django's)
        super().save_model(request, obj, form, change)
        if "message_endpoint" in form.changed_data:
            Notification.objects.readdress(obj)

    @admin.display(description="token since")
    def token_since(self, user: User) -> datetime | None:
        """Return when the token was made; nobody but its user sees it."""
        return Token.objects.filter(user=user).values_list("created_at", flat=True).first()

    @admin.action(description="End the selected users' tokens", permissions=["change"])
    def end_tokens(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """Replace their tokens; users see the new one when they log in with their password."""
        for user in users:
            renew_token(user)
        self.message_user(request, f"Tokens ended: {len(users)}. Their users find new ones.")

    @admin.display(description="stores and runs")
    def usage(self, user: User) -> str:
        """Return what counts against the quotas."""
        trainings = Training.objects.filter(actor=user)
        return (
            f"{filesizeformat(stored_bytes(user))}, {models_of(user).count()} models, "
            f"{trainings.count()} trainings, {trainings.running().count()} of them running"
        )
