"""Users, as Django shows them, with what trainings need of them."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from fl_server_core.models import Notification, Token, Training, User
from fl_server_core.models.token import issue_token
from fl_server_core.models.user import validate_secret
from fl_server_core.quotas import models_of, stored_bytes


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


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Users, as Django shows them, with what trainings need of them."""

    form = ChangeUserForm
    add_form = AddUserForm
    list_display = ["username", "email", "actor", "client", "message_endpoint", "is_staff"]
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
            issue_token(user)
        self.message_user(request, f"Tokens ended: {len(users)}. Their users find new ones.")

    @admin.display(description="stores and runs")
    def usage(self, user: User) -> str:
        """Return what counts against the quotas."""
        trainings = Training.objects.filter(actor=user)
        return (
            f"{filesizeformat(stored_bytes(user))}, {models_of(user).count()} models, "
            f"{trainings.count()} trainings, {trainings.running().count()} of them running"
        )
