import json
import uuid

import pytest

from tests.api.conftest import as_user
from tests.factories import UserFactory

URL = "/api/trainings/"


def clients(caller, training, users, method="put", **kwargs):
    ids = {"clients": [str(user.pk) for user in users]}
    return getattr(caller, method)(f"{URL}{training.pk}/clients/", ids, **kwargs)


def test_participants_come_and_go(client, training, participant):
    second, third = UserFactory.create_batch(2)
    response = clients(client, training, [second, third])
    assert (response.status_code, response.json()) == (
        202,
        {"detail": "Users registered as participants!"},
    )
    response = clients(as_user(participant), training, [third], "delete")
    assert (response.status_code, response.json()) == (
        200,
        {"detail": "Users removed from training participants!"},
    )
    assert set(training.participants.all()) == {participant, second}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_clients_are_json_without_a_type(client, training, participant, method):
    ids = json.dumps({"clients": [str(participant.pk)]})
    response = client.generic(method, f"{URL}{training.pk}/clients/", ids, content_type="")
    assert response.status_code in (200, 202)


def test_the_last_one_to_leave_ends_a_running_training(client, started, participant):
    assert clients(client, started, [participant], "delete").status_code == 200
    started.refresh_from_db()
    assert (started.state, started.state_reason) == ("E", "No participant is left.")


@pytest.mark.parametrize("method", ["put", "delete"])
@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ({}, {"clients": ["Missing data for required field."]}),
        ({"clients": [1]}, {"clients": {"0": ["Not a valid UUID."]}}),
        ({"clients": [], "x": 1}, {"x": ["Unknown field."]}),
        ({"clients": [str(uuid.uuid4())]}, {"detail": "Not all provided users were found!"}),
    ],
)
def test_bad_clients_change_nothing(client, training, participant, method, data, answer):
    response = getattr(client, method)(f"{URL}{training.pk}/clients/", data)
    assert (response.status_code, response.json()) == (400, answer)
    assert training.participants.get() == participant


def test_more_clients_than_fit_are_refused(client, training):
    response = client.put(f"{URL}{training.pk}/clients/", {"clients": [str(uuid.uuid4())] * 2000})
    assert response.status_code == 413
    assert "larger than 65536 bytes" in response.json()["detail"]


# --- Trainings that are managed by their actor --------------------------------------------

FORBIDDEN = {"detail": "You do not have permission to perform this action."}


@pytest.fixture
def managed(training):
    training.options = {"managed_by": "actor"}
    training.save()
    return training


def test_only_the_actor_manages_such_a_training(client, managed, participant, stranger):
    other, new = UserFactory.create_batch(2)
    assert clients(client, managed, [other]).status_code == 202
    for caller in (as_user(participant), stranger):
        for answer in (
            clients(caller, managed, [new]),
            clients(caller, managed, [other], "delete"),
            clients(caller, managed, [other, participant], "delete"),
            caller.post(f"{URL}{managed.pk}/start/"),
        ):
            assert (answer.status_code, answer.json()) == (403, FORBIDDEN)
    assert set(managed.participants.all()) == {participant, other}
    assert clients(client, managed, [other], "delete").status_code == 200
    assert client.post(f"{URL}{managed.pk}/start/").status_code == 202


def test_a_participant_learns_nothing_of_ids_it_may_not_take_out(managed, participant):
    ids = {"clients": [str(uuid.uuid4())]}
    answer = as_user(participant).delete(f"{URL}{managed.pk}/clients/", ids)
    assert (answer.status_code, answer.json()) == (403, FORBIDDEN)


def test_a_participant_may_always_leave(managed, participant):
    assert clients(as_user(participant), managed, [participant], "delete").status_code == 200
    assert not managed.participants.exists()
    assert clients(as_user(participant), managed, [participant], "delete").status_code == 403


@pytest.mark.parametrize(
    ("setting", "options", "kept"),
    [
        ("participants", {}, {}),
        ("participants", {"managed_by": "actor"}, {"managed_by": "actor"}),
        ("actor", {}, {"managed_by": "actor"}),
        ("actor", {"managed_by": "participants"}, {"managed_by": "participants"}),
    ],
)
def test_a_setting_says_who_manages_new_trainings(client, model, settings, setting, options, kept):
    settings.FL_MANAGED_BY = setting
    body = {"model_id": str(model.pk), "target_num_updates": 1, "metric_names": []}
    body |= {"aggregation_method": "FedAvg", "options": options}
    created = client.post(URL, body).json()
    assert "unknown_options" not in created
    assert client.get(f"{URL}{created['training_id']}/").json()["options"] == kept


def test_there_are_two_ways_to_manage_a_training(client, model):
    body = {"model_id": str(model.pk), "target_num_updates": 1, "metric_names": []}
    body |= {"aggregation_method": "FedAvg", "options": {"managed_by": "nobody"}}
    answer = client.post(URL, body)
    assert answer.json() == {"options": {"managed_by": ["Must be one of: participants, actor."]}}
