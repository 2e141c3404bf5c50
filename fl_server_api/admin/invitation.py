"""Invitations to register."""

from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest

from fl_server_api.admin.audited import Audited
from fl_server_core.models import Invitation, User


@admin.register(Invitation)
class InvitationAdmin(Audited):
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
