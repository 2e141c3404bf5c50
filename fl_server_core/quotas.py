"""How much one user may have: room on the disk, uploads, models, trainings, groups.

Settings say it; 0 is no limit.

What a request would add is counted with what is there, without a lock: some requests at once may
go beyond a limit by what they bring.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q, QuerySet, Sum

from fl_server_core.exceptions import NoRoom, QuotaReached
from fl_server_core.models import Checkpoint, Model, Moments, Training, Upload, User
from fl_server_core.models.model import ModelKind


def stored_bytes(user: User) -> int:
    """Return the size of a user's files: models with their code and versions, answers, uploads.

    An upload counts as long as it is to become.
    """
    return stored_by([user.pk])[user.pk]


def stored_by(owners: Collection[UUID]) -> Counter[UUID]:
    """Return the same for each of these users, in as many queries as for one."""
    models = Model.objects.filter(Q(closed_at=None) | ~Q(file=""), owner__in=owners)  # no records
    versions = Checkpoint.objects.stored().filter(model__owner__in=owners, model__closed_at=None)
    moments = Moments.objects.filter(owner__in=owners).exclude(first="")
    # The newest version's file is the model's own.
    older = ~Q(file__in=models.exclude(file="").values("file"))
    return (
        _sums(
            models,
            "owner",
            Sum("size", filter=~Q(file="")),
            Sum(F("preprocessing_size") + F("serving_size")),
        )
        + _sums(versions, "model__owner", Sum("size", filter=older), Sum("server_state_size"))
        + _sums(moments, "owner", Sum("size"))
        + _sums(Upload.objects.filter(owner__in=owners), "owner", Sum("length"))
    )


def _sums(rows: QuerySet[Any], owner: str, *sums: Sum) -> Counter[UUID]:
    named = {f"of_{number}": each for number, each in enumerate(sums)}
    found = rows.order_by().values_list(owner).annotate(**named)
    return Counter({who: sum(filter(None, parts)) for who, *parts in found})


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
