"""The rows of the audit log: that they are there exactly when the change is, and stay."""

import json
import re
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from fl_server_core import audit
from fl_server_core.audit import record_act
from fl_server_core.models import Act, LocalModel
from fl_server_core.models.act import ActCode, AppendOnly, trigger_lifted
from fl_server_core.users import renew_token
from tests.compose import ROOT
from tests.factories import LocalModelFactory, UserFactory

TABLE = Act._meta.db_table


@pytest.fixture
def act(db):
    record_act(ActCode.TRAINING_FAILED, reason="quorum_missed")
    return Act.objects.last()


@pytest.fixture
def aged(db, settings):
    """Make rows that are so many days old: `aged(8, 6)`; they are kept for seven."""
    settings.FL_KEEP_AUDIT_DAYS = 7

    def make(*days):
        for age in days:
            then = timezone.now() - timedelta(days=age)
            Act.objects.create(code=ActCode.USER_CHANGED, created_at=then)

    return make


def run(statement, *args):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, args)


def test_a_change_that_is_taken_back_leaves_no_act(db):
    user = UserFactory()
    with transaction.atomic():
        renew_token(user)
        assert Act.objects.filter(code="token.renewed").exists()
        transaction.set_rollback(True)
    assert not Act.objects.filter(code="token.renewed").exists()


def test_a_user_is_noted_whichever_way_it_is_made(db, django_user_model):
    user = django_user_model.objects.create_superuser("root", password="x")
    act = Act.objects.get(code="user.registered")
    assert (act.object_type, act.object_id, act.details) == ("user", str(user.pk), {"name": "root"})


def test_rows_of_all_kinds_of_models_are_models(db):
    record_act(ActCode.MODEL_REMOVED, LocalModel.objects.get(pk=LocalModelFactory().pk))
    assert Act.objects.last().object_type == "model"


@pytest.mark.parametrize(
    "change",
    [
        lambda act: act.save(),
        lambda act: act.delete(),
        lambda act: Act.objects.update(code="x"),
        lambda act: Act.objects.all().delete(),
        lambda act: Act.objects.bulk_update([act], ["code"]),
    ],
)
def test_no_row_is_changed_or_removed(act, change):
    with pytest.raises(AppendOnly), transaction.atomic():
        change(act)
    assert Act.objects.get(pk=act.pk).code == "training.failed"


@pytest.mark.parametrize("statement", [f"UPDATE {TABLE} SET code = 'x'", f"DELETE FROM {TABLE}"])
def test_nor_by_sql(act, statement):
    with pytest.raises(DatabaseError, match="neither changed nor removed"):
        run(statement)
    assert Act.objects.get(pk=act.pk).code == "training.failed"


def test_the_trigger_is_back_after_rows_were_forgotten(act):
    with trigger_lifted(TABLE):
        run(f"DELETE FROM {TABLE} WHERE id = %s", act.pk)
    record_act(ActCode.TRAINING_COMPLETED)
    with pytest.raises(DatabaseError):
        run(f"DELETE FROM {TABLE}")


def test_and_after_that_has_failed(act):
    with pytest.raises(ZeroDivisionError), trigger_lifted(TABLE):
        raise ZeroDivisionError
    with pytest.raises(DatabaseError):
        run(f"DELETE FROM {TABLE}")


def test_rows_are_forgotten_when_they_are_old_and_that_is_noted(aged, monkeypatch):
    monkeypatch.setattr(audit, "FORGOTTEN", 2)
    aged(9, 8, 8, 6)
    audit.forget_old()
    kept, noted = Act.objects.all()
    assert kept.created_at > timezone.now() - timedelta(days=7)
    assert noted.code == "acts.forgotten"
    assert noted.details == {"count": 3, "older_than_days": 7}
    audit.forget_old()
    assert Act.objects.count() == 2, "nothing was left to be noted"


def test_they_stay_for_good_where_nothing_else_is_wanted(aged, settings):
    settings.FL_KEEP_AUDIT_DAYS = 0
    aged(10_000)
    audit.forget_old()
    assert Act.objects.count() == 1


def test_a_line_of_json_follows_the_commit(db, caplog, django_capture_on_commit_callbacks):
    caplog.set_level("INFO", "fl_server_core.audit")
    with django_capture_on_commit_callbacks(execute=True):
        record_act(ActCode.GROUP_REMOVED, name="line\nbreak\u2028\x1b[1m")
        assert not caplog.records
    [record] = caplog.records
    message = record.getMessage()
    assert message.isascii()
    assert message.isprintable()
    assert json.loads(message) == Act.objects.last().told


def test_a_line_has_what_a_row_has(act):
    told = act.told
    assert told["act"] == "training.failed"
    assert told["details"] == {"reason": "quorum_missed"}
    assert {told["user"], told["user_name"], told["address"], told["object_id"]} == {None, ""}


def test_the_document_names_each_act_once():
    text = (ROOT / "docs" / "audit.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \|", text, re.MULTILINE)
    assert rows == ActCode.choices
