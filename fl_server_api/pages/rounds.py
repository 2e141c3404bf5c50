"""How long each round took, and how much went to and fro, by the times that rows have."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q, Sum

from fl_server_ai.trainer.silence import Calls
from fl_server_core.models import LocalModel, Training
from fl_server_core.models.notification import NotificationType


@dataclass(frozen=True)
class Round:
    """A round under its newest attempt; what the rows don't say, or no longer, is None.

    `handed_in` counts from the call to the last update: the calls' way, training, and the updates'
    way, which nobody has noted apart. `merged` counts from there to the version, `tested` from
    there to the last metric.
    """

    number: int
    attempt: int
    asked: int
    updates: int
    update_bytes: int
    version_bytes: int | None
    called: timedelta | None
    handed_in: timedelta | None
    merged: timedelta | None
    tested: timedelta | None


def read_rounds(training: Training, rounds: range) -> Sequence[Round]:
    """Return these rounds, the newest first; the queries are as many for any number."""
    within = Calls(training, rounds.start, rounds.stop)
    kept = training.model
    calls = within.rows().filter(type=NotificationType.UPDATE_ROUND_START)
    called = _newest(
        "round", calls, at=Min("created_at"), had=Max("delivered_at"), many=Count("pk")
    )
    given = LocalModel.objects.filter(_counts(training), base_model=kept, **within.within("round"))
    handed_in = _newest("round", given, at=Max("created_at"), many=Count("pk"), bytes=Sum("size"))
    versions = kept.checkpoints.filter(**within.within("round"))
    made = _newest("round", versions, at=Max("created_at"), bytes=Max("size"))
    tests = kept.metrics.filter(**within.within("step"))
    tested = _newest("step", tests, at=Max("created_at"))
    return [
        _round(number, called.get(number), handed_in.get(number), made.get(number + 1), tested)
        for number in reversed(rounds)
        if number in called or number in handed_in
    ]


def _counts(training: Training) -> Q:
    """Return which updates count: in a chain most are handed on, and part of no version."""
    is_chain = training.typed_options.chain_period > 1
    return Q() if is_chain else Q(closed_at=None) | Q(merged_into__isnull=False)


Known = Mapping[str, Any]


def _newest(number: str, rows: Any, **wanted: Any) -> dict[int, Known]:
    """Return by round what is wanted of its newest attempt."""
    grouped: Iterable[Known] = rows.order_by().values(number, "attempt").annotate(**wanted)
    return {row[number]: row for row in sorted(grouped, key=lambda row: row["attempt"])}


def _round(
    number: int,
    called: Known | None,
    given: Known | None,
    made: Known | None,
    tested: Mapping[int, Known],
) -> Round:
    called, given, made = called or {}, given or {}, made or {}
    if made and made["attempt"] < called.get("attempt", 0):
        made = {}  # an earlier attempt made it
    if given and given["attempt"] < called.get("attempt", 0):
        given = {}
    test = tested.get(number + 1, {}) if made else {}
    return Round(
        number=number,
        attempt=called.get("attempt", given.get("attempt", 0)),
        asked=called.get("many", 0),
        updates=given.get("many", 0),
        update_bytes=given.get("bytes") or 0,
        version_bytes=made.get("bytes"),
        called=_between(called.get("at"), called.get("had")),
        handed_in=_between(called.get("at"), given.get("at")),
        merged=_between(given.get("at"), made.get("at")),
        tested=_between(made.get("at"), test.get("at")),
    )


def _between(begin: datetime | None, end: datetime | None) -> timedelta | None:
    return end - begin if begin and end and end >= begin else None
