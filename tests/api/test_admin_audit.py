"""What is done in admin stands in the audit log, and the log is only looked at there."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import RequestFactory
from django.urls import reverse

from fl_server_api.admin.audited import NOTED_BY_ROWS, Audited
from fl_server_core.models import Act, Invitation, Model, Training, User
from fl_server_core.models.act import ActCode
from tests.api.conftest import in_browser
from tests.factories import ModelFactory, TrainingFactory, UserFactory


@pytest.fixture
def operator(db):
    return in_browser(UserFactory(username="operator", is_staff=True, is_superuser=True))


def path(noun, page, *args):
    return reverse(f"admin:{noun._meta.app_label}_{noun._meta.model_name}_{page}", args=args)


def post(operator, noun, page, *args, **data):
    """Send a form that must be taken; return the acts that this leaves, as code and details."""
    last = Act.objects.last()
    response = operator.post(path(noun, page, *args), data)
    assert response.status_code == 302, response.context["errors"]
    acts = Act.objects.filter(pk__gt=last.pk)
    assert {act.user_name for act in acts} == {"operator"}
    assert {act.address for act in acts} == {"127.0.0.1"}
    return [(act.code, act.details) for act in acts]


def test_a_user_is_added(operator):
    form = {"usable_password": "true", "password1": "secret-42-x", "password2": "secret-42-x"}
    acts = post(operator, User, "add", username="ann", **form)
    assert acts == [("user.registered", {"name": "ann"})]


def test_a_user_is_changed_by_the_names_of_fields_alone(operator):
    user = UserFactory(is_active=True)
    secret = "c2VjcmV0" * 5
    form = {"username": user.username, "is_active": "on", "notification_secret": secret}
    [(code, details)] = post(operator, User, "change", user.pk, **form)
    assert (code, details) == ("user.changed", {"fields": ["notification_secret"], "admin": True})


def test_what_a_user_may_do_is_told(operator):
    user, group = UserFactory(), Group.objects.create(name="trusted")
    may = Permission.objects.get(codename="upload_code")
    form = {"username": user.username, "is_active": "on", "is_staff": "on"}
    form |= {"groups": [group.pk], "user_permissions": [may.pk]}
    acts = dict(post(operator, User, "change", user.pk, **form))
    assert set(acts) == {"permission.changed", "user.changed"}
    told = acts["permission.changed"]
    assert told["is_staff"] is True
    assert told["groups"] == ["trusted"]
    assert told["user_permissions"] == [str(may)]


def test_a_groups_permissions_too(operator):
    may = Permission.objects.get(codename="upload_code")
    acts = post(operator, Group, "add", name="trusted", permissions=[may.pk])
    assert [code for code, _ in acts] == ["permission.changed", "group.added"]
    assert acts[0][1]["permissions"] == [str(may)]


def test_a_password_is_changed(operator):
    user = UserFactory()
    form = {"usable_password": "true", "password1": "secret-42-x", "password2": "secret-42-x"}
    last = Act.objects.last()
    url = reverse("admin:auth_user_password_change", args=[user.pk])
    assert operator.post(url, form).status_code == 302
    [act] = Act.objects.filter(pk__gt=last.pk)
    assert (act.code, act.object_id) == ("user.changed", str(user.pk))
    assert "secret" not in str(act.told)


def test_an_invitation_is_made_and_its_code_not_told(operator):
    [(code, details)] = post(operator, Invitation, "add", note="for Ann")
    assert (code, details) == ("invitation.made", {"note": "for Ann", "days": 7})


def test_tokens_are_ended(operator):
    user = UserFactory()
    form = {"action": "end_tokens", "_selected_action": [str(user.pk)]}
    [(code, _)] = post(operator, User, "changelist", **form)
    assert code == "token.renewed"


def test_a_models_words_are_changed(operator):
    [(code, _)] = post(operator, Model, "change", ModelFactory().pk, name="new", description="d")
    assert code == "model.changed"


def test_with_a_user_fall_its_trainings_and_models(operator):
    training = TrainingFactory()
    other = TrainingFactory(participants=[training.actor])
    acts = post(operator, User, "delete", training.actor.pk, post="yes")
    fallen = ["model.removed", "training.client_removed", "training.removed", "user.removed"]
    assert [code for code, _ in acts] == fallen
    assert Training.objects.get() == other


def test_many_are_removed_at_once(operator):
    trainings = [TrainingFactory(), TrainingFactory()]
    form = {"action": "delete_selected", "post": "yes"}
    form["_selected_action"] = [str(training.pk) for training in trainings]
    acts = post(operator, Training, "changelist", **form)
    assert [code for code, _ in acts] == ["training.removed"] * 2


def test_a_change_that_fails_leaves_none(operator, monkeypatch):
    user, last = UserFactory(), Act.objects.last()

    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(User, "delete", fail)
    with pytest.raises(ZeroDivisionError):
        operator.post(path(User, "delete", user.pk), {"post": "yes"})
    assert Act.objects.last() == last


def test_whatever_can_be_done_in_admin_has_a_code():
    codes = set(ActCode.values)
    asked = RequestFactory().get("/")
    asked.user = User(is_superuser=True, is_active=True)
    for noun, page in admin.site._registry.items():
        name = noun._meta.model_name
        assert not page.has_delete_permission(asked) or f"{name}.removed" in codes
        assert not page.has_change_permission(asked) or f"{name}.changed" in codes
        if page.has_add_permission(asked):
            assert name in NOTED_BY_ROWS or f"{name}.added" in codes
        assert isinstance(page, Audited)


def test_the_log_is_only_looked_at(operator):
    act = Act.objects.last()
    for page, args, status in [
        ("changelist", [], 200),
        ("change", [act.pk], 200),
        ("add", [], 403),
        ("delete", [act.pk], 403),
    ]:
        assert operator.get(path(Act, page, *args)).status_code == status
    assert operator.post(path(Act, "change", act.pk), {"code": "x"}).status_code == 403
    gone = {"action": "delete_selected", "post": "yes", "_selected_action": [str(act.pk)]}
    operator.post(path(Act, "changelist"), gone)
    assert Act.objects.get(pk=act.pk).code == act.code


def test_it_is_found_by_who_and_what_and_filtered(operator):
    user = UserFactory(username="ann")
    for query in ({"q": str(user.pk)}, {"code": "user.registered"}, {"user_id__isempty": "1"}):
        page = operator.get(path(Act, "changelist"), query)
        assert page.context["cl"].result_count
    for query in ({"q": "a'b"}, {"q": "nobody"}):
        assert operator.get(path(Act, "changelist"), query).context["cl"].result_count == 0


def test_a_stranger_does_not_see_it(db, client):
    client.force_login(UserFactory())
    assert client.get(path(Act, "changelist")).status_code == 302
    client.force_login(UserFactory(is_staff=True))
    assert client.get(path(Act, "changelist")).status_code == 403
