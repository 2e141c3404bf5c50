"""All that a training's page shows, read at once: as many queries for many as for few."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fl_server_ai.trainer.phases import phase_of
from fl_server_ai.trainer.quorum import Quorum
from fl_server_api.orders import Order
from fl_server_api.pages.curves import Chart, read_charts
from fl_server_api.pages.grid import Grid
from fl_server_api.pages.orders import offered
from fl_server_api.pages.rounds import Round, read_rounds
from fl_server_api.pages.versions import Versions
from fl_server_api.permissions import IsReader
from fl_server_core.models import Notification, Training, User
from fl_server_core.models.training import PhaseName, ReasonCode, TrainingState

ROUNDS = 20
NAMED = 20
"""Of those who are awaited, and of those with whom it fails."""

ENDED: dict[str, str] = {
    TrainingState.INITIAL: "Not started yet",
    TrainingState.COMPLETED: "Nobody is asked any more",
    TrainingState.ERROR: "Ended in an error",
}
WAITS: dict[str, str] = {
    PhaseName.UPDATE: "Participants train the model",
    PhaseName.SWAG: "Participants make moments of the merged model",
    PhaseName.TEST: "Participants test the merged model",
}
ADVICE: dict[str, str] = {
    ReasonCode.STOPPED: "Resume it where it stands, or roll it back to an earlier version.",
    ReasonCode.NO_PARTICIPANTS: "Add participants, then resume it.",
    ReasonCode.QUORUM_MISSED: (
        "See that those who failed can be reached again, or remove them; then resume it."
    ),
    ReasonCode.UNMERGEABLE: (
        "Remove whoever handed in what can't be merged, then resume it; or roll it back to an "
        "earlier version, and its answers are asked for anew."
    ),
    ReasonCode.MERGE_ATTEMPTS: (
        "The server's log says how the merges ended, often for want of memory. Then resume it."
    ),
}


@dataclass(frozen=True)
class Waiting:
    """What a running training waits for."""

    quorum: Quorum
    names: Sequence[str]

    @property
    def unnamed(self) -> int:
        """How many more are awaited."""
        return len(self.quorum.awaited) - len(self.names)


@dataclass(frozen=True)
class Window:
    """The rounds that are shown, and which page of them leads on."""

    rounds: range
    older: int | None
    newer: int | None

    @classmethod
    def of(cls, training: Training, until: str) -> "Window":
        """Return the rounds up to `until`, or up to the present one."""
        is_open = training.phase == PhaseName.UPDATE and training.state != TrainingState.INITIAL
        newest = training.round if is_open else training.round - 1
        last = min(int(until), newest) if until.isdecimal() and len(until) < 10 else newest
        first = max(last - ROUNDS + 1, 0)
        return cls(
            range(first, last + 1),
            older=first - 1 if first > 0 else None,
            newer=min(last + ROUNDS, newest) if last < newest else None,
        )


@dataclass(frozen=True)
class TrainingView:
    """A training as one user sees it."""

    training: Training
    waiting: Waiting | None
    failed: Sequence[Notification]
    orders: Mapping[str, Order]
    may_read_model: bool
    window: Window
    grid: Grid
    charts: Sequence[Chart]
    rounds: Sequence[Round]
    versions: Versions

    @classmethod
    def read(cls, training: Training, user: User, asked: Mapping[str, str]) -> "TrainingView":
        """Read it: `until` which round, which page of `people` and of `versions` are wanted."""
        window = Window.of(training, asked.get("until", ""))
        grid = Grid.read(training, window.rounds, asked.get("people"))
        return cls(
            training=training,
            waiting=_waiting(training) if training.is_running else None,
            failed=_failed(training),
            orders=offered(training, user),
            may_read_model=IsReader().may(user, training.model),
            window=window,
            grid=grid,
            charts=read_charts(training, {person.id: person.name for person in grid.page}),
            rounds=read_rounds(training, window.rounds),
            versions=Versions.read(training, asked.get("versions")),
        )

    @property
    def phase(self) -> str:
        """What happens now, in words."""
        training = self.training
        if training.reason_code == ReasonCode.STOPPED:
            return "Stopped"
        if not training.is_running:
            return ENDED[training.state]
        if training.locked:
            return "The server merges what has come"
        return WAITS.get(training.phase, f"Participants are asked for {training.phase}")

    @property
    def advice(self) -> str:
        """What can be done about an error."""
        training = self.training
        if training.state != TrainingState.ERROR:
            return ""
        default = "Resume it, or roll it back to an earlier version."
        return ADVICE.get(training.reason_code, default)

    @property
    def unnamed_failures(self) -> int:
        """Whether there are more than are named."""
        return max(len(self.failed) - NAMED, 0)

    @property
    def is_over(self) -> bool:
        """Whether nothing happens any more by itself."""
        return self.training.state in (TrainingState.COMPLETED, TrainingState.ERROR)

    @property
    def options(self) -> str:
        """The training's options, as its actor has sent them."""
        return json.dumps(self.training.options, indent=2, ensure_ascii=False)

    @property
    def steering(self) -> list[tuple[str, Order]]:
        """The orders that are about the whole training."""
        return [item for item in self.orders.items() if not item[1].is_told_something]


def _waiting(training: Training) -> Waiting:
    quorum = phase_of(training).quorum()
    some = User.objects.filter(pk__in=sorted(quorum.awaited)[:NAMED])
    return Waiting(quorum, sorted(some.values_list("username", flat=True)))


def _failed(training: Training) -> Sequence[Notification]:
    """Return the present round's calls that were refused or didn't arrive, the newest first."""
    calls = training.notifications.requests().filter(
        round=training.round, attempt=training.attempt, failed_at__isnull=False
    )
    return list(calls.order_by("-failed_at").select_related("receiver")[: NAMED + 1])
