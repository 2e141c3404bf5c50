"""`/trainings/<id>/orders/…/`: the orders of the page, and that they are the API's."""

import pytest
from django.contrib.auth.models import Permission

from fl_server_core.models import Model, Training
from tests.api.browsing import browser_of, text_of, told
from tests.factories import UserFactory

PLAIN = ["start", "stop", "resume", "notify"]
STEERING = ["stop", "resume", "notify", "rollback"]
NOT_ACTOR = "You are not the actor of the training."


def order(who, training, name, /, **sent):
    return browser_of(who).post(f"/trainings/{training.pk}/orders/{name}/", sent)


def body_of(training, participant):
    """Return what the orders of this training are about."""
    version = training.model.checkpoints.first()
    checkpoint = version.pk if version else ""
    return {"participants": participant.pk, "checkpoint": checkpoint, "names": ""}


def state_of(training):
    return Training.objects.values_list("state", "attempt").get(pk=training.pk)


def test_a_training_is_started_stopped_and_resumed(training, user):
    assert told(order(user, training, "start")) == ["The training has started."]
    assert state_of(training) == ("O", 0)
    answer = order(user, training, "stop")
    assert (answer["Location"], told(answer)) == (
        f"/trainings/{training.pk}/",
        ["The training is stopped."],
    )
    assert state_of(training) == ("E", 0)
    assert told(order(user, training, "resume")) == ["The training goes on."]
    assert state_of(training) == ("O", 0)


def test_what_was_done_is_said_once_on_the_page(training, user):
    browser, path = browser_of(user), f"/trainings/{training.pk}/"
    browser.post(f"{path}orders/start/")
    assert "The training has started." not in text_of(browser.get(f"{path}live/"))
    assert "The training has started." in text_of(browser.get(path))
    assert "The training has started." not in text_of(browser.get(path))


def test_a_refusal_has_the_apis_words(started, user):
    assert told(order(user, started, "start")) == [
        f"Training {started.pk} is not in state INITIAL!"
    ]
    assert told(order(user, started, "resume")) == [f"Training {started.pk} is not in state ERROR!"]


def test_those_awaited_are_called_again(started, user, participant):
    started.notifications.all().deliver()
    assert told(order(user, started, "notify")) == ["Notified again: 1."]
    assert participant.notifications.pending().get().type == "UPDATE_ROUND_START"


def test_a_training_goes_back_to_a_version(started, user, participant):
    said = told(order(user, started, "rollback", **body_of(started, participant)))
    assert said == ["The training goes on from its version of round 0."]
    assert state_of(started) == ("O", 1)


@pytest.mark.parametrize("checkpoint", ["", "x", "00000000-0000-0000-0000-000000000000"])
def test_what_is_no_version_of_it_is_asked_for_anew(started, user, checkpoint):
    answer = order(user, started, "rollback", checkpoint=checkpoint)
    assert (answer.status_code, "Version" in text_of(answer)) == (400, True)
    assert answer.context["form"].errors
    assert state_of(started) == ("O", 0)


def test_participants_come_and_go(training, user, participant):
    more = UserFactory(username="carla")
    assert told(order(user, training, "add", names="carla, ")) == ["Added: carla."]
    assert training.is_participant(more)
    said = told(order(user, training, "remove", participants=participant.pk))
    assert said == [f"Removed: {participant.username}."]
    assert not training.is_participant(participant)


@pytest.mark.parametrize("names", ["nobody-known", "nobody-known, carla"])
def test_who_is_unknown_is_told(training, user, names):
    UserFactory(username="carla")
    answer = order(user, training, "add", names=names)
    assert (answer.status_code, "Nobody is called nobody-known." in text_of(answer)) == (400, True)
    assert training.participants.count() == 1


def test_names_have_no_null_characters(training, user):
    assert order(user, training, "add", names="\0carla").status_code == 400
    assert training.participants.count() == 1


def test_who_takes_part_in_nobody_elses_trainings_is_not_added(training, user):
    UserFactory(username="carla", accepts_trainings_from=[])
    said = told(order(user, training, "add", names="carla"))
    assert said == [f"Not taking part in trainings of {user.username}: carla."]


def test_who_leaves_is_led_to_where_one_still_is(started, participant):
    answer = order(participant, started, "remove", participants=participant.pk)
    assert answer["Location"] == "/trainings/"
    assert not started.is_participant(participant)


def test_a_training_is_deleted_and_its_model_stays(training, user):
    answer = order(user, training, "delete")
    assert answer["Location"] == "/trainings/"
    assert told(answer) == ["The training is removed; its model stays."]
    assert not Training.objects.exists()
    assert Model.objects.filter(pk=training.model_id).exists()


# --- Who may ------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEERING)
@pytest.mark.parametrize("method", ["get", "post"])
def test_participants_do_not_steer(started, participant, name, method):
    path = f"/trainings/{started.pk}/orders/{name}/"
    answer = getattr(browser_of(participant), method)(path, body_of(started, participant))
    assert (answer.status_code, NOT_ACTOR in text_of(answer)) == (403, True)
    assert state_of(started) == ("O", 0)


def test_nor_do_they_delete(training, participant):
    assert order(participant, training, "delete").status_code == 403
    assert Training.objects.exists()


def test_participants_manage_a_training_unless_its_options_say_otherwise(training, participant):
    UserFactory(username="carla")
    assert told(order(participant, training, "add", names="carla")) == ["Added: carla."]
    Training.objects.update(options={"managed_by": "actor"})
    for name, sent in (("add", {"names": "carla"}), ("start", {})):
        assert order(participant, training, name, **sent).status_code == 403
    carla = training.participants.get(username="carla")
    assert order(participant, training, "remove", participants=carla.pk).status_code == 403
    assert training.is_participant(carla)
    assert state_of(training) == ("I", 0)


def test_staff_steer_who_may_change_trainings(started):
    staff = UserFactory(is_staff=True)
    assert order(staff, started, "stop").status_code == 404
    for name in ("view_training", "change_training"):
        staff.user_permissions.add(Permission.objects.get(codename=name))
    assert told(order(staff, started, "stop")) == ["The training is stopped."]


def test_orders_are_counted_together_with_the_apis(client, started, user, settings):
    settings.FL_STEERINGS = 3  # with the start
    assert client.post(f"/api/trainings/{started.pk}/notify/").status_code == 202
    assert told(order(user, started, "notify")) == ["Notified again: 1."]
    assert told(order(user, started, "notify")) == ["Too many orders to trainings."]


def test_who_stops_or_leaves_is_never_told_to_wait(started, user, participant, settings):
    settings.FL_STEERINGS = 0
    leaves = {"participants": participant.pk}
    assert told(order(user, started, "remove", **leaves)) == ["Too many orders to trainings."]
    assert told(order(user, started, "stop")) == ["The training is stopped."]
    left = order(participant, started, "remove", **leaves)
    assert left.status_code == 302
    assert not started.is_participant(participant)


@pytest.mark.parametrize("name", [*PLAIN, "rollback", "remove", "add", "delete"])
def test_no_other_site_gives_orders(started, user, participant, name):
    browser = browser_of(user, enforce_csrf_checks=True)
    path = f"/trainings/{started.pk}/orders/{name}/"
    assert browser.post(path, body_of(started, participant)).status_code == 403
    assert state_of(started) == ("O", 0)
    assert started.is_participant(participant)


# --- Asking first -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("stop", "A merge under way is dropped"),
        ("delete", "That can't be undone."),
        ("remove", "goes on without them."),
        ("rollback", "Roll back to the version of round 0"),
        ("add", "User names"),
        ("start", "Start"),
    ],
)
def test_asking_changes_nothing(started, user, participant, name, asked):
    path = f"/trainings/{started.pk}/orders/{name}/"
    answer = browser_of(user).get(path, body_of(started, participant))
    assert (answer.status_code, asked in text_of(answer)) == (200, True)
    assert state_of(started) == ("O", 0)
    assert started.is_participant(participant)


def test_there_are_no_other_orders(started, user):
    assert order(user, started, "explode").status_code == 404
