"""How much one user may have: room on the disk, uploads, models, trainings, groups.

Settings say it; 0 is no limit.

What a request would add is counted with what is there, without a lock: some requests at once may
go beyond a limit by what they bring.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q, QuerySet, Sum

from fl_server_core.compiled import compiled
from fl_server_core.exceptions import NoRoom, QuotaReached
from fl_server_core.models import Checkpoint, Model, Moments, Training, Upload, User
from fl_server_core.models.model import ModelKind


def stored_bytes(user: User) -> int:
    """Return the size of a user's files: models with their code and versions, answers, uploads.

    An upload counts as long as it is to become.
    """
    return _added(rows for sums in SUMS_OF_ONE for rows in sums(user.pk))[user.pk]


def stored_by(owners: Collection[UUID]) -> Counter[UUID]:
    """Return the same for each of these users, in as many queries as for one."""
    return _added(rows for sums in SUMS for rows in sums(owners))


def _added(rows: Iterable[tuple[Any, ...]]) -> Counter[UUID]:
    stored: Counter[UUID] = Counter()
    for owner, *sizes in rows:
        stored[owner] += sum(filter(None, sizes))
    return stored


def _models(owners: Collection[UUID]) -> QuerySet[Any]:
    """All but records, which have no file."""
    return Model.objects.filter(Q(closed_at=None) | ~Q(file=""), owner__in=owners)


def _sums_of_models(owners: Collection[UUID]) -> QuerySet[Any]:
    code = Sum(F("preprocessing_size") + F("serving_size"))
    return _sums(_models(owners), "owner", files=Sum("size", filter=~Q(file="")), code=code)


def _sums_of_versions(owners: Collection[UUID]) -> QuerySet[Any]:
    versions = Checkpoint.objects.stored().filter(model__owner__in=owners, model__closed_at=None)
    # The newest version's file is the model's own.
    older = ~Q(file__in=_models(owners).exclude(file="").values("file"))
    files, states = Sum("size", filter=older), Sum("server_state_size")
    return _sums(versions, "model__owner", files=files, states=states)


def _sums_of_moments(owners: Collection[UUID]) -> QuerySet[Any]:
    moments = Moments.objects.filter(owner__in=owners).exclude(first="")
    return _sums(moments, "owner", files=Sum("size"))


def _sums_of_uploads(owners: Collection[UUID]) -> QuerySet[Any]:
    return _sums(Upload.objects.filter(owner__in=owners), "owner", files=Sum("length"))


def _sums(rows: QuerySet[Any], owner: str, **sums: Sum) -> QuerySet[Any]:
    found: QuerySet[Any] = rows.order_by().values_list(owner).annotate(**sums)
    return found


SUMS = (_sums_of_models, _sums_of_versions, _sums_of_moments, _sums_of_uploads)
"""Each makes rows of an owner and some sizes, of which any may be None."""

SUMS_OF_ONE = [compiled(lambda owner, of=of: of([owner])) for of in SUMS]


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
