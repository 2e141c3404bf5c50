"""How a training's rounds are controlled: `options.round`, read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from random import Random
from typing import Any, Self

from fl_server_core.models import Training, User

Share = float
"""From 1 on a number, below that a fraction."""

REJECT, DISCARD = "reject", "discard"


@dataclass(frozen=True)
class RoundPolicy:
    """Who is asked, how many answers are needed, how long they are waited for.

    Of the participants a `sample` is asked for each round, `over_selection` times as many as
    it needs, and the round closes when as many as it needs have answered. Bonawitz et al. 2019,
    "Towards Federated Learning at Scale: System Design", arXiv 1902.01046, sections 2.2 and 5.
    """

    quorum: Share | None
    sample: Share | None
    over_selection: float
    deadline: timedelta | None
    retries: int
    discards_late: bool
    max_sample_size: int | None
    max_share: Fraction | None

    @classmethod
    def of(cls, training: Training) -> Self:
        """Return what the training's options ask for; without any, everybody is waited for."""
        options: dict[str, Any] = training.options.get("round") or {}
        seconds, share = options.get("deadline_seconds"), options.get("max_share")
        return cls(
            quorum=options.get("quorum"),
            sample=options.get("sample"),
            over_selection=options.get("over_selection", 1),
            deadline=None if seconds is None else timedelta(seconds=seconds),
            retries=options.get("round_retries", 0 if seconds is None else 1),
            discards_late=options.get("late_updates", REJECT) == DISCARD,
            max_sample_size=options.get("max_sample_size"),
            max_share=None if share is None else Fraction(str(share)),
        )

    def sample_target(self, participants: int) -> int | None:
        """Return how many of so many participants a round needs; None for all."""
        if self.sample is None:
            return None
        return min(_count(self.sample, participants), participants)

    def select(self, training: Training, participants: Sequence[User]) -> list[User]:
        """Return who is asked in the present round and attempt; always the same for these."""
        target = self.sample_target(len(participants))
        if target is None:
            return list(participants)
        asked = min(len(participants), math.ceil(round(target * self.over_selection, 6)))
        draw = Random(f"{training.pk}/{training.round}/{training.attempt}")  # noqa: S311 (repeatable)
        return draw.sample(sorted(participants, key=lambda user: user.pk), asked)

    def answers_needed(self, target: int) -> int:
        """Return with how few answers a round may close if no more come in time."""
        return target if self.quorum is None else _count(self.quorum, target)


def _count(share: Share, whole: int) -> int:
    """Return a share of a whole, rounded up; a number may be more than there is."""
    return int(share) if share >= 1 else max(1, math.ceil(round(share * whole, 6)))
