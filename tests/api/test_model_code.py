"""Who may upload models that carry code."""

import pytest
import torch
from django.contrib.auth.models import Group, Permission

from fl_server_core.models import Model
from tests.api.conftest import files, make_module, saved, scripted, tensors, upload
from tests.factories import ModelFactory, TrainingFactory

URL = "/api/models/"


@pytest.fixture(params=["trusted", "none"])
def policy(request, settings):
    settings.FL_MODEL_CODE = request.param
    return request.param


def post(client, file, **more):
    form = {"name": "a", "description": "b", "model_file": file} | more
    return client.post(URL, form, format="multipart")


def preprocess(client, model):
    file = saved(torch.nn.Sequential(torch.nn.Flatten()))
    path = f"{URL}{model.pk}/preprocessing/"
    return client.post(path, {"model_preprocessing_file": file}, format="multipart")


def permission():
    return Permission.objects.get(codename="upload_code", content_type__model="model")


def expect_refusal(response, policy):
    assert response.status_code == 403
    sentence = response.json()["detail"]
    assert "a safetensors file or torch.save(model.state_dict(), file)" in sentence
    assert ("ask the server's operator" in sentence) is (policy == "trusted")


@pytest.mark.parametrize("save", [saved, scripted])
def test_code_is_refused_with_the_alternative(client, policy, save):
    expect_refusal(post(client, save(make_module())), policy)
    assert not Model.objects.exists()
    assert files() == set()


def test_weights_are_anybodys(client, policy):
    for file in (tensors(make_module()), saved(make_module().state_dict())):
        assert post(client, file).status_code == 201


def test_preprocessing_is_code(client, user, policy):
    bundled = post(client, tensors(make_module()), model_preprocessing_file=saved(make_module()))
    expect_refusal(bundled, policy)
    assert files() == set()
    model = ModelFactory(owner=user)
    expect_refusal(preprocess(client, model), policy)
    model.refresh_from_db()
    assert not model.preprocessing_file


def test_a_file_that_is_no_model_is_still_a_400(client, policy):
    for file in (upload(b"no model"), saved([1]), saved(torch.ones(2))):
        response = post(client, file)
        assert (response.status_code, type(response.json())) == (400, list)


@pytest.mark.parametrize("by", ["user", "group"])
def test_whom_the_operator_trusts_may(client, user, settings, by):
    settings.FL_MODEL_CODE = "trusted"
    if by == "user":
        user.user_permissions.add(permission())
    else:
        group = Group.objects.create(name="actors")
        group.permissions.add(permission())
        user.groups.add(group)
    assert post(client, scripted(make_module())).status_code == 201
    assert preprocess(client, Model.objects.get()).status_code == 202


@pytest.mark.parametrize(("flag", "code"), [("is_superuser", 201), ("is_staff", 403)])
def test_a_superuser_is_trusted_and_staff_as_such_is_not(client, user, settings, flag, code):
    settings.FL_MODEL_CODE = "trusted"
    setattr(user, flag, True)
    user.save()
    assert post(client, saved(make_module())).status_code == code


def test_none_holds_for_superusers_too(client, user, settings):
    settings.FL_MODEL_CODE = "none"
    user.is_superuser = True
    user.save()
    expect_refusal(post(client, saved(make_module())), "none")


def test_any_is_anybody(client, settings):
    settings.FL_MODEL_CODE = "any"
    assert post(client, saved(make_module())).status_code == 201


def test_an_update_may_be_a_whole_model_because_only_its_numbers_are_kept(client, user, policy):
    model = Model.objects.get(pk=post(client, tensors(make_module())).json()["model_id"])
    training = TrainingFactory(actor=user, model=model, participants=[user])
    assert client.post(f"/api/trainings/{training.pk}/start/").status_code == 202
    form = {"round": 0, "sample_size": 1, "model_file": scripted(make_module())}
    response = client.post(f"{URL}{model.pk}/", form, format="multipart")
    assert response.status_code == 201


def test_owners_come_first(stranger, policy):
    model = ModelFactory()
    response = preprocess(stranger, model)
    assert response.json() == {"detail": f"You are not the owner of model {model.pk}!"}
