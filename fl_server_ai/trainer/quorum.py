"""Whether enough of those who were asked have answered."""

import uuid
from dataclasses import dataclass

Ids = frozenset[uuid.UUID]


@dataclass(frozen=True)
class Quorum:
    """Ids of the participants asked, of those who couldn't be reached, of all who answered.

    `target` answers close the phase; `needed` are enough if no more can come, which is so once
    it is `overdue`.
    """

    asked: Ids
    unreachable: Ids
    answered: Ids
    target: int
    needed: int
    overdue: bool

    @property
    def left(self) -> Ids:
        """Who may still count; somebody who answered was reached after all."""
        return self.asked - (self.unreachable - self.answered)

    @property
    def counted(self) -> Ids:
        """Who of them has answered."""
        return self.asked & self.answered

    @property
    def awaited(self) -> Ids:
        """Who may still answer."""
        return self.left - self.answered

    @property
    def is_complete(self) -> bool:
        """Whether the phase can end."""
        count = len(self.counted)
        last = self.overdue or not self.awaited or count >= self.target
        return last and count >= max(self.needed, 1)

    @property
    def is_hopeless(self) -> bool:
        """Whether there can't be enough any more."""
        possible = self.counted if self.overdue else self.left
        return len(possible) < max(self.needed, 1)

    @property
    def shortfall(self) -> str:
        """Say why it is hopeless, as the actor is told."""
        if self.overdue:
            return (
                f"only {len(self.counted)} of {len(self.asked)} participants answered in time, "
                f"{self.needed} are needed."
            )
        return f"only {len(self.left)} of {len(self.asked)} participants can still answer."
