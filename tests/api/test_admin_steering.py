"""What operators tell trainings to do at /admin/, who may, and what they are told."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from fl_server_core.models import Checkpoint, Notification, Training
from tests.api.conftest import end, in_browser
from tests.factories import LocalModelFactory, TrainingFactory, UserFactory

LIST = "/admin/fl_server_core/training/"
EXPORTS = ["model/", "record/"]
ORDERS = ["start", "notify", "resume", "stop", "add", "rollback", "remove"]


def staff(*permissions):
    """Return a browser of somebody of the staff who has these permissions."""
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return in_browser(user)


@pytest.fixture
def operator(db):
    return staff("view_training", "change_training")


@pytest.fixture
def training(db):
    return TrainingFactory(participants=UserFactory.create_batch(2))


def page(training, what=""):
    return f"{LIST}{training.pk}/{what or 'change/'}"


def put(training, state):
    """Bring the training into a state, as if it had got there."""
    Training.objects.filter(pk=training.pk).update(state=state, phase="update")
    Checkpoint.objects.create(model=training.model, round=0, attempt=0, file="x", size=1)
    for user in training.participants.all():
        Notification.objects.create(
            training=training,
            receiver=user,
            type="UPDATE_ROUND_START",
            round=0,
            attempt=0,
            sequence=1,
            body={},
            state="delivered",
        )


def give(browser, training, order, said=None):
    """Give an order on the training's page; return the messages that are shown then."""
    answer = browser.post(page(training, f"order/{order}/"), said or {}, follow=True)
    return [str(message) for message in answer.context["messages"]]


def give_selected(browser, order, *trainings, **said):
    chosen = [str(training.pk) for training in trainings]
    form = {"action": order, "_selected_action": chosen, **said}
    return browser.post(LIST, form, follow=True)


def state_of(training):
    training.refresh_from_db()
    return training.state


@pytest.mark.parametrize(
    ("order", "before", "after", "told"),
    [
        ("start", "I", "O", "The training has started."),
        ("notify", "O", "O", "Notified again: 2."),
        ("stop", "O", "E", "The training is stopped."),
        ("resume", "E", "O", "The training goes on."),
    ],
)
def test_an_order_is_carried_out_and_logged(operator, training, order, before, after, told):
    if before != "I":
        put(training, before)
    assert give(operator, training, order) == [f"{training.model.name} ({training.pk}): {told}"]
    assert state_of(training) == after
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(training.pk), told)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("start", "Training {} is not in state INITIAL!"),
        ("notify", "Training {} is not running!"),
        ("stop", "Training {} is not running!"),
    ],
)
def test_it_says_why_an_order_cannot_be_carried_out(operator, training, order, reason):
    put(training, "C")
    (told,) = give(operator, training, order)
    assert told.endswith(reason.format(training.pk))
    assert state_of(training) == "C"
    assert not LogEntry.objects.exists()


def test_a_training_is_rolled_back_to_the_version_that_is_chosen(operator, training):
    put(training, "O")
    Training.objects.filter(pk=training.pk).update(target_num_updates=9)
    version = training.model.checkpoints.get()
    assert b"round 0, attempt 0" in operator.get(page(training, "order/rollback/")).content
    (told,) = give(operator, training, "rollback", {"checkpoint": str(version.pk)})
    assert told.endswith("The training goes on from its version of round 0.")
    training.refresh_from_db()
    assert training.attempt == 1


def test_anothers_version_is_none_to_choose(operator, training):
    put(training, "O")
    other = Checkpoint.objects.create(
        model=TrainingFactory().model, round=0, attempt=0, file="y", size=1
    )
    answer = operator.post(page(training, "order/rollback/"), {"checkpoint": str(other.pk)})
    assert answer.context["form"].errors
    training.refresh_from_db()
    assert training.attempt == 0


def test_the_participants_that_are_chosen_are_removed(operator, training):
    put(training, "O")
    first, second = training.participants.all()
    (told,) = give(operator, training, "remove", {"participants": [str(first.pk)]})
    assert told.endswith(f"Removed: {first.username}.")
    assert list(training.participants.all()) == [second]
    assert training.notifications.filter(receiver=first, type="CLIENT_REMOVED").exists()


@pytest.mark.parametrize("order", ["stop", "rollback", "remove"])
def test_what_destroys_is_asked_before(operator, training, order):
    put(training, "O")
    shown = operator.get(page(training, f"order/{order}/"))
    assert shown.context["order"].words in shown.content.decode()
    assert state_of(training) == "O"
    assert (
        f'href="{page(training, f"order/{order}/")}"'
        in operator.get(page(training)).content.decode()
    )


def test_a_page_offers_the_orders_that_fit_the_state(operator, training):
    def offered():
        return list(operator.get(page(training)).context["orders"])

    assert offered() == ["start", "add", "remove"]
    put(training, "O")
    assert offered() == ["notify", "add", "stop", "remove", "rollback"]
    Training.objects.update(state="E")
    assert offered() == ["resume", "add", "remove", "rollback"]


def test_selected_trainings_are_started_and_each_is_told_of(operator, training):
    empty = TrainingFactory()
    told = [str(m) for m in give_selected(operator, "start", training, empty).context["messages"]]
    assert state_of(training) == "O"
    assert state_of(empty) == "I"
    assert any(text.endswith("The training has started.") for text in told)
    assert any(text.endswith("At least one participant must be registered!") for text in told)


def test_selected_trainings_are_stopped_once_that_is_confirmed(operator, training):
    put(training, "O")
    asked = give_selected(operator, "stop", training)
    assert asked.context["order"].words in asked.content.decode()
    assert state_of(training) == "O"
    give_selected(operator, "stop", training, confirmed="yes")
    assert state_of(training) == "E"


def test_many_trainings_are_not_ordered_at_once(operator, training, monkeypatch):
    monkeypatch.setattr("fl_server_api.admin.steering.AT_ONCE", 1)
    other = TrainingFactory(participants=[UserFactory()])
    assert b"at most 1 trainings" in give_selected(operator, "start", training, other).content
    assert [state_of(training), state_of(other)] == ["I", "I"]


def test_orders_are_counted_with_those_to_the_api(operator, training, settings):
    settings.FL_STEERINGS = 0
    (told,) = give(operator, training, "start")
    assert told.endswith("Too many orders to trainings.")
    assert state_of(training) == "I"


def test_an_unknown_order_or_training_is_answered_with_a_sentence(operator, training):
    assert "exist" in give(operator, training, "melt")[0]
    put(training, "O")
    training.delete()
    for what in ("order/stop/", "model/", "record/"):
        answer = operator.get(f"{LIST}{training.model_id}/{what}", follow=True)
        assert "exist" in str(next(iter(answer.context["messages"])))


def callers(training):
    return {
        "nobody": Client(),
        "stranger": in_browser(UserFactory()),
        "participant": in_browser(training.participants.first()),
        "staff": staff(),
        "viewer": staff("view_training"),
    }


@pytest.mark.parametrize("who", ["nobody", "stranger", "participant", "staff", "viewer"])
def test_nobody_else_steers(training, who):
    put(training, "O")
    browser = callers(training)[who]
    paths = [page(training, f"order/{order}/") for order in ORDERS]
    answers = [browser.post(path, {}) for path in paths]
    paths += [page(training, what) for what in EXPORTS]
    answers += [browser.get(path) for path in paths]
    if who in ("staff", "viewer"):
        assert {answer.status_code for answer in answers} == {403}
    else:
        assert all(answer["Location"].startswith("/admin/login/") for answer in answers)
    give_selected(browser, "stop", training, confirmed="yes")
    give_selected(browser, "delete_selected", training, post="yes")
    assert state_of(training) == "O"


def test_who_may_only_look_is_offered_nothing(training):
    viewer = staff("view_training")
    shown = viewer.get(page(training)).content.decode()
    assert "order/" not in shown
    assert page(training, "model/") not in shown
    assert 'name="action"' not in viewer.get(LIST).content.decode()


def test_a_form_from_elsewhere_gives_no_order(training):
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(UserFactory(is_staff=True, is_superuser=True))
    assert operator.post(page(training, "order/start/")).status_code == 403
    assert state_of(training) == "I"


def test_the_model_is_downloaded(operator, training, model):
    Training.objects.filter(pk=training.pk).update(model=model.pk)
    answer = operator.get(page(training, "model/"))
    with model.file.open() as file:
        assert b"".join(answer.streaming_content) == file.read()
    end(answer)
    assert answer["Content-Disposition"] == f'filename="model-{model.pk}.pt"'


def test_a_model_without_a_file_is_said_to_have_none(operator, training):
    shown = operator.get(page(training, "model/"), follow=True)
    assert f"Model {training.model_id} has no file." in shown.content.decode()


def test_the_record_is_downloaded_signed(operator, training):
    put(training, "O")
    LocalModelFactory(base_model=training.model)
    answer = operator.get(page(training, "record/"))
    assert answer["Content-Disposition"].startswith("attachment; ")
    shown = answer.json()
    assert shown["record"]["training"]["id"] == str(training.pk)
    assert shown["signature"]


def test_a_training_is_deleted_by_who_may_that(training):
    put(training, "O")
    cleaner = staff("view_training", "delete_training")
    asked = cleaner.get(page(training, "delete/")).content.decode()
    assert "notifications: 2" in asked.lower()
    cleaner.post(page(training, "delete/"), {"post": "yes"})
    assert not Training.objects.exists()
    assert type(training.model).objects.filter(pk=training.model_id).exists()


def test_selected_trainings_are_deleted(training):
    cleaner = staff("view_training", "delete_training")
    give_selected(cleaner, "delete_selected", training, TrainingFactory(), post="yes")
    assert not Training.objects.exists()


def test_participants_are_added_by_their_names(operator, training):
    carla = UserFactory(username="carla")
    (told,) = give(operator, training, "add", {"names": "carla"})
    assert told.endswith("Added: carla.")
    assert training.is_participant(carla)


def test_a_training_says_that_an_operator_has_stopped_it(operator, training):
    put(training, "O")
    give(operator, training, "stop")
    training.refresh_from_db()
    assert (training.reason_code, training.state_reason) == ("stopped", "Stopped by an operator.")
    assert training.get_reason_code_display() == "Its actor or an operator wanted that."


def test_nothing_is_deleted_as_an_order(operator, training):
    assert "exist" in give(operator, training, "delete")[0]
    assert state_of(training) == "I"


def test_each_order_has_an_address():
    for order in ORDERS:
        assert reverse("admin:training_order", args=["1", order]) == f"{LIST}1/order/{order}/"


def test_a_page_leads_to_the_trainings_versions_and_notifications(training):
    looker = staff("view_training", "view_checkpoint", "view_notification")
    put(training, "O")
    put(TrainingFactory(participants=[UserFactory()]), "O")
    leads = re.findall(r'href="(/admin/[^"]*__exact=[^"]*)"', looker.get(page(training)).text)
    counts = [len(looker.get(path).context["cl"].result_list) for path in leads]
    assert counts == [1, 2]
