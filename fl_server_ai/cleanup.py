"""What is removed for its age, or because nothing needs it any more: a list of rules.

Each hour a worker goes through them; `manage.py cleanup` shows what they would remove. What a
transaction replaces goes with its commit (`fl_server_core.files.let_go`), versions and updates of
a training as its rounds end: these need no rule here.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.sessions.models import Session
from django.core.files.storage import default_storage
from django.db.models import QuerySet, Sum
from django.db.models.functions import Now

from fl_server_ai.inference import stats
from fl_server_ai.notification import outbox
from fl_server_core import audit, files, resumable
from fl_server_core.models import Upload

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """So many things; `size` in bytes, where they are files."""

    count: int
    size: int | None = None


@dataclass(frozen=True)
class Rule:
    """`find` says what there is to remove, and changes nothing; `remove` removes it."""

    what: str
    find: Callable[[], Found]
    remove: Callable[[], object]


def _orphans() -> Found:
    names, scratch = files.find_orphans(), files.find_old_scratch()
    size = sum(map(default_storage.size, names)) + sum(scratch.values())
    return Found(len(names) + len(scratch), size)


def _uploads() -> Found:
    expired, strays = Upload.objects.expired(), resumable.find_strays()
    size = (expired.aggregate(size=Sum("offset"))["size"] or 0) + sum(strays.values())
    return Found(expired.count() + len(strays), size)


def _sessions() -> QuerySet[Session]:
    return Session.objects.filter(expire_date__lt=Now())


def _rows(find: "Callable[[], QuerySet[Any]]") -> Callable[[], Found]:
    return lambda: Found(find().count())


RULES = [
    Rule("files that no row names", _orphans, files.remove_orphans),
    Rule("uploads in parts that have expired", _uploads, resumable.remove_expired),
    Rule("summaries of files that are gone", _rows(stats.find_needless), stats.forget_stats),
    Rule("calls that have done their work", _rows(outbox.find_spent), outbox.forget_spent),
    Rule("sessions that are over", _rows(_sessions), lambda: _sessions().delete()),
    Rule("old rows of the audit log", _rows(audit.find_old), audit.forget_old),
]


def remove_all() -> None:
    """Go through the rules; one that fails holds up no other."""
    for rule in RULES:
        try:
            rule.remove()
        except Exception:  # it is tried again in an hour
            logger.exception("%s can't be removed now", rule.what)
