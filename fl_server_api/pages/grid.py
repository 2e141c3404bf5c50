"""What has become of each participant's calls, round by round."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q

from fl_server_ai.trainer.record import OF_CALLS
from fl_server_ai.trainer.silence import Calls, Silence
from fl_server_core.models import Notification, Training, User
from fl_server_core.models.notification import NotificationState, NotificationType

PEOPLE = 25
TROUBLE = (NotificationState.FAILED, NotificationState.MISSED, NotificationState.WITHDRAWN)

ASKED_FOR = {
    NotificationType.UPDATE_ROUND_START: "update",
    NotificationType.SWAG_ROUND_START: "moments",
    NotificationType.MODEL_TEST_ROUND: "metrics",
}


@dataclass(frozen=True)
class Mark:
    """How a call's fate is shown: a sign, which isn't read aloud, and words."""

    name: str
    sign: str
    words: str


ARRIVED = Mark("arrived", "✓", "arrived")
LATE = Mark("late", "◷", "came too late to count")
NOT_ASKED = Mark("none", "·", "not asked")
SIGNS = {
    Silence.REFUSED: "⊘",
    Silence.LOST: "✕",
    Silence.MISSED: "○",
    Silence.REMOVED: "\N{MINUS SIGN}",
    Silence.WITHDRAWN: "↶",
    Silence.UNANSWERED: "?",
    Silence.AWAITED: "…",
}
SILENT = {why: Mark(why.value, SIGNS[why], str(why.label)) for why in SIGNS}
MARKS = [*SILENT.values(), LATE, ARRIVED]
"""The graver first: a cell shows the gravest of its round's calls."""


@dataclass(frozen=True)
class Cell:
    """A participant's round."""

    mark: Mark
    words: str


@dataclass(frozen=True)
class Row:
    """A participant, who may have left."""

    id: UUID
    name: str
    takes_part: bool
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Grid:
    """Some participants, those with trouble first, and what became of their calls."""

    rounds: range
    rows: Sequence[Row]
    page: "Page[Person]"
    marks: Sequence[Mark]

    @classmethod
    def read(cls, training: Training, rounds: range, page: str | None) -> "Grid":
        """Read a page of it; `rounds` are those that updates are asked for in."""
        # Moments and metrics carry the number of the version that the round makes: one more.
        within = Calls(training, rounds.start, rounds.stop)
        people = Paginator(_people(training, within), PEOPLE).get_page(page)
        calls = replace(within, people=[person.id for person in people])
        latest = _latest(calls)
        rows = []
        for who in people:
            cells = [_cell(calls, latest[who.id][number]) for number in rounds]
            rows.append(Row(who.id, who.name, who.takes_part, cells))
        used = {cell.mark for row in rows for cell in row.cells}
        return cls(rounds, rows, people, [mark for mark in MARKS if mark in used])


@dataclass(frozen=True)
class Person:
    """Somebody who takes part, or was called in the rounds that are shown."""

    id: UUID
    name: str
    takes_part: bool
    trouble: int


def _people(training: Training, within: Calls) -> list[Person]:
    trouble = Count("pk", filter=Q(state__in=TROUBLE))
    called = within.rows().order_by().values("receiver").annotate(trouble=trouble)
    troubles = dict(called.values_list("receiver", "trouble"))
    present = dict(training.participants.order_by().values_list("pk", "username"))
    gone = User.objects.filter(pk__in=troubles.keys() - present.keys())
    names = dict(gone.values_list("pk", "username")) | present
    people = [
        Person(user, name, user in present, troubles.get(user, 0)) for user, name in names.items()
    ]
    return sorted(people, key=lambda person: (-person.trouble, person.name))


Latest = dict[UUID, dict[int, dict[str, Notification]]]


def _latest(calls: Calls) -> Latest:
    """Return by person and round the newest call for each thing that it asks for."""
    latest: Latest = defaultdict(lambda: defaultdict(dict))
    for call in calls.rows().only(*OF_CALLS).order_by("attempt", "sequence"):
        number = call.round - (call.type != NotificationType.UPDATE_ROUND_START)
        latest[call.receiver_id][number][call.type] = call
    return latest


def _mark(calls: Calls, call: Notification) -> Mark:
    why = calls.silence(call)
    if why is None:
        return ARRIVED
    return LATE if why == Silence.MISSED and calls.has_answer(call) else SILENT[why]


def _cell(calls: Calls, by_kind: Mapping[str, Notification]) -> Cell:
    marks = {kind: _mark(calls, call) for kind, call in by_kind.items()}
    words = [
        f"{what}: {marks[kind].words.rstrip('.')}"
        for kind, what in ASKED_FOR.items()
        if kind in marks
    ]
    return Cell(min(marks.values(), key=MARKS.index, default=NOT_ASKED), "; ".join(words))
