import uuid

import pytest
import torch

from fl_server_core.models import Checkpoint, Training
from tests.api.conftest import as_user, body_of, load
from tests.factories import LocalModelFactory


def url(model, tail=""):
    return f"/api/models/{model.pk}/checkpoints/{tail}"


@pytest.fixture
def version(started):
    """The version that the actor uploaded."""
    return started.model.checkpoints.get()


def test_versions_tell_what_they_were_made_of(client, started, participant, version):
    update = LocalModelFactory(
        base_model=started.model,
        owner=participant,
        sha256="ab" * 32,
        size=7,
        merged_into=Checkpoint.objects.create(
            model=started.model, round=1, attempt=0, size=9, sha256="cd" * 32
        ),
    )
    for caller in (client, as_user(participant)):
        first, second = caller.get(url(started.model)).json()
    assert (first["id"], first["round"], first["stored"]) == (str(version.pk), 0, True)
    assert (first["sha256"], first["updates"]) == (started.model.sha256, [])
    assert (second["round"], second["sha256"], second["stored"]) == (1, "cd" * 32, False)
    assert second["updates"] == [
        {
            "id": str(update.pk),
            "owner": str(participant.pk),
            "round": 0,
            "attempt": 0,
            "sample_size": 1,
            "share": 1.0,
            "sha256": "ab" * 32,
            "size": 7,
        }
    ]


def test_shares_are_those_within_the_trainings_limits(client, started, version):
    Training.objects.update(options={"round": {"max_share": 0.75}})
    for size in (2**63 - 1, 1):
        LocalModelFactory(base_model=started.model, sample_size=size, merged_into=version)
    (shown,) = client.get(url(started.model)).json()
    assert [update["share"] for update in shown["updates"]] == [0.75, 0.25]


def test_versions_tell_what_they_were_tested_with(client, started, participant, version):
    assert client.get(url(started.model)).json()[0]["metric_means"] is None
    Checkpoint.objects.update(metric_means={"accuracy": 0.5, "loss": 2})
    (shown,) = as_user(participant).get(url(started.model)).json()
    assert shown["metric_means"] == {"accuracy": 0.5, "loss": 2.0}
    assert shown["weighted_means"] is None
    Checkpoint.objects.update(weighted_means={"loss": 1})
    assert client.get(url(started.model)).json()[0]["weighted_means"] == {"loss": 1.0}


def test_a_version_is_downloaded(client, participant, started, version):
    for caller in (client, as_user(participant)):
        response = caller.get(url(started.model, f"{version.pk}/"))
        name = f'filename="model-{started.model_id}-round-0.pt"'
        assert response["Content-Disposition"] == name
        assert response["ETag"] == f'"{version.sha256}"'
        assert torch.equal(load(response).weight, torch.zeros(1, 3))


def test_a_part_of_a_version_is_downloaded(client, started, version):
    headers = {"Range": "bytes=0-1"}
    response = client.get(url(started.model, f"{version.pk}/"), headers=headers)
    assert (response.status_code, body_of(response)) == (206, b"PK")


def test_a_version_that_is_no_longer_stored_is_a_404(client, started, version):
    Checkpoint.objects.update(file="")
    response = client.get(url(started.model, f"{version.pk}/"))
    answer = {"detail": f"Checkpoint {version.pk} is no longer stored."}
    assert (response.status_code, response.json()) == (404, answer)


def test_versions_of_a_model_that_is_not_in_training_are_none(client, model):
    assert client.get(url(model)).json() == []


def test_a_checkpoint_of_another_model_is_unknown(client, model, version):
    other = model.checkpoints.model.objects.create(
        model=LocalModelFactory().base_model, round=0, attempt=0, size=1
    )
    for unknown in (other.pk, uuid.uuid4(), "x"):
        response = client.get(url(model, f"{unknown}/"))
        answer = {"detail": f"Checkpoint {unknown} not found."}
        assert (response.status_code, response.json()) == (400, answer)


@pytest.mark.parametrize("tail", ["", "{}/"])
def test_strangers_see_no_versions(started, version, client, stranger, nobody, tail):
    path = url(started.model, tail.format(version.pk))
    assert stranger.get(path).status_code == 403
    assert nobody.get(path).status_code == 401
    unknown = client.get(f"/api/models/x/checkpoints/{tail.format(version.pk)}")
    answer = {"detail": "Model x not found."}
    assert (unknown.status_code, unknown.json()) == (400, answer)
