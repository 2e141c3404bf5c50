"""What the actor alone does to a training under way: stop, resume, roll back, notify."""

import uuid

import pytest

from tests.api.conftest import as_user
from tests.factories import UserFactory

URL = "/api/trainings/"
FORBIDDEN = {"detail": "You are not the actor of the training."}


def post(caller, training, action, body=None):
    return caller.post(f"{URL}{training.pk}/{action}/", body)


def told(response, code=202):
    assert response.status_code == code, response.content
    return response.json()


def test_a_training_is_stopped_and_resumed(client, started):
    assert told(post(client, started, "stop")) == {"detail": "Training stopped!"}
    shown = client.get(f"{URL}{started.pk}/").json()
    assert (shown["state"], shown["state_reason"]) == ("E", "Stopped by its actor.")
    assert told(post(client, started, "stop"), 400) == [f"Training {started.pk} is not running!"]
    assert told(post(client, started, "resume")) == {"detail": "Training resumed!"}
    shown = client.get(f"{URL}{started.pk}/").json()
    assert (shown["state"], shown["state_reason"]) == ("O", "")
    refusal = [f"Training {started.pk} is not in state ERROR!"]
    assert told(post(client, started, "resume"), 400) == refusal


def test_a_training_is_taken_back_to_a_checkpoint(client, started):
    version = started.model.checkpoints.get()
    body = {"checkpoint": str(version.pk)}
    assert told(post(client, started, "rollback", body)) == {"detail": "Training rolled back!"}
    started.refresh_from_db()
    assert (started.state, started.attempt) == ("O", 1)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, {"checkpoint": ["Missing data for required field."]}),
        ({"checkpoint": "x"}, {"checkpoint": ["Not a valid UUID."]}),
        ({"round": 1}, None),
        ([], None),
    ],
)
def test_what_is_no_checkpoint_is_refused(client, started, body, answer):
    response = told(post(client, started, "rollback", body), 400)
    assert answer in (None, response)
    started.refresh_from_db()
    assert started.attempt == 0


def test_a_checkpoint_of_another_model_is_refused(client, started):
    unknown = str(uuid.uuid4())
    response = post(client, started, "rollback", {"checkpoint": unknown})
    assert told(response, 400) == [f"Checkpoint {unknown} is none of this training's."]


def test_those_awaited_are_notified_again(client, started, participant):
    started.notifications.all().deliver()
    answer = told(post(client, started, "notify"))
    assert answer == {"detail": "Participants notified!", "notified": 1}
    assert participant.notifications.pending().get().type == "UPDATE_ROUND_START"


def test_nobody_is_notified_of_what_is_not_under_way(client, training):
    refusal = [f"Training {training.pk} is not running!"]
    assert told(post(client, training, "notify"), 400) == refusal


@pytest.mark.parametrize("action", ["stop", "resume", "rollback", "notify"])
def test_participants_and_strangers_do_not_steer(
    started, client, participant, stranger, nobody, action
):
    body = {"checkpoint": str(started.model.checkpoints.get().pk)}
    for caller in (as_user(participant), stranger):
        assert told(post(caller, started, action, body), 403) == FORBIDDEN
    assert post(nobody, started, action, body).status_code == 401
    unknown = client.post(f"{URL}x/{action}/", body)
    assert told(unknown, 400) == {"detail": "Training x not found."}
    started.refresh_from_db()
    assert (started.state, started.attempt) == ("O", 0)


def test_orders_that_have_others_called_are_limited(client, started, participant, settings):
    settings.FL_STEERINGS = 5  # with the start
    body = {"checkpoint": str(started.model.checkpoints.get().pk)}
    given = [("notify", None), ("resume", None), ("rollback", body)]
    for action, sent in given:
        if action == "resume":
            told(post(client, started, "stop"))  # doesn't count
        assert post(client, started, action, sent).status_code == 202
    clients = {"clients": [str(participant.pk)]}
    removed = client.delete(f"{URL}{started.pk}/clients/", clients, format="json")
    assert removed.status_code == 200
    for action, sent in [*given, ("start", None)]:
        response = post(client, started, action, sent)
        assert told(response, 429)["detail"].startswith("Too many orders to trainings.")
        assert int(response["Retry-After"]) > 0
    assert client.delete(f"{URL}{started.pk}/clients/", clients, format="json").status_code == 429
    assert client.get(f"{URL}{started.pk}/").status_code == 200


def test_who_stops_or_leaves_is_never_told_to_wait(client, started, participant, settings):
    other = UserFactory()
    started.participants.add(other)
    settings.FL_STEERINGS = 0
    url, leaver = f"{URL}{started.pk}/clients/", as_user(participant)
    both, alone = (
        [str(user.pk) for user in users] for users in ([participant, other], [participant])
    )
    assert leaver.delete(url, {"clients": both}, format="json").status_code == 429
    assert leaver.delete(url, {"clients": alone}, format="json").status_code == 200
    assert not started.is_participant(participant)
    told(post(client, started, "stop"))
    told(post(client, started, "resume"), 429)
    assert told(post(client, started, "stop"), 400) == [f"Training {started.pk} is not running!"]


def test_who_may_not_give_orders_uses_up_nobodys(client, started, stranger, settings):
    settings.FL_STEERINGS = 2
    assert [post(stranger, started, "notify").status_code for _ in range(3)] == 3 * [403]
    assert post(client, started, "notify").status_code == 202
