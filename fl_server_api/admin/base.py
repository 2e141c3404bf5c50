"""What the pages of several nouns share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.timesince import timesince

from fl_server_api.admin.audited import Audited


def span(moment: datetime | None) -> str:
    """Return for how long that has been so, in the largest unit: a list has little room."""
    return timesince(moment, depth=1) if moment else ""


class CountedList(ChangeList):
    """A list with figures that are asked for the rows of the page alone, all at once.

    As annotations the database might count them for every row there is, to show fifty.
    """

    def get_results(self, request: HttpRequest) -> None:
        """Have `add_figures` complete the rows."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        self.model_admin.add_figures(self.result_list)  # type: ignore[attr-defined]


class CountsFigures:
    """For the pages of a noun whose list shows such figures."""

    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """Return the list that asks for them."""
        return CountedList

    def add_figures(self, rows: Sequence[Any]) -> None:
        """Give each row of a page what its columns show, in as many queries as for one row."""
        raise NotImplementedError


class ReadOnlyAdmin(Audited):
    """Rows that the server alone writes; here they can be looked at and removed."""

    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002, D102
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002, D102
        return False
