"""Whom a phase asks.

A round has one draw: whoever is drawn when its updates are asked for is asked for its moments and
metrics too, although these carry the next number, that of the model which the round has made. Only
a phase that is begun anew draws anew, under its new attempt, as those drawn before didn't answer.
"""

import math
import uuid
from collections.abc import Sequence
from random import Random

from fl_server_ai.plans import plan_of
from fl_server_ai.turnout import REQUESTS
from fl_server_core.models import Training, User
from fl_server_core.models.training import Phase
from fl_server_core.options import MomentsBy


def choose(training: Training) -> list[User]:
    """Return whom the phase that begins asks; a new draw sets the training's `sample_target`."""
    if training.phase == Phase.SWAG and plan_of(training).moments_by == MomentsBy.SERVER:
        return []
    options, participants = training.typed_options.round, list(training.participants.all())
    drawn = _drawn(training) if options.sample is not None else set()
    if drawn and training.phase != Phase.UPDATE:
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
    requests = training.notifications.filter(
        type__in=REQUESTS.values(), attempt=training.attempt
    ).order_by("-sequence")
    latest = requests.values("sequence")[:1]
    return set(requests.standing().filter(sequence=latest).values_list("receiver", flat=True))
