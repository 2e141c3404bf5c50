"""Noting what is done in admin for the audit log, in the transaction of the change."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from fl_server_core.audit import record_act, record_acts
from fl_server_core.models.act import ActCode
from fl_server_core.removal import record_falling

PERMISSIONS = ("is_active", "is_staff", "is_superuser", "groups", "user_permissions", "permissions")
"""Fields of users and groups that say what somebody may do."""

NOTED_BY_ROWS = ("user", "invitation")
"""Rows that note themselves that they were added, whichever way that happens."""


class Audited(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Notes what is added, changed and removed."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note a row that was added."""
        if (noun := _noun(obj)) not in NOTED_BY_ROWS:
            record_act(ActCode(f"{noun}.added"), obj, name=str(obj), admin=True)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note a row that was changed, with the names of the fields."""
        if fields := _fields(message):
            record_act(ActCode(f"{_noun(obj)}.changed"), obj, fields=fields, admin=True)
        return super().log_change(request, obj, message)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove a row, and note it."""
        with transaction.atomic():
            self._note_removal(self.model._default_manager.filter(pk=obj.pk))
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Remove rows, and note each."""
        with transaction.atomic():
            self._note_removal(queryset)
            super().delete_queryset(request, queryset)

    def _note_removal(self, rows: QuerySet[Any]) -> None:
        record_falling(rows)
        told = [(row, {"name": str(row), "admin": True}) for row in rows]
        record_acts(ActCode(f"{_noun(rows.model)}.removed"), told)


class AuditedPermissions(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in the stubs
    """Notes of users and groups what they may do from now on."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Note what is changed of that."""
        super().save_related(request, form, formsets, change)
        changed = [name for name in PERMISSIONS if name in form.changed_data]
        if changed:
            told = {name: _told(form.cleaned_data[name]) for name in changed}
            record_act(ActCode.PERMISSION_CHANGED, form.instance, name=str(form.instance), **told)


def _noun(row: Any) -> str:
    return str(row._meta.model_name)


def _fields(message: Any) -> list[str]:
    """Return what Django's message says was changed."""
    parts = message if isinstance(message, list) else []
    return [str(name) for part in parts for name in part.get("changed", {}).get("fields", [])]


def _told(value: Any) -> Any:
    return value if isinstance(value, bool) else sorted(map(str, value))
