"""What operators see and may change at /admin/.

States, rounds and files are shown, not edited, because an edit by hand would bypass the rules
that the trainer keeps. Only fields without such rules can be changed.
"""

from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from fl_server_core.models import (
    Checkpoint,
    Invitation,
    Metric,
    Model,
    ModelStats,
    Moments,
    Notification,
    Token,
    Tracking,
    Training,
    Upload,
    User,
)
from fl_server_core.models.token import issue_token
from fl_server_core.models.user import validate_secret
from fl_server_core.quotas import models_of, stored_bytes

admin.site.site_header = admin.site.site_title = "Federated learning"

MODEL_FIELDS = (
    "id",
    "kind",
    "owner",
    "name",
    "description",
    "input_shape",
    "round",
    "attempt",
    "sha256",
    "size",
    "weights_only",
    "preprocessing_sha256",
    "preprocessing_size",
    "serving_size",
    "members",
    "base_model",
    "sample_size",
    "created_at",
    "closed_at",
    "merged_into",
)

TRAINING_FIELDS = (
    "id",
    "actor",
    "model",
    "participants",
    "state",
    "reason_code",
    "state_reason",
    "phase",
    "phase_since",
    "deadline",
    "round",
    "attempt",
    "retries",
    "sample_target",
    "target_num_updates",
    "aggregation_method",
    "uncertainty_method",
    "metric_names",
    "options",
    "created_at",
    "last_update",
    "claimed_until",
    "claims",
)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Rows that the server alone writes; here they can be looked at and removed."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002, D102
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002, D102
        return False


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


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Invitations, with who has used them; the code is shown once."""

    fields = ["note"]
    list_display = ["__str__", "created_at", "created_by", "expires_at", "used_at", "used_by"]
    list_filter = ["created_at", ("used_at", admin.EmptyFieldListFilter)]
    list_select_related = ["created_by", "used_by"]
    search_fields = ["note", "used_by__username", "created_by__username"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002, D102
        return False

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:  # noqa: ARG002, D102 (Django's)
        obj.created_by = cast(User, request.user)
        code = obj.issue()
        self.message_user(request, f"The code, shown this once: {code}")


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Models of every kind; their files come through the API alone."""

    list_display = ["id", "kind", "name", "owner", "round", "size", "sample_size", "created_at"]
    list_filter = [
        "kind",
        "weights_only",
        "created_at",
        ("closed_at", admin.EmptyFieldListFilter),
    ]
    list_select_related = ["owner"]
    ordering = ["-created_at"]
    search_fields = ["=id", "name", "description", "owner__username"]
    date_hierarchy = "created_at"
    fields = MODEL_FIELDS
    readonly_fields = tuple(name for name in MODEL_FIELDS if name not in ("name", "description"))

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002, D102
        return False


@admin.register(Training)
class TrainingAdmin(ReadOnlyAdmin):
    """Trainings, with who takes part and how far they are."""

    list_display = [
        "id",
        "actor",
        "model__name",
        "state",
        "round",
        "target_num_updates",
        "participant_count",
        "aggregation_method",
        "phase_since",
        "deadline",
        "last_update",
    ]
    list_filter = ["state", "phase", "aggregation_method", "uncertainty_method", "created_at"]
    list_select_related = ["actor", "model"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=model__id", "model__name", "actor__username", "state_reason"]
    date_hierarchy = "created_at"
    fields = TRAINING_FIELDS
    readonly_fields = TRAINING_FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Training]:
        """Count the participants in the same query."""
        rows: QuerySet[Training] = super().get_queryset(request)
        return rows.annotate(participant_count=Count("participants"))

    @admin.display(description="participants", ordering="participant_count")
    def participant_count(self, training: Any) -> int:
        """Return how many take part."""
        count: int = training.participant_count
        return count


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """Versions of global models."""

    # Files come through the API alone.
    exclude = ["file", "swag_first_moment", "swag_second_moment", "server_state"]
    list_display = ["model", "round", "attempt", "size", "sha256", "created_at"]
    list_filter = ["created_at", ("file", admin.EmptyFieldListFilter)]
    list_select_related = ["model"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=model__id", "model__name", "=sha256"]


@admin.register(Metric)
class MetricAdmin(ReadOnlyAdmin):
    """Reported metrics."""

    list_display = ["key", "value_float", "step", "model", "reporter", "created_at"]
    list_filter = ["key", "created_at"]
    list_select_related = ["model", "reporter"]
    ordering = ["-created_at"]
    search_fields = ["key", "=model__id", "model__name", "reporter__username"]


@admin.register(Moments)
class MomentsAdmin(ReadOnlyAdmin):
    """SWAG moments handed in."""

    exclude = ["first", "second"]
    list_display = ["owner", "model", "round", "attempt", "sample_size", "created_at"]
    list_filter = ["created_at"]
    list_select_related = ["model", "owner"]
    ordering = ["-created_at"]
    search_fields = ["=model__id", "model__name", "owner__username"]


@admin.register(ModelStats)
class ModelStatsAdmin(ReadOnlyAdmin):
    """Summaries of models."""

    list_display = ["sha256", "input_shape", "asked_at", "computed_at"]
    list_filter = ["asked_at"]
    ordering = ["-asked_at"]
    search_fields = ["=sha256"]


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """Messages to participants, and whether they were delivered."""

    list_display = [
        "type",
        "receiver",
        "training",
        "round",
        "state",
        "deliveries",
        "delivered_at",
        "failed_at",
        "error",
    ]
    list_filter = [
        "type",
        "state",
        "created_at",
    ]
    list_select_related = ["receiver", "training"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=training__id", "receiver__username", "error"]
    date_hierarchy = "created_at"


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin):
    """Files that come in parts; those removed here lose their bytes within an hour or two."""

    list_display = ["id", "owner", "offset", "length", "created_at", "expires_at"]
    list_filter = ["created_at"]
    list_select_related = ["owner"]
    ordering = ["-created_at"]
    search_fields = ["=id", "owner__username"]


@admin.register(Tracking)
class TrackingAdmin(ReadOnlyAdmin):
    """What an experiment tracker knows; a training removed here is told once more, as a new run."""

    list_display = ["training", "run", "attempt", "round", "state", "due_at", "failures", "error"]
    list_filter = ["state", "due_at"]
    list_select_related = ["training"]
    ordering = ["-due_at"]
    search_fields = ["=training__id", "=run", "error"]
