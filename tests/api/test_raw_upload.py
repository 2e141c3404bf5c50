"""A model's file as the whole body, with the fields in the query string."""

import errno
import gc
import gzip
from urllib.parse import urlencode

import pytest
import torch
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from fl_server_core.models import LocalModel, Metric, Model
from tests.api.conftest import as_user, files, load, make_module, saved, scripted, tensors

NUMBERS = {"round": 0, "sample_size": 5}


def post(client, fields, content, id="", kind="application/octet-stream", **headers):
    url = f"/api/models/{id and f'{id}/'}?{urlencode(fields, doseq=True)}"
    return client.generic("POST", url, content, kind, headers=headers)


@pytest.mark.parametrize("form", [saved, scripted, tensors])
def test_an_update_may_be_the_whole_body(started, participant, form):
    metrics = {"metric_names": ["loss", "acc"], "metric_values": ["0.5", "x"]}
    content = form(make_module(1.0)).read()
    answer = post(as_user(participant), NUMBERS | metrics, content, started.model_id)
    assert (answer.status_code, answer.json()) == (201, {"detail": "Model Update Accepted"})
    row = LocalModel.objects.get()
    assert (row.owner, row.round, row.sample_size) == (participant, 0, 5)
    shown = Metric.objects.values_list("key", "value_float", "value_binary")
    assert list(shown) == [("loss", 0.5, None), ("acc", None, b"x")]
    module = load(as_user(started.actor).get(f"/api/models/{row.pk}/"))
    assert torch.equal(module.weight, torch.ones(1, 3))


def test_a_model_may_be_the_whole_body(client, user):
    fields = {"name": "n", "description": "d", "input_shape": ["null", "3"]}
    answer = post(client, fields, saved(make_module()).read())
    assert answer.status_code == 201
    row = Model.objects.get(pk=answer.json()["model_id"])
    assert (row.owner, row.name, row.input_shape) == (user, "n", [None, 3])


def test_it_may_come_in_gzip(started, participant):
    content = gzip.compress(saved(make_module(1.0)).read())
    encoded = {"content-encoding": "gzip"}
    assert post(
        as_user(participant), NUMBERS, content, started.model_id, **encoded
    ).status_code == (201)
    answer = post(as_user(participant), NUMBERS, content[:-9], started.model_id, **encoded)
    assert answer.json() == {"detail": "The body is no whole gzip stream."}
    assert len(files()) == 2  # the model and its update


@pytest.mark.parametrize(
    ("fields", "content", "told"),
    [
        ({"sample_size": 1}, b"x", {"detail": "'round'"}),
        ({"round": "x", "sample_size": 1}, b"x", {"round": ["Not a valid integer."]}),
        (NUMBERS | {"owner": "\0"}, b"x", {"owner": ["Not UTF-8 text without NUL."]}),
        ({"round": [0, 0]}, b"x", {"round": ["This field was given more than once."]}),
        (NUMBERS, b"x", ["Invalid model file: "]),
    ],
)
def test_what_is_wrong_is_told_as_of_a_form(started, participant, fields, content, told):
    before = files()
    answer = post(as_user(participant), fields, content, started.model_id)
    said = answer.json()
    if isinstance(said, list):
        said, told = said[0][: len(told[0])], told[0]
    assert (answer.status_code, said) == (400, told)
    assert files() == before


def test_what_a_file_lacks_at_its_end_is_told(started, participant):
    content = saved(make_module()).read()[:-1]
    answer = post(as_user(participant), NUMBERS, content, started.model_id)
    assert answer.status_code == 400
    assert not LocalModel.objects.exists()


def test_only_where_a_model_belongs_a_body_may_be_a_file(client, model):
    for path in ("metrics", "preprocessing", "swag"):
        answer = client.generic(
            "POST", f"/api/models/{model.pk}/{path}/", b"x", "application/octet-stream"
        )
        assert answer.status_code == 415


def test_it_has_the_limit_of_files(client, settings):
    settings.FL_MAX_BODY_BYTES = 10
    assert post(client, {}, b"x" * 100).status_code == 400
    settings.FL_MAX_UPLOAD_BYTES = 99
    assert post(client, {}, b"x" * 100).status_code == 413


def test_without_credentials_it_is_not_read(nobody, db, monkeypatch):
    monkeypatch.setattr(TemporaryFileUploadHandler, "new_file", lambda *_: 1 / 0)
    assert post(nobody, NUMBERS, b"x", "x").status_code == 401


def test_nothing_is_left_of_one_that_finds_no_room(started, participant, monkeypatch, settings):
    def find_no_room(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TemporaryFileUploadHandler, "receive_data_chunk", find_no_room)
    gc.disable()
    try:
        answer = post(as_user(participant), NUMBERS, b"x", started.model_id)
        assert answer.status_code == 507
        assert list(settings.SCRATCH_DIR.iterdir()) == []
    finally:
        gc.enable()


def test_its_file_is_closed_with_the_request(started, participant, settings):
    gc.disable()
    try:
        post(as_user(participant), NUMBERS | {"round": 7}, b"x", started.model_id)
        assert list(settings.SCRATCH_DIR.iterdir()) == []
    finally:
        gc.enable()
