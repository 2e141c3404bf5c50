"""Uploads in parts, named where a request needs a file."""

import json
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import torch
from django.utils import timezone

from fl_server_ai.inference import client as serving
from fl_server_core import resumable
from fl_server_core.models import LocalModel, Model, Moments, Upload
from fl_server_core.quotas import stored_bytes
from tests.api.conftest import as_user, body_of, files, load, make_module, saved
from tests.api.test_swag import swag  # noqa: F401 (a fixture)
from tests.api.tus import begin, patch, sent

MODEL = {"name": "n", "description": "d"}
UPDATE = {"round": 0, "sample_size": 5}


def whole(client, module=None):
    """Return the id of an upload that holds a module."""
    return str(sent(client, saved(module or make_module(1.0)).read()).pk)


def post(client, url, fields, form="json"):
    if form == "query":
        return client.post(f"{url}?{urlencode(fields)}")
    return client.post(url, fields, format=form)


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """Do what waits for the transaction's end."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.mark.parametrize("form", ["json", "multipart", "query"])
def test_a_model_may_be_one(client, user, committed, settings, form):
    upload = whole(client)
    with committed():
        answer = post(client, "/api/models/", MODEL | {"model_file_upload": upload}, form)
    assert answer.status_code == 201
    model = Model.objects.get(pk=answer.json()["model_id"])
    assert (model.owner, model.name) == (user, "n")
    assert torch.equal(load(client.get(f"/api/models/{model.pk}/")).weight, torch.ones(1, 3))
    assert not Upload.objects.exists()
    assert [*settings.UPLOAD_DIR.iterdir(), *settings.SCRATCH_DIR.iterdir()] == []


def test_the_query_string_may_name_it_beside_a_body(client):
    url = f"/api/models/?model_file_upload={whole(client)}"
    assert post(client, url, MODEL, "multipart").status_code == 201


def test_a_model_may_come_with_preprocessing_of_either_kind(client):
    both = {"model_file_upload": whole(client), "model_preprocessing_file_upload": whole(client)}
    assert post(client, "/api/models/", MODEL | both).status_code == 201
    mixed = {"model_file": saved(make_module()), "model_preprocessing_file_upload": whole(client)}
    assert post(client, "/api/models/", MODEL | mixed, "multipart").status_code == 201
    assert not Upload.objects.exists()


@pytest.mark.parametrize("form", ["json", "multipart", "query"])
def test_an_update_may_be_one(started, participant, form):
    client = as_user(participant)
    url = f"/api/models/{started.model_id}/"
    fields = UPDATE | {"model_file_upload": whole(client)}
    assert post(client, url, fields, form).status_code == 201
    assert LocalModel.objects.get().sample_size == 5
    assert not Upload.objects.exists()


def test_code_to_predict_with_may_be_one(client):
    weights = {"model_file": saved(make_module().state_dict())}
    answer = post(client, "/api/models/", MODEL | weights, "multipart")
    fields = {"serving_file_upload": whole(client)}
    assert (
        post(client, f"/api/models/{answer.json()['model_id']}/serving/", fields).status_code == 202
    )
    assert not Upload.objects.exists()


def test_preprocessing_may_be_one(client, model):
    fields = {"model_preprocessing_file_upload": whole(client)}
    answer = post(client, f"/api/models/{model.pk}/preprocessing/", fields)
    assert (answer.status_code, Upload.objects.count()) == (202, 0)


@pytest.mark.usefixtures("swag")
def test_moments_may_be(started, participant):
    client = as_user(participant)
    moments = [sent(client, saved(torch.zeros(4)).read()) for _ in range(2)]
    fields = UPDATE | {"first_moment_file_upload": str(moments[0].pk)}
    fields |= {"second_moment_file_upload": str(moments[1].pk)}
    answer = post(client, f"/api/models/{started.model_id}/swag/", fields)
    assert (answer.status_code, Moments.objects.count(), Upload.objects.count()) == (201, 1, 0)


# --- Predictions -------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What a worker would have been asked."""
    questions = []

    def predict(_model, source, *, is_json, form, **_):
        questions.append((source.read_bytes(), is_json, form))
        source.unlink()
        (tmp_path / "answer").write_bytes(b"{}")
        return (tmp_path / "answer").open("rb")

    monkeypatch.setattr(serving, "predict", predict)
    return questions


@pytest.mark.parametrize(("form", "told"), [("json", "json"), ("multipart", "binary")])
def test_an_input_may_be_one(client, model, asked, form, told):
    upload = sent(client, b"a tensor")
    fields = {"model_id": str(model.pk), "model_input_upload": str(upload.pk)}
    answer = post(client, "/api/inference/", fields, form)
    assert (answer.status_code, body_of(answer)) == (200, b"{}")
    assert asked == [(b"a tensor", False, told)]
    assert not Upload.objects.exists()


def test_an_input_has_the_limit_of_inputs(client, model, asked, settings):
    settings.FL_MAX_INFERENCE_BYTES = 3
    fields = {"model_id": str(model.pk), "model_input_upload": str(sent(client, b"abcd").pk)}
    answer = post(client, "/api/inference/", fields)
    assert (answer.status_code, answer.json()) == (400, ["An input may have 3 bytes."])
    assert Upload.objects.exists()


# --- Refused --------------------------------------------------------------------------


def test_what_is_refused_can_be_tried_again(started, participant):
    client, url = as_user(participant), f"/api/models/{started.model_id}/"
    fields = UPDATE | {"model_file_upload": whole(client)}
    before = files()
    assert post(client, url, fields | {"round": 7}).status_code == 400
    assert post(client, url, fields | {"sample_size": "x"}).status_code == 400
    assert post(client, "/api/models/", fields).status_code == 400
    assert files() == before
    assert post(client, url, fields).status_code == 201


def test_a_file_that_is_none_stays_as_well(client):
    upload = sent(client, b"no model")
    answer = post(client, "/api/models/", MODEL | {"model_file_upload": str(upload.pk)})
    assert answer.status_code == 400
    assert answer.json()[0].startswith("Invalid model file")
    assert Upload.objects.exists()


def test_a_part_of_a_file_is_none(client):
    upload = begin(client, 5)
    patch(client, upload, b"abc")
    answer = post(client, "/api/models/", MODEL | {"model_file_upload": str(upload.pk)})
    sentence = f"Upload {upload.pk} has 3 of its 5 bytes: send the rest first."
    assert (answer.status_code, answer.json()) == (400, [sentence])


def test_another_users_is_like_an_unknown_one(client, stranger):
    for named in (whole(stranger), str(uuid4()), "../x", "0", 7, [1], {"a": 1}, True):
        answer = post(client, "/api/models/", MODEL | {"model_file_upload": named})
        assert answer.status_code == 404
        assert answer.json() == {"detail": f"Upload {named} not found."}
    assert Upload.objects.count() == 1


@pytest.mark.parametrize("id", ["", None, 0, [], {}])
def test_nothing_is_named_by_an_empty_field(client, id):
    answer = post(client, "/api/models/", MODEL | {"model_file_upload": id})
    assert answer.json() == {"detail": "No uploaded file 'model_file' found."}


def test_one_that_has_expired_is_gone(client):
    fields = MODEL | {"model_file_upload": whole(client)}
    Upload.objects.update(expires_at=timezone.now())
    assert post(client, "/api/models/", fields).status_code == 410


def test_what_another_request_has_used_meanwhile_is_not_used_again(client, monkeypatch):
    fields, before = MODEL | {"model_file_upload": whole(client)}, files()
    spend = resumable.WholeUpload.spend

    def be_late(file):
        resumable.remove(file.upload)
        spend(file)

    monkeypatch.setattr(resumable.WholeUpload, "spend", be_late)
    answer = post(client, "/api/models/", fields)
    told = {"detail": "The upload was removed or used meanwhile."}
    assert (answer.status_code, answer.json()) == (404, told)
    assert (Model.objects.count(), files()) == (0, before)


def test_one_that_goes_as_it_is_about_to_be_used_is_gone(client, monkeypatch, settings):
    upload = whole(client)
    monkeypatch.setattr(resumable, "received", lambda upload: upload.length)
    (settings.UPLOAD_DIR / upload).unlink()
    answer = post(client, "/api/models/", MODEL | {"model_file_upload": upload})
    assert answer.status_code == 404


def test_a_file_of_the_body_goes_first(client):
    fields = MODEL | {"model_file": saved(make_module()), "model_file_upload": whole(client)}
    assert post(client, "/api/models/", fields, "multipart").status_code == 201
    assert Upload.objects.exists()


def test_it_counts_once_against_the_quota(client, user, settings):
    upload = whole(client)
    settings.FL_QUOTA_BYTES = stored_bytes(user)
    assert post(client, "/api/models/", MODEL | {"model_file_upload": upload}).status_code == 201
    assert stored_bytes(user) == Model.objects.get().size


def test_fields_are_in_the_query_string_only_beside_an_upload_and_without_a_body(client):
    url = f"/api/models/?{urlencode(MODEL | {'model_file_upload': whole(client)})}"
    for body in (json.dumps({"name": "n"}), "[]"):
        answer = client.generic("POST", url, body, "application/json")
        assert answer.status_code == 400
    answer = client.post(f"/api/models/?{urlencode(MODEL)}")
    assert answer.json() == ["Missing required field: name"]
