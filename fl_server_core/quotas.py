"""How much one user may have: room on the disk, uploads, models, trainings, groups.

Settings say it; 0 is no limit.

What a request would add is counted with what is there, without a lock: some requests at once may
go beyond a limit by what they bring.
"""

from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet, Sum

from fl_server_core.exceptions import NoRoom, QuotaReached
from fl_server_core.models import Checkpoint, Model, Moments, Training, Upload, User
from fl_server_core.models.model import ModelKind


def stored_bytes(user: User) -> int:
    """Return the size of a user's files: models with their code and versions, answers, uploads.

    An upload counts as long as it is to become.
    """
    models = Model.objects.filter(Q(closed_at=None) | ~Q(file=""), owner=user)  # no records
    versions = Checkpoint.objects.stored().filter(model__owner=user, model__closed_at=None)
    moments = Moments.objects.filter(owner=user).exclude(first="")
    # The newest version's file is the model's own.
    older = ~Q(file__in=models.exclude(file="").values("file"))
    return (
        _sum(
            models,
            Sum("size", filter=~Q(file="")),
            Sum(F("preprocessing_size") + F("serving_size")),
        )
        + _sum(versions, Sum("size", filter=older), Sum("server_state_size"))
        + _sum(moments, Sum("size"))
        + _sum(Upload.objects.filter(owner=user), Sum("length"))
    )


def _sum(rows: QuerySet[Any], *sums: Sum) -> int:
    found = rows.aggregate(**{f"of_{number}": each for number, each in enumerate(sums)})
    return sum(filter(None, found.values()))


def models_of(user: User) -> QuerySet[Model]:
    """Return the models that a user has, without the updates to others'."""
    return Model.objects.filter(owner=user).exclude(kind=ModelKind.LOCAL)


def check_room(user: User, size: int) -> None:
    """Raise NoRoom if so many bytes more are too many."""
    limit = settings.FL_QUOTA_BYTES
    if limit and stored_bytes(user) + size > limit:
        raise NoRoom(f"You may store {limit} bytes on this server: delete models first.")


def check_uploads(user: User) -> None:
    """Raise QuotaReached if one upload more is too many."""
    rows = Upload.objects.filter(owner=user)
    _check(rows, settings.FL_QUOTA_UPLOADS, "have {} uploads: use or delete some first")


def check_models(user: User) -> None:
    """Raise QuotaReached if one model more is too many."""
    _check(models_of(user), settings.FL_QUOTA_MODELS, "have {} models: delete some first")


def check_trainings(actor: User) -> None:
    """Raise QuotaReached if one training more is too many."""
    rows = Training.objects.filter(actor=actor)
    _check(rows, settings.FL_QUOTA_TRAININGS, "have {} trainings: delete some first")


def check_running(actor: User) -> None:
    """Raise QuotaReached if one running training more is too many."""
    rows = Training.objects.running().filter(actor=actor)
    _check(rows, settings.FL_QUOTA_RUNNING, "run {} trainings at once: stop one, or wait")


def check_groups(user: User) -> None:
    """Raise QuotaReached if one group more is too many."""
    _check(user.groups.all(), settings.FL_QUOTA_GROUPS, "be in {} groups: delete some first")


def _check(rows: QuerySet[Any], limit: int, sentence: str) -> None:
    if limit and rows.count() >= limit:
        raise QuotaReached(f"You may {sentence.format(limit)}.")
