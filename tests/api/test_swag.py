import uuid

import pytest
import torch
from django.core.files.storage import default_storage
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fl_server_core.models import Model, Moments, Training
from tests.api.conftest import as_user, saved, upload
from tests.factories import ModelFactory


@pytest.fixture
def swag(started):
    """A training in its SWAG round."""
    Training.objects.update(state="S", phase="swag", uncertainty_method="SWAG")
    started.notifications.filter(type="UPDATE_ROUND_START").update(type="SWAG_ROUND_START")
    return started


def flat(*values):
    return saved(torch.tensor(values))


def send(client, id, **fields):
    moment = flat(1.0, 2.0, 3.0, 4.0)
    data = {"round": 0, "sample_size": 5}
    data |= {"first_moment_file": moment, "second_moment_file": flat(1.0, 4.0, 9.0, 16.0)} | fields
    data = {name: value for name, value in data.items() if value is not None}
    return client.post(f"/api/models/{id}/swag/", data, format="multipart")


def test_flat_moments_are_kept_parameter_by_parameter(swag, participant):
    response = send(as_user(participant), swag.model_id)
    assert (response.status_code, response.json()) == (201, {"detail": "SWAG Statistic Accepted"})
    row = Moments.objects.get()
    assert (row.owner, row.model_id, row.round, row.sample_size) == (
        participant,
        swag.model_id,
        0,
        5,
    )
    expected = {"weight": torch.tensor([[1.0, 2.0, 3.0]]), "bias": torch.tensor([4.0])}
    with default_storage.open(row.first.name) as file:
        kept = load_tensors(file.read())
    assert all(torch.equal(kept[name], value) for name, value in expected.items())


def test_moments_by_name_are_taken_too(swag, participant):
    named = {"weight": torch.ones(1, 3), "bias": torch.ones(1)}
    response = send(
        as_user(participant),
        swag.model_id,
        first_moment_file=saved(named),
        second_moment_file=upload(save_tensors(named)),
    )
    assert response.status_code == 201


def test_moments_replace_ones_own(swag, participant):
    for size in (1, 2):
        assert send(as_user(participant), swag.model_id, sample_size=size).status_code == 201
    assert Moments.objects.get().sample_size == 2


def test_the_last_moments_start_the_merge(
    swag, participant, sent, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        send(as_user(participant), swag.model_id)
    assert ("merge_round", str(swag.pk), 0, 0) in sent


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"round": None}, {"detail": "'round'"}),
        ({"sample_size": None}, {"detail": "'sample_size'"}),
        ({"sample_size": -1}, None),
        (
            {"first_moment_file": None},
            {"detail": "No uploaded file 'first_moment_file' found."},
        ),
        (
            {"second_moment_file": None},
            {"detail": "No uploaded file 'second_moment_file' found."},
        ),
        ({"round": 1}, None),
        ({"first_moment_file": upload(b"")}, None),
        ({"first_moment_file": flat(1.0)}, None),
        ({"second_moment_file": flat(1.0, 2.0, 3.0, float("nan"))}, None),
        ({"second_moment_file": saved(torch.tensor([1, 2, 3, 4]))}, None),
    ],
)
def test_what_is_refused_leaves_nothing(swag, participant, fields, answer):
    before = default_storage.listdir("")
    response = send(as_user(participant), swag.model_id, **fields)
    assert response.status_code == 400
    if answer is not None:
        assert response.json() == answer
    assert not Moments.objects.exists()
    assert default_storage.listdir("") == before


def test_outside_of_a_swag_round_moments_are_refused(started, participant):
    response = send(as_user(participant), started.model_id)
    assert response.status_code == 400
    assert response.json() == [f"Training with ID {started.pk} is in state O"]


def test_a_strangers_moments_are_refused(swag, stranger):
    response = send(stranger, swag.model_id)
    assert response.status_code == 403
    assert response.json() == {"detail": f"You are not a participant of training {swag.pk}!"}


def test_moments_need_credentials(swag, nobody):
    assert send(nobody, swag.model_id).status_code == 401


def test_moments_need_a_known_model_with_a_training(participant):
    missing = uuid.uuid4()
    unknown = send(as_user(participant), missing)
    assert unknown.status_code == 400
    assert unknown.json() == {"detail": f"GlobalModel {missing} not found."}
    idle = ModelFactory()
    response = send(as_user(participant), idle.pk)
    assert response.status_code == 404
    sentence = f"Model with ID {idle.pk} does not have a training process running"
    assert response.json() == {"detail": sentence}
    assert Model.objects.filter(pk=idle.pk).exists()
