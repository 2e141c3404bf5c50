"""A training's metrics as rows, read one after another, however many there are.

Long, each row is a value, of whatever attempt. Wide, a row is what one participant has reported in
a round, as far as that counts, and the means that the server took follow it, as the participant
`mean` without an id.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from fl_server_core.exceptions import InvalidRequest
from fl_server_core.models import Metric, Training

CHUNK = 2000
"""Rows read at a time."""

MOST_COLUMNS = 1000
MEAN = "mean"
BY_ROUND = ("step", "attempt", "reporter_id", "key")
BY_PARTICIPANT = ("reporter_id", "step", "attempt", "key")
COLUMNS = (
    "step",
    "attempt",
    "reporter__username",
    "reporter_id",
    "key",
    "value_float",
    "value_binary",
    "created_at",
)


@dataclass(frozen=True)
class Value:
    """What a participant has reported under a name: a number, or else bytes."""

    round: int
    attempt: int
    participant: str
    participant_id: UUID
    metric: str
    value: float | None
    value_binary: bytes | None
    time: datetime


@dataclass(frozen=True)
class Row:
    """The numbers of one participant in one round, or the means of that round's version."""

    round: int
    attempt: int
    participant: str
    participant_id: UUID | None
    time: datetime
    metrics: dict[str, float] = field(default_factory=dict)


def long(training: Training) -> Iterator[Value]:
    """Yield all values, round by round."""
    return _values(_reported(training), BY_ROUND)


def wide(training: Training) -> Iterator[Row]:
    """Yield all that counts, round by round; the means come last in each."""
    participants = _rows(_values(_reported(training).current(), BY_ROUND))
    return merge(participants, means(training), key=attrgetter("round"))


def by_participant(training: Training) -> Iterator[Row]:
    """Yield all that counts, participant by participant."""
    return _rows(_values(_reported(training).current(), BY_PARTICIPANT))


def means(training: Training) -> Iterator[Row]:
    """Yield the means of each tested round; of several versions of it the newest counts."""
    tested = training.model.checkpoints.filter(metric_means__isnull=False)
    columns = ("round", "attempt", "created_at", "metric_means")
    rows = tested.order_by("round", "attempt").values_list(*columns).iterator(CHUNK)
    for _, versions in groupby(rows, key=lambda row: row[0]):
        *_, (number, attempt, time, values) = versions
        yield Row(number, attempt, MEAN, None, time, values or {})


def metric_names(training: Training) -> list[str]:
    """Return the names of all numbers; raises InvalidRequest where a table has no room for them."""
    numbers = _reported(training).filter(value_float__isnull=False).order_by("key")
    names = list(numbers.values_list("key", flat=True).distinct()[: MOST_COLUMNS + 1])
    if len(names) > MOST_COLUMNS:
        raise InvalidRequest(f"There are more than {MOST_COLUMNS} metrics: ask for shape=long.")
    return names


def _reported(training: Training) -> Any:
    return Metric.objects.filter(model=training.model_id)


def _values(metrics: QuerySet[Metric], order: tuple[str, ...]) -> Iterator[Value]:
    rows: Iterator[Any] = metrics.order_by(*order).values_list(*COLUMNS).iterator(CHUNK)
    for step, attempt, name, user, key, number, binary, time in rows:
        text = None if binary is None else bytes(binary)
        yield Value(step, attempt, name, user, key, number, text, time)


def _rows(values: Iterator[Value]) -> Iterator[Row]:
    for _, group in groupby(values, key=attrgetter("round", "attempt", "participant_id")):
        some = list(group)
        numbers = {value.metric: value.value for value in some if value.value is not None}
        newest = max(value.time for value in some)
        first = some[0]
        yield Row(
            first.round, first.attempt, first.participant, first.participant_id, newest, numbers
        )
