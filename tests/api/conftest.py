"""Callers, and model files as small as they come."""

import io
import warnings
from pathlib import Path

import pytest
import torch
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient
from safetensors.torch import save as save_tensors

from fl_server_ai import enqueue
from fl_server_api.views import notification
from fl_server_core.models import Model
from tests.factories import TrainingFactory, UserFactory


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    """The tasks that would have gone to the broker."""
    messages = []
    monkeypatch.setattr(enqueue, "send", lambda task, *args: messages.append((task, *args)))
    return messages


@pytest.fixture(autouse=True)
def _no_news(monkeypatch):
    monkeypatch.setattr(notification, "LISTENER", None)


@pytest.fixture(autouse=True)
def _no_password_rules(settings):
    settings.AUTH_PASSWORD_VALIDATORS = []  # on PostgreSQL they are on


def as_user(user, **kwargs):
    """Return a client that calls with the user's token."""
    return APIClient(headers={"Authorization": f"Token {user.auth_token.key}"}, **kwargs)


def in_browser(user):
    """Return a browser in which the user is logged in."""
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def user(db):
    return UserFactory()


@pytest.fixture
def client(user):
    return as_user(user)


@pytest.fixture
def stranger(db):
    return as_user(UserFactory())


@pytest.fixture
def nobody():
    return APIClient()


def make_module(value=0.0):
    """Return a linear model of three weights and a bias, all of this value."""
    module = torch.nn.Linear(3, 1)
    torch.nn.init.constant_(module.weight, value)
    torch.nn.init.constant_(module.bias, value)
    return module


def upload(content, name="file.pt"):
    return SimpleUploadedFile(name, content)


def saved(obj):
    """Return what torch.save writes."""
    file = io.BytesIO()
    torch.save(obj, file)
    return upload(file.getvalue())


def scripted(module):
    """Return a TorchScript archive."""
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.save(torch.jit.script(module), file)
    return upload(file.getvalue())


def tensors(module):
    """Return the module's state as safetensors."""
    return upload(save_tensors(module.state_dict()))


def end(response):
    """Close what the answer holds open; `close` would end the test's transaction as well."""
    for close in response._resource_closers:
        close()


def body_of(response):
    """Return a download's bytes."""
    content = b"".join(response.streaming_content)
    end(response)
    return content


def load(response):
    return torch.load(io.BytesIO(body_of(response)), weights_only=False)


def files():
    """Return the names of all files there are, stored or in the making."""
    kept = set(default_storage.listdir("")[1])
    return kept | {path.name for path in Path(settings.SCRATCH_DIR).iterdir()}


@pytest.fixture
def model(client, user):
    """A model of zeros, uploaded by the user."""
    response = client.post(
        "/api/models/",
        {"name": "zeros", "description": "d", "model_file": saved(make_module())},
        format="multipart",
    )
    assert response.status_code == 201, response.content
    return Model.objects.get(pk=response.json()["model_id"])


@pytest.fixture
def participant(db):
    return UserFactory()


@pytest.fixture
def training(model, user, participant):
    """A training of the model that one participant takes part in."""
    return TrainingFactory(actor=user, model=model, participants=[participant])


@pytest.fixture
def started(client, training):
    """The same, in its round 0."""
    assert client.post(f"/api/trainings/{training.pk}/start/").status_code == 202
    training.refresh_from_db()
    return training
