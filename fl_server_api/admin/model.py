"""Models of every kind."""

from contextlib import suppress

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from fl_server_api.admin.audited import Audited
from fl_server_core import removal
from fl_server_core.models import Model

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


@admin.register(Model)
class ModelAdmin(Audited):
    """Models of every kind; their files come through the API alone."""

    list_display = [
        "id",
        "kind",
        "name",
        "owner",
        "round",
        "bytes_stored",
        "sample_size",
        "created_at",
        "closed_at",
    ]
    list_filter = [
        "kind",
        "weights_only",
        "created_at",
        ("closed_at", admin.EmptyFieldListFilter),
    ]
    list_per_page = 50
    list_select_related = ["owner"]
    ordering = ["-created_at"]
    search_fields = ["=id", "name", "description", "owner__username"]
    date_hierarchy = "created_at"
    fields = MODEL_FIELDS
    readonly_fields = tuple(name for name in MODEL_FIELDS if name not in ("name", "description"))

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002, D102
        return False

    @admin.display(description="size", ordering="size")
    def bytes_stored(self, model: Model) -> str:
        """Return the size of its file; a record's is gone."""
        return filesizeformat(model.size) if model.file else "no file"

    def delete_model(self, request: HttpRequest, obj: Model) -> None:  # noqa: D102 (Django's)
        self.delete_queryset(request, Model.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:  # noqa: ARG002, D102 (Django's)
        for model in queryset:
            with suppress(Model.DoesNotExist):  # its global model took it along
                removal.remove_model(model)
