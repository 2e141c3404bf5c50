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
    response = client.put(f"{URL}{training.pk}/clients/", {"clients": [str(uuid.uuid4())] * 10_001})
    assert (response.status_code, list(response.json())) == (400, ["clients"])
