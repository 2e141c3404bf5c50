import os
import uuid

import pytest
import torch

from fl_server_api.downloads import Part
from fl_server_core import outgoing
from tests.api.conftest import as_user, body_of, load
from tests.factories import LocalModelFactory, UserFactory

URL = "/api/models/"


def test_a_download_is_the_model(client, model):
    response = client.get(f"{URL}{model.pk}/")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == f'filename="model-{model.pk}.pt"'
    assert int(response["Content-Length"]) == model.size
    assert response["ETag"] == f'"{model.sha256}"'
    assert torch.equal(load(response).weight, torch.zeros(1, 3))


def test_who_accepts_bytes_only_gets_the_model_and_errors_in_json(client, model):
    accept = {"accept": "application/octet-stream"}
    response = client.get(f"{URL}{model.pk}/", headers=accept)
    assert (response.status_code, len(body_of(response))) == (200, model.size)
    assert client.get(f"{URL}x/", headers=accept).json() == {"detail": "Model x not found."}


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-3", 0, 3), ("bytes=10-", 10, -1), ("bytes=-5", -5, -1), ("bytes=1-999999", 1, -1)],
)
def test_a_range_is_a_part(client, model, asked, first, last):
    whole = body_of(client.get(f"{URL}{model.pk}/"))
    response = client.get(f"{URL}{model.pk}/", headers={"range": asked})
    start, stop = first % len(whole), last % len(whole)
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes {start}-{stop}/{len(whole)}"
    assert body_of(response) == whole[start : stop + 1]


def test_the_system_can_send_a_part_itself(model):
    part = Part(outgoing.open_model(model), range(10, 20))
    assert os.lseek(part.fileno(), 0, os.SEEK_CUR) == 10  # from where gunicorn has it sent
    part.close()


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "x"])
def test_a_range_that_makes_no_sense_is_ignored(client, model, asked):
    response = client.get(f"{URL}{model.pk}/", headers={"range": asked})
    assert (response.status_code, len(body_of(response))) == (200, model.size)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(client, model, asked):
    response = client.get(f"{URL}{model.pk}/", headers={"range": asked})
    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{model.size}"


def test_a_range_of_another_version_is_the_whole(client, model):
    headers = {"range": "bytes=0-3", "if-range": '"another"'}
    response = client.get(f"{URL}{model.pk}/", headers=headers)
    assert (response.status_code, len(body_of(response))) == (200, model.size)
    headers["if-range"] = f'"{model.sha256}"'
    response = client.get(f"{URL}{model.pk}/", headers=headers)
    assert (response.status_code, len(body_of(response))) == (206, 4)


def test_who_has_the_file_already_gets_nothing(client, model):
    response = client.get(f"{URL}{model.pk}/", headers={"if-none-match": f'"{model.sha256}"'})
    assert (response.status_code, response.content) == (304, b"")


def test_head_tells_the_size(client, model):
    response = client.head(f"{URL}{model.pk}/")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response["Content-Length"]) == model.size


def test_a_proxy_sends_the_file_where_one_is_set(client, model, settings):
    settings.FL_ACCEL_PREFIX = "/files/"
    response = client.get(f"{URL}{model.pk}/")
    assert response["X-Accel-Redirect"] == f"/files/{model.file.name}"
    assert response.content == b""


def test_a_lost_file_is_a_404(client, model):
    model.file.storage.delete(model.file.name)
    response = client.get(f"{URL}{model.pk}/")
    assert response.status_code == 404
    assert "is gone" in response.json()["detail"]


def test_readers_download_and_strangers_do_not(training, participant, stranger, nobody):
    url = f"{URL}{training.model_id}/"
    response = as_user(participant).get(url)
    assert (response.status_code, len(body_of(response))) == (200, training.model.size)
    refused = stranger.get(url)
    assert refused.status_code == 403
    assert refused.json() == {"detail": "You do not have permission to perform this action."}
    assert nobody.get(url).status_code == 401


@pytest.mark.parametrize("id", ["x", str(uuid.UUID(int=0)), "7", "%00", "a%2Fb", "é", "0" * 300])
@pytest.mark.parametrize("tail", ["", "metadata/", "metrics/", "preprocessing/"])
def test_malformed_and_unknown_ids_are_alike(client, id, tail):
    response = client.get(f"{URL}{id}/{tail}")
    if "%2F" in id:
        assert response.status_code == 404
    else:
        assert response.status_code == 400
        assert response.json()["detail"].startswith("Model ")
        assert response.json()["detail"].endswith(" not found.")


def test_only_involved_users_read_an_update(client, training, participant, stranger):
    other = UserFactory()
    training.participants.add(other)
    update = LocalModelFactory(base_model=training.model, owner=participant)
    for caller in (client, as_user(participant), as_user(other)):
        assert caller.get(f"{URL}{update.pk}/metadata/").status_code == 200
    assert stranger.get(f"{URL}{update.pk}/metadata/").status_code == 403
