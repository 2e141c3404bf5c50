"""Whom a phase asks.

A round has one draw: whoever is drawn when its updates are asked for is asked for its moments and
metrics too, although these carry the next number, that of the model which the round has made. Only
a phase that is begun anew draws anew, under its new attempt, as those drawn before didn't answer.
"""

import math
import uuid
from collections.abc import Sequence
from random import Random

from fl_server_core.models import Training, User


def choose(training: Training, *, anew: bool) -> list[User]:
    """Return whom a phase that begins asks; a new draw sets the training's `sample_target`."""
    options, participants = training.typed_options.round, list(training.participants.all())
    drawn = _drawn(training) if options.sample is not None else set()
    if drawn and not anew:
        return [user for user in participants if user.pk in drawn]
    training.sample_target = options.sample_target(len(participants))
    return select(training, participants)


def select(training: Training, participants: Sequence[User]) -> list[User]:
    """Return who is asked in the present round and attempt; always the same for these."""
    options = training.typed_options.round
    target = options.sample_target(len(participants))
    if target is None:
        return list(participants)
    asked = min(len(participants), math.ceil(round(target * options.over_selection, 6)))
    draw = Random(f"{training.pk}/{training.round}/{training.attempt}")  # noqa: S311 (repeatable)
    return draw.sample(sorted(participants, key=lambda user: user.pk), asked)


def _drawn(training: Training) -> set[uuid.UUID]:
    """Return who was asked last under this attempt, but for those who have left since."""
    requests = training.notifications.requests().filter(attempt=training.attempt)
    latest = requests.order_by("-sequence").values("sequence")[:1]
    return set(requests.standing().filter(sequence=latest).values_list("receiver", flat=True))
