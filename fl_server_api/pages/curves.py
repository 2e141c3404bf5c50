"""How the metrics went: of the participants that are shown, and the means of all."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.db.models import F, Max

from fl_server_core.models import Metric, Training

POINTS = 100
NAMES = 6
PEOPLE = 8

KINDS = {"mean": "metric_means", "weighted mean": "weighted_means"}
"""Means, and where each is kept."""

Values = dict[int, float]
"""By round."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart: a value or None for each of the chart's rounds."""

    name: str
    values: Sequence[float | None]
    of_all: bool = False
    """Whether it is a mean, not one participant's."""


@dataclass(frozen=True)
class Chart:
    """A metric: the mean that decides when to stop, the weighted one, then some participants."""

    number: int
    name: str
    rounds: Sequence[int]
    curves: Sequence[Curve]

    @property
    def script(self) -> str:
        """The id of the element that has them."""
        return f"curves-{self.number}"

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script draws."""
        return {"name": self.name, "rounds": self.rounds, "curves": list(map(asdict, self.curves))}

    @property
    def table(self) -> Sequence[tuple[int, Sequence[float | None]]]:
        """The same as rows, the newest first."""
        columns = [curve.values for curve in self.curves]
        rows = zip(self.rounds, *columns, strict=True)
        return [(number, values) for number, *values in reversed(list(rows))]


def read_charts(training: Training, people: Mapping[UUID, str]) -> list[Chart]:
    """Return a chart for each metric; of long trainings every n-th round, so that it is bounded."""
    people = dict(list(people.items())[:PEOPLE])
    step = training.round // POINTS + 1
    rest = training.round % step
    names = _names(training)
    means = _means(training, step, rest, names)
    own = _own(training, step, rest, people, names)
    charts = (_chart(number, name, means, own, people) for number, name in enumerate(names))
    return [chart for chart in charts if chart.rounds]


def _names(training: Training) -> list[str]:
    """Return what is drawn: the training's metrics, then others that were reported of late.

    Found before any values are read, because a participant may report thousands of names.
    """
    reported = Metric.objects.filter(model=training.model_id, value_float__isnull=False)
    newest = reported.filter(step__lte=training.round).aggregate(Max("step"))["step__max"]
    others = reported.filter(step=newest).order_by("key").values_list("key", flat=True)
    names = dict.fromkeys(training.metric_names) | dict.fromkeys(others.distinct()[:NAMES])
    return list(names)[:NAMES]


def _chart(
    number: int,
    name: str,
    means: Mapping[str, Mapping[str, Values]],
    own: Mapping[str, Mapping[UUID, Values]],
    people: Mapping[UUID, str],
) -> Chart:
    of_all = {kind: by_name[name] for kind, by_name in means.items() if name in by_name}
    of_people = own.get(name, {})
    rounds = sorted({step for line in (*of_all.values(), *of_people.values()) for step in line})
    curves = [
        Curve(kind, [line.get(step) for step in rounds], of_all=True)
        for kind, line in of_all.items()
    ]
    curves += [
        Curve(known, [of_people[user].get(step) for step in rounds])
        for user, known in people.items()
        if user in of_people
    ]
    return Chart(number, name, rounds, curves)


def _means(
    training: Training, step: int, rest: int, names: Sequence[str]
) -> dict[str, dict[str, Values]]:
    """Return the kept means by kind and metric; of versions of a round the newest attempt's."""
    tested = training.model.checkpoints.filter(
        metric_means__isnull=False, round__lte=training.round
    )
    some = tested.annotate(rest=F("round") % step).filter(rest=rest)
    rows: Any = some.order_by("round", "attempt").values_list("round", *KINDS.values())
    newest: dict[int, list[dict[str, float]]] = {}
    for number, *kept in rows.iterator(10):  # a version may have thousands of names
        newest[number] = [{name: by[name] for name in names if name in (by or {})} for by in kept]
    means: dict[str, dict[str, Values]] = {kind: defaultdict(dict) for kind in KINDS}
    for number, kept in newest.items():
        for kind, by_name in zip(KINDS, kept, strict=True):
            for name, value in by_name.items():
                means[kind][name][number] = value
    return means


def _own(
    training: Training, step: int, rest: int, people: Mapping[UUID, str], names: Sequence[str]
) -> dict[str, dict[UUID, Values]]:
    """Return what these people reported, by metric."""
    reported = Metric.objects.filter(
        model=training.model_id,
        reporter__in=people,
        key__in=names,
        value_float__isnull=False,
        step__lte=training.round,
    )
    some = reported.annotate(rest=F("step") % step).filter(rest=rest).order_by("attempt")
    own: dict[str, dict[UUID, Values]] = defaultdict(lambda: defaultdict(dict))
    rows: Any = some.values_list("key", "reporter", "step", "value_float")
    for name, user, number, value in rows:
        own[name][user][number] = value
    return own
