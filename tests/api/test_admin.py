import re
import uuid
from datetime import timedelta

import pytest
from django.contrib import admin
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from fl_server_core.models import (
    Checkpoint,
    Invitation,
    Metric,
    Model,
    ModelStats,
    Moments,
    Notification,
    Training,
    Upload,
    User,
)
from fl_server_core.models.token import find_token
from tests.api.conftest import in_browser
from tests.factories import (
    LocalModelFactory,
    ModelFactory,
    NotificationFactory,
    TrainingFactory,
    UserFactory,
)

NOUNS = [User, Model, Checkpoint, Training, Metric, ModelStats, Moments]
NOUNS += [Notification, Invitation, Upload]


@pytest.fixture
def operator(db):
    return in_browser(UserFactory(username="operator", is_staff=True, is_superuser=True))


def fill(number=3):
    for _ in range(number):
        training = TrainingFactory(participants=UserFactory.create_batch(2))
        update = LocalModelFactory(base_model=training.model)
        mean = ModelFactory(kind="MEAN")
        mean.members.add(training.model)
        Metric.objects.create(
            model=update, reporter=update.owner, key="loss", value_float=1.0, step=0
        )
        Metric.objects.create(
            model=update, reporter=update.owner, key="note", value_binary=b"\0x", step=0
        )
        ModelStats.objects.create(
            sha256=uuid.uuid4().hex, input_shape="[1]", asked_at=timezone.now()
        )
        Checkpoint.objects.create(model=training.model, round=0, attempt=0, size=1)
        Invitation(created_by=training.actor, used_by=update.owner).issue()
        Moments.objects.create(model=training.model, owner=update.owner, round=0, sample_size=1)
        Upload.objects.create(owner=update.owner, length=9, expires_at=timezone.now())
        Notification.objects.create(
            training=training,
            receiver=update.owner,
            type="TRAINING_START",
            round=0,
            attempt=0,
            sequence=1,
            body={},
        )


def path(noun, page, *args):
    return reverse(f"admin:{noun._meta.app_label}_{noun._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("noun", NOUNS)
def test_every_page_of_every_noun_opens(operator, noun):
    fill(1)
    pages = [operator.get(path(noun, "changelist"))]
    terms = ("a", "0", str(noun.objects.first().pk), "\0", "'")
    pages += [operator.get(path(noun, "changelist"), {"q": term}) for term in terms]
    for row in noun.objects.all():
        pages.append(operator.get(path(noun, "change", row.pk)))
        pages.append(operator.get(path(noun, "delete", row.pk)))
        pages.append(operator.get(path(noun, "history", row.pk)))
    for page in pages:
        assert page.status_code == 200, page.request


@pytest.mark.parametrize("noun", NOUNS)
def test_every_filter_of_every_noun_opens(operator, noun):
    fill(1)
    page = operator.get(path(noun, "changelist"))
    for spec in page.context["cl"].filter_specs:
        for choice in spec.choices(page.context["cl"]):
            query = choice["query_string"]
            assert operator.get(path(noun, "changelist") + query).status_code == 200


@pytest.mark.parametrize("noun", NOUNS)
def test_a_list_begins_with_the_newest(operator, noun):
    fill(2)
    (when,) = [
        field.name
        for field in noun._meta.fields
        if field.name in ("created_at", "date_joined", "asked_at")
    ]
    for age, row in enumerate(noun.objects.order_by("pk")):
        noun.objects.filter(pk=row.pk).update(**{when: timezone.now() - timedelta(hours=age % 3)})
    shown = operator.get(path(noun, "changelist")).context["cl"].result_list
    times = [getattr(row, when) for row in shown]
    assert len(set(times)) > 1
    assert times == sorted(times, reverse=True)


def test_a_list_costs_the_same_for_many(operator):
    def count(noun):
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(path(noun, "changelist")).status_code == 200
        return len(queries)

    fill(2)
    Training.objects.update(state="O", phase="update")
    few = [count(noun) for noun in NOUNS]
    fill(16)
    Training.objects.update(state="O", phase="update")
    assert [count(noun) for noun in NOUNS] == few
    assert max(few) <= 14  # of which filters ask three, and figures up to nine


@pytest.mark.parametrize("noun", NOUNS)
def test_only_users_and_invitations_are_added_by_hand(operator, noun):
    expected = 200 if noun in (User, Invitation) else 403
    assert operator.get(path(noun, "add")).status_code == expected


def test_an_added_user_has_a_token_that_no_page_shows(operator):
    data = {
        "username": "ann",
        "usable_password": "true",
        "password1": "secret-42-x",
        "password2": "secret-42-x",
    }
    assert operator.post(path(User, "add"), data).status_code == 302
    user = User.objects.get(username="ann")
    token = user.auth_token.key.encode()
    for page in (path(User, "change", user.pk), path(User, "changelist")):
        assert token not in operator.get(page).content
    assert not any("token" in noun._meta.model_name for noun in admin.site._registry)


def test_tokens_are_ended(operator):
    user, other = UserFactory.create_batch(2)
    old = [row.auth_token.key for row in (user, other)]
    form = {"action": "end_tokens", "_selected_action": [str(user.pk)]}
    page = operator.post(path(User, "changelist"), form, follow=True)
    new = User.objects.get(pk=user.pk).auth_token.key
    assert b"Tokens ended: 1." in page.content
    assert new.encode() not in page.content
    assert [find_token(key) for key in (old[0], new)] == [None, user.auth_token]
    assert find_token(old[1]) == other.auth_token


def test_a_user_is_changed(operator):
    user = UserFactory()
    page = operator.get(path(User, "change", user.pk))
    data = {
        "username": user.username,
        "client": "on",
        "message_endpoint": "http://client-01:8101/",
    }
    assert page.status_code == 200
    assert operator.post(path(User, "change", user.pk), data).status_code == 302
    user.refresh_from_db()
    assert (user.client, user.message_endpoint) == (True, "http://client-01:8101/")


def test_undelivered_messages_follow_a_users_endpoint(operator):
    notification = NotificationFactory(receiver__message_endpoint="http://client-01:8101/")
    user = notification.receiver
    for endpoint in ("http://client-02:8101/", ""):
        data = {"username": user.username, "message_endpoint": endpoint}
        assert operator.post(path(User, "change", user.pk), data).status_code == 302
        assert Notification.objects.due().exists() == bool(endpoint)


def test_a_secret_is_set_but_never_shown(operator):
    user = UserFactory()
    url = path(User, "change", user.pk)
    form = {"username": user.username, "notification_secret": "c2VjcmV0" * 5}
    assert operator.post(url, form).status_code == 302
    page = operator.get(url)
    assert b"notification_secret" in page.content
    assert b"c2VjcmV0" not in page.content + operator.get(path(User, "changelist")).content
    assert b"c2VjcmV0" not in operator.get(path(User, "history", user.pk)).content
    operator.post(url, form | {"notification_secret": ""})  # leaves it
    assert operator.post(url, form | {"notification_secret": "short"}).status_code == 200
    user.refresh_from_db()
    assert user.notification_secret == "c2VjcmV0" * 5


def test_only_a_models_words_are_changed(operator):
    model = ModelFactory()
    data = {"name": "new", "description": "words", "round": 7, "kind": "SWAG"}
    assert operator.post(path(Model, "change", model.pk), data).status_code == 302
    model.refresh_from_db()
    assert (model.name, model.description) == ("new", "words")
    assert (model.round, model.kind) == (0, "GLOBAL")


def test_the_apps_have_names_for_people(operator):
    apps = operator.get(reverse("admin:index")).context["app_list"]
    assert "Federated learning" in {app["name"] for app in apps}
    assert not any("_" in app["name"] for app in apps)


def test_others_are_sent_to_the_login(db):
    stranger = in_browser(UserFactory())
    for noun in NOUNS:
        assert stranger.get(path(noun, "changelist")).status_code == 302


def test_an_invitation_shows_its_code_once(operator):
    page = operator.post(path(Invitation, "add"), {"note": "for Ann"}, follow=True)
    (code,) = re.findall(r"shown this once: ([\w-]{32})", page.content.decode())
    made = Invitation.objects.open(code).get()
    assert (made.note, made.created_by.username) == ("for Ann", "operator")
    assert code not in operator.get(path(Invitation, "changelist")).content.decode()


def test_a_user_is_seen_when_it_hands_in_or_is_reached(operator):
    never, handed_in, reached = UserFactory.create_batch(3)
    now = timezone.now()
    update = LocalModelFactory(owner=handed_in)
    Model.objects.filter(pk=update.pk).update(created_at=now - timedelta(days=2, minutes=1))
    day = timedelta(days=3, minutes=1)
    NotificationFactory(receiver=reached, delivered_at=now - day)
    NotificationFactory(receiver=handed_in, delivered_at=now - day)
    shown = operator.get(path(User, "changelist")).context["cl"]
    seen = {user.pk: shown.model_admin.seen(user) for user in shown.result_list}
    told = [seen[user.pk].replace("\xa0", " ") for user in (never, handed_in, reached)]
    assert told == ["never", "2 days ago", "3 days ago"]


def test_a_list_of_users_tells_what_each_stores(operator):
    owner, other = UserFactory.create_batch(2)
    for _ in range(2):
        ModelFactory(owner=owner, file="x", size=1024)
    TrainingFactory(actor=owner, model=ModelFactory(owner=other))
    shown = operator.get(path(User, "changelist")).context["cl"].result_list
    figures = {user.pk: user.figures for user in shown}
    assert [figures[owner.pk][name] for name in ("models", "trainings")] == [2, 1]
    assert figures[owner.pk]["stores"].startswith("2.0")
    assert figures[other.pk]["stores"].startswith("0")


def test_a_list_of_trainings_tells_who_is_awaited_and_who_failed(operator):
    users = UserFactory.create_batch(4)
    training = TrainingFactory(participants=users[:3])
    Training.objects.filter(pk=training.pk).update(state="O", phase="update")
    call = {"training": training, "type": "UPDATE_ROUND_START"}
    for user, state in zip(users, ("delivered", "failed", "pending", "delivered"), strict=True):
        failed = timezone.now() if state == "failed" else None
        NotificationFactory(**call, receiver=user, state=state, failed_at=failed)
    LocalModelFactory(base_model=training.model, owner=users[0])
    (row,) = operator.get(path(Training, "changelist")).context["cl"].result_list
    assert row.figures == {"participant_count": 3, "awaited": 1, "failures": 1}
    page = operator.get(path(Training, "change", training.pk)).content.decode()
    assert f'<div class="readonly">{users[2].username}</div>' in page


@pytest.mark.parametrize(("hours", "silent"), [("1", 2), ("24", 1), ("168", 0), ("x", 4)])
def test_trainings_of_which_nothing_comes_are_found(operator, hours, silent):
    for age in (0, 2, 30):
        training = TrainingFactory()
        then = timezone.now() - timedelta(hours=age)
        Training.objects.filter(pk=training.pk).update(state="O", phase="update", last_update=then)
    old = TrainingFactory()
    Training.objects.filter(pk=old.pk).update(last_update=timezone.now() - timedelta(days=90))
    page = operator.get(path(Training, "changelist"), {"silent": hours})
    assert len(page.context["cl"].result_list) == silent


def test_a_removed_model_takes_its_file_along(operator, django_capture_on_commit_callbacks):
    default_storage.save("some", ContentFile(b"bytes"))
    model = ModelFactory(file="some")
    LocalModelFactory(base_model=model)
    with django_capture_on_commit_callbacks(execute=True):
        operator.post(path(Model, "delete", model.pk), {"post": "yes"})
    assert not Model.objects.exists()
    assert not default_storage.exists("some")


def test_models_are_removed_together_with_their_updates(operator):
    update = LocalModelFactory()
    chosen = [str(pk) for pk in Model.objects.values_list("pk", flat=True)]
    form = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    operator.post(path(Model, "changelist"), form)
    assert not Model.objects.filter(pk__in=[update.pk, update.base_model_id]).exists()


def test_the_list_of_metrics_does_not_list_all_their_names(operator):
    """A participant may report thousands of them."""
    model, reporter = ModelFactory(), UserFactory()
    row = {"model": model, "reporter": reporter, "step": 0, "value_float": 1.0}
    Metric.objects.bulk_create(Metric(key=f"name-{number}", **row) for number in range(200))
    page = operator.get(reverse("admin:fl_server_core_metric_changelist")).content.decode()
    assert page.count("name-") < 200
