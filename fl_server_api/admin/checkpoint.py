"""Versions of models."""

from django.contrib import admin
from django.template.defaultfilters import filesizeformat

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Checkpoint


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """Versions of global models."""

    # Files come through the API alone.
    exclude = ["file", "swag_first_moment", "swag_second_moment", "server_state"]
    list_display = ["model", "round", "attempt", "bytes_stored", "sha256", "created_at"]
    list_filter = ["created_at", ("file", admin.EmptyFieldListFilter)]
    list_select_related = ["model"]
    ordering = ["-created_at"]
    search_fields = ["=id", "=model__id", "model__name", "=sha256"]

    @admin.display(description="size", ordering="size")
    def bytes_stored(self, version: Checkpoint) -> str:
        """Return the size of its file, if that is kept."""
        return filesizeformat(version.size) if version.file else "no file"
