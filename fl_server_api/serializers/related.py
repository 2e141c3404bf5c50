"""Fields that show rows by their ids alone."""

from typing import Any
from uuid import UUID

from rest_framework import serializers

from fl_server_core.links import ids_of


class RelatedIds(serializers.ListField):
    """The ids that a row is related to; `with_ids` finds them for a whole list at once."""

    child = serializers.UUIDField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)

    def get_attribute(self, instance: Any) -> list[UUID]:  # noqa: D102
        return ids_of(instance, str(self.source))

    def to_representation(self, data: list[UUID]) -> list[str]:
        """Write them in one go: a field's own way costs each of them some calls."""
        return [str(each) for each in data]
