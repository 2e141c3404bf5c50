"""The audit log: a row for each act, written in the transaction of what it tells of.

So the row is there exactly when the change is. Whoever acts needn't be handed through: it is who
the request comes from that this thread answers. Once committed each row is logged, too, as a line
of JSON. Updates, metrics and what is fetched or acknowledged are no acts: they have rows of their
own.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models, transaction
from django.db.models.functions import Now
from django.http import HttpRequest

from fl_server_core.exceptions import TooMany
from fl_server_core.log_context import current_request_id
from fl_server_core.models.act import Act, ActCode, ActQuerySet
from fl_server_core.throttles import ACTS, sender_of

logger = logging.getLogger(__name__)

BY_THE_SERVER = {
    ActCode.CLIENT_LOST,
    ActCode.ROUND_REPEATED,
    ActCode.ROUND_MERGED,
    ActCode.MOMENTS_MERGED,
    ActCode.TRAINING_COMPLETED,
    ActCode.TRAINING_FAILED,
    ActCode.SETTINGS_CHANGED,
    ActCode.ACTS_FORGOTTEN,
}
"""What follows by itself, also where somebody's request happens to bring it about."""

ENDINGS = {
    ActCode.TRAINING_STOPPED,
    ActCode.TRAINING_REMOVED,
    ActCode.CLIENT_REMOVED,
    ActCode.MODEL_REMOVED,
    ActCode.GROUP_REMOVED,
}
"""What ends something that counted when it began, so that there are never more of them.

They don't count, because nobody should have to wait until a training may be stopped.
"""

FORGOTTEN = 1000
"""Rows deleted in one transaction."""

_REQUEST: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


@contextmanager
def answering(request: HttpRequest) -> Iterator[None]:
    """Let what is done in this block be done by who the request comes from."""
    token = _REQUEST.set(request)
    try:
        yield
    finally:
        _REQUEST.reset(token)


def record_act(
    code: ActCode,
    row: models.Model | None = None,
    *,
    by: AbstractBaseUser | None = None,
    **details: Any,
) -> None:
    """Note an act on a row; `by` is whoever is known to act where no request says so.

    The caller holds the transaction that makes the change. Details are few, and never secret.
    Raises what `count_act` does.
    """
    record_acts(code, [(row, details)], by=by)


def record_acts(
    code: ActCode,
    acts: Iterable[tuple[models.Model | None, dict[str, Any]]],
    *,
    by: AbstractBaseUser | None = None,
) -> None:
    """Note one act on several rows, or several times on one, each with its details."""
    if code not in BY_THE_SERVER | ENDINGS:
        count_act(by=by)
    who = {} if code in BY_THE_SERVER else _who(by)
    who["request_id"] = current_request_id()
    rows = [Act(code=code, details=details, **who, **_which(row)) for row, details in acts]
    Act.objects.bulk_create(rows)
    for row in rows:
        transaction.on_commit(partial(_log, row), robust=True)


def count_act(*, by: AbstractBaseUser | None = None) -> None:
    """Count an act of whoever the request comes from, or of `by`; staff's aren't counted.

    Raises TooMany for a user beyond FL_ACTS, because each act is a row for good.
    """
    request = _REQUEST.get()
    user: Any = by or getattr(request, "user", None)
    if request and user is not None and user.is_authenticated and not user.is_staff:
        ACTS.take(f"user {user.pk}")


def note_login(user: AbstractBaseUser, request: HttpRequest, **_: Any) -> None:
    """Note that a session was begun; one that can't be noted ends."""
    try:
        record_act(ActCode.USER_LOGGED_IN, user, by=user)
    except TooMany:
        request.session.flush()
        raise


def note_wrong_password(credentials: dict[str, Any], **_: Any) -> None:
    """Note a wrong password; a name that nobody has isn't told, because it may be a password.

    There are no more of them than FL_WRONG_PASSWORDS allows.
    """
    users = get_user_model()._default_manager
    name = str(credentials.get(get_user_model().USERNAME_FIELD, ""))
    user = None if "\0" in name else users.filter(username=name).first()
    record_act(ActCode.USER_LOGIN_FAILED, user)


def find_old() -> ActQuerySet:
    """Return the acts that have been kept for as long as FL_KEEP_AUDIT_DAYS wants."""
    days: int = settings.FL_KEEP_AUDIT_DAYS
    if not days:
        return Act.objects.none()
    return Act.objects.filter(created_at__lt=Now() - timedelta(days=days))


def forget_old() -> None:
    """Remove them, some at a time, because others want to write; note how many."""
    count = 0
    while some := list(find_old().values_list("pk", flat=True)[:FORGOTTEN]):
        count += Act.objects.filter(pk__in=some).forget()
    if count:
        record_act(ActCode.ACTS_FORGOTTEN, count=count, older_than_days=settings.FL_KEEP_AUDIT_DAYS)


def _who(by: AbstractBaseUser | None) -> dict[str, Any]:
    request = _REQUEST.get()
    user: Any = by or getattr(request, "user", None)
    known = {"address": sender_of(request)[:64]} if request else {}
    if user is not None and user.is_authenticated:
        known |= {"user_id": user.pk, "user_name": user.get_username()}
    return known


def _which(row: models.Model | None) -> dict[str, str]:
    if row is None:
        return {}
    concrete = row._meta.concrete_model or type(row)
    return {"object_type": str(concrete._meta.model_name), "object_id": str(row.pk)}


def _log(act: Act) -> None:
    logger.info("%s", json.dumps(act.told))
