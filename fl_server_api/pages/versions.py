"""The versions of a training's model: what made each, and who is missing from it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber

from fl_server_ai.trainer.silence import Calls, Silence
from fl_server_api.pages.grid import TROUBLE
from fl_server_core.models import Checkpoint, LocalModel, Training
from fl_server_core.models.notification import NotificationQuerySet, NotificationType

VERSIONS = 10
NAMED = 5
"""Of those who are missing from a version."""

Key = tuple[int, int]
"""A round and attempt, in which updates were asked for."""


@dataclass(frozen=True)
class Absent:
    """Somebody whose update isn't part of a version."""

    name: str
    because: Silence


@dataclass(frozen=True)
class Version:
    """A version of the model, how many updates made it, and whose are missing."""

    checkpoint: Checkpoint
    updates: int
    is_known: bool
    """Whether the calls are still kept that say who is missing."""
    missing: int
    named: Sequence[Absent]
    is_present: bool

    @property
    def reasons(self) -> list[tuple[str, list[str]]]:
        """Why some are missing, and who of those who are named."""
        names: dict[str, list[str]] = defaultdict(list)
        for absent in self.named:
            names[str(absent.because.label)].append(absent.name)
        return list(names.items())

    @property
    def unnamed(self) -> int:
        """How many more are missing."""
        return self.missing - len(self.named)


@dataclass(frozen=True)
class Versions:
    """A page of them, the newest first."""

    shown: Sequence[Version]
    page: "Page[Checkpoint]"

    @classmethod
    def read(cls, training: Training, number: str | None) -> "Versions":
        """Read a page; the queries are as many for any number of versions and updates."""
        rows = training.model.checkpoints.order_by("-created_at", "-id")
        page = Paginator(rows, VERSIONS).get_page(number)
        numbers = [_call_of(row)[0] for row in page] or [0]
        calls = Calls(training, max(min(numbers), 0), max(numbers))
        asked, absent, merged = _asked(calls), _absent(calls), _merged([row.pk for row in page])
        shown = []
        for row in page:
            call, updates = _call_of(row), merged.get(row.pk, 0)
            missing = max(asked.get(call, 0) - updates, 0) if updates else 0
            is_present = (row.round, row.sha256) == (training.round, training.model.sha256)
            version = Version(
                row, updates, call in asked, missing, absent[call][:missing], is_present
            )
            shown.append(version)
        return cls(shown, page)


def _call_of(version: Checkpoint) -> Key:
    """Return the round and attempt in which its updates were asked for."""
    return version.round - 1, version.attempt


def _for_updates(calls: Calls) -> NotificationQuerySet:
    rows: NotificationQuerySet = calls.rows().filter(type=NotificationType.UPDATE_ROUND_START)
    return rows.order_by()


def _merged(versions: Collection[UUID]) -> dict[UUID | None, int]:
    """Return by version how many updates made it."""
    rows = LocalModel.objects.filter(merged_into__in=versions).order_by()
    return dict(rows.values_list("merged_into").annotate(Count("pk")))


def _asked(calls: Calls) -> dict[Key, int]:
    counted = _for_updates(calls).values("round", "attempt").annotate(many=Count("pk"))
    return {(row["round"], row["attempt"]): row["many"] for row in counted}


def _absent(calls: Calls) -> Mapping[Key, Sequence[Absent]]:
    """Return the first few by round and attempt."""
    place = Window(RowNumber(), [F("round"), F("attempt")], order_by=[F("receiver__username")])
    rows = _for_updates(calls).filter(state__in=TROUBLE).annotate(place=place)
    few = list(rows.filter(place__lte=NAMED).select_related("receiver").order_by("place"))
    calls = replace(calls, people={row.receiver_id for row in few})
    absent: dict[Key, list[Absent]] = defaultdict(list)
    for row in few:
        if because := calls.silence(row):
            absent[row.round, row.attempt].append(Absent(row.receiver.username, because))
    return absent
