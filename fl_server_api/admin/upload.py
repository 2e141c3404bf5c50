"""Uploads in parts."""

from django.contrib import admin
from django.template.defaultfilters import filesizeformat

from fl_server_api.admin.base import ReadOnlyAdmin
from fl_server_core.models import Upload


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin):
    """Files that come in parts; those removed here lose their bytes within an hour or two."""

    list_display = ["id", "owner", "there", "created_at", "expires_at"]
    list_filter = ["created_at"]
    list_select_related = ["owner"]
    ordering = ["-created_at"]
    search_fields = ["=id", "owner__username"]

    @admin.display(description="there", ordering="offset")
    def there(self, upload: Upload) -> str:
        """Return how much of it has come."""
        return f"{filesizeformat(upload.offset)} of {filesizeformat(upload.length)}"
