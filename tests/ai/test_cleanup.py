"""What goes for its age: each rule shows what it would remove, and removes it when asked to."""

import os
import re
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.utils import timezone

from fl_server_ai import cleanup, tasks
from fl_server_ai.cleanup import RULES, Found, Rule
from fl_server_core import resumable
from fl_server_core.models import Act, ModelStats, Notification, Upload
from tests.factories import ModelFactory, NotificationFactory, TrainingFactory, UserFactory

LONG_AGO = timezone.now() - timedelta(days=1000)


def make_old(path):
    os.utime(path, (0, 0))


def leave_orphans(settings):
    named, unnamed = (default_storage.save(str(uuid4()), ContentFile(b"12345")) for _ in range(2))
    ModelFactory(file=named)
    scratch = settings.SCRATCH_DIR / "left"
    scratch.mkdir()
    (scratch / "file").write_bytes(b"123")
    for path in (default_storage.path(named), default_storage.path(unnamed), scratch):
        make_old(path)
    default_storage.save("young", ContentFile(b"1"))
    return 2, "8 bytes"


def leave_uploads(settings):
    owner = UserFactory()
    expired, _ = (resumable.create(owner=owner, length=9, metadata="") for _ in range(2))
    for name, size in ((expired.pk, 4), (uuid4(), 3)):
        path = settings.UPLOAD_DIR / str(name)
        path.write_bytes(bytes(size))
        make_old(path)
    Upload.objects.filter(pk=expired.pk).update(expires_at=LONG_AGO, offset=4)
    return 2, "7 bytes"


def leave_summaries(settings):
    model = ModelFactory(sha256="a" * 64)
    for sha256 in (model.sha256, "b" * 64):
        ModelStats.objects.create(sha256=sha256, input_shape="[1]", asked_at=timezone.now())
    return 1, ""


def leave_calls(settings):
    training = TrainingFactory(model=ModelFactory(round=2), state="O")
    call = {"type": "UPDATE_ROUND_START", "state": "delivered", "training": training}
    NotificationFactory(round=0, **call)
    NotificationFactory(round=2, **call)
    Notification.objects.update(created_at=LONG_AGO)
    return 1, ""


def leave_sessions(settings):
    for key, when in (("a", LONG_AGO), ("b", timezone.now() + timedelta(days=1))):
        Session.objects.create(session_key=key, session_data="", expire_date=when)
    return 1, ""


def leave_acts(settings):
    settings.FL_KEEP_AUDIT_DAYS = 7
    for when in (LONG_AGO, timezone.now()):
        Act.objects.create(code="user.changed", created_at=when)
    return 1, ""


LEFT = {
    "files that no row names": leave_orphans,
    "uploads in parts that have expired": leave_uploads,
    "summaries of files that are gone": leave_summaries,
    "calls that have done their work": leave_calls,
    "sessions that are over": leave_sessions,
    "old rows of the audit log": leave_acts,
}


def shown(*arguments):
    """Return what the command shows, by rule: how many, and what they take."""
    out = StringIO()
    call_command("cleanup", *arguments, stdout=out)
    lines = re.findall(r"^ +(\d+) +(\d\S* bytes|) +(\S.*)$", out.getvalue(), re.MULTILINE)
    assert [what for _, _, what in lines] == [rule.what for rule in RULES]
    return {what: (int(count), size) for count, size, what in lines}


def test_there_is_a_test_for_each_rule():
    assert list(LEFT) == [rule.what for rule in RULES]


@pytest.mark.parametrize("what", LEFT)
def test_it_is_shown_and_removed_only_when_that_is_asked_for(db, settings, what):
    expected = LEFT[what](settings)
    assert shown()[what] == expected
    assert shown("--apply")[what] == expected, "nothing was removed yet"
    assert shown()[what][0] == 0
    assert shown("--apply")[what][0] == 0, "again removes no more"


@pytest.mark.parametrize("what", LEFT)
def test_the_task_removes_the_same(db, settings, what):
    LEFT[what](settings)
    tasks.remove_orphaned_files()
    assert shown()[what][0] == 0


@pytest.mark.parametrize("what", LEFT)
def test_what_is_young_or_named_stays(db, settings, what):
    LEFT[what](settings)
    shown("--apply")
    left = (Upload, ModelStats, Notification, Session)
    rows = [
        *(kind.objects.count() for kind in left),
        Act.objects.filter(code="user.changed").count(),
    ]
    rows.append(len(default_storage.listdir("")[1]))
    assert max(rows) == (2 if what == "files that no row names" else 1)


def test_a_rule_that_fails_holds_up_no_other(monkeypatch, caplog):
    done = []

    def fail():
        raise OSError("the disk is gone")

    rules = [Rule("these", Found, fail), Rule("those", Found, lambda: done.append(1))]
    monkeypatch.setattr(cleanup, "RULES", rules)
    cleanup.remove_all()
    assert done == [1]
    assert "these can't be removed now" in caplog.text
