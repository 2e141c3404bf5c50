"""How far several trainings are, asked for all of them at once."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Count

from fl_server_ai.trainer.phases import PHASES, phase_of
from fl_server_core.models import Training


def count_awaited(trainings: Iterable[Training]) -> dict[UUID, int]:
    """Return by running training how many of those who were asked may still answer.

    Their models have to be read along. It is one query, of a part for each training: a page of
    them is what it is meant for. Trainings for which nobody is awaited are left out.
    """
    parts = [
        phase_of(training).awaited().order_by().values_list("training").annotate(Count("pk"))
        for training in trainings
        if training.is_running and training.phase in PHASES
    ]
    if not parts:
        return {}
    first, *others = parts
    return dict(first.union(*others, all=True))
