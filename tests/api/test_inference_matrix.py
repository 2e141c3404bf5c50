"""Every kind of input, by every method, in every form of answer: the numbers are the right ones.

What is drawn by chance is made certain: dropout drops everything, and the weights that SWAG draws
have no spread, but another mean than the model's. So each answer can be worked out here.
"""

import base64
import io
import json
import os
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from django.utils import timezone
from PIL import Image
from safetensors.torch import save as save_tensors
from torch import nn

from fl_server_core.files import scratch_path, store
from tests.api.conftest import upload
from tests.api.serving import (
    _served_here,  # noqa: F401 (a fixture)
    ask,
    read,
    runners,  # noqa: F401 (a fixture)
    send,
)
from tests.factories import LocalModelFactory, ModelFactory, TrainingFactory

EXACT = {"atol": 1e-6, "rtol": 1e-5}
if os.environ["FL_DEVICE"] != "cpu":  # GPUs sum in another order
    EXACT = {"atol": 1e-5, "rtol": 1e-4}
CLASSES = 4
IMAGE = (3, 2, 5)
"""Channels, height, width."""


class Classifier(nn.Module):
    """Gives probabilities; adds something to the scores as long as nothing is dropped."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(30, CLASSES)
        self.extra = nn.Parameter(torch.randn(CLASSES))
        self.drop = nn.Dropout(1.0)

    def forward(self, x):
        return (self.linear(x.flatten(1)) + self.drop(self.extra)).softmax(1)


# --- What is asked ------------------------------------------------------------------------


def picture(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGE[1], IMAGE[2], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pixels_of(content):
    values = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return torch.tensor(values, dtype=torch.float32).permute(2, 0, 1)[None] / 255


def saved(tensor):
    file = io.BytesIO()
    torch.save(tensor, file)
    return file.getvalue()


ROWS = torch.rand(3, *IMAGE, generator=torch.Generator().manual_seed(1))
WHOLE = torch.arange(30).reshape(1, *IMAGE)
KINDS = {
    # The batch that the model should get, and the bytes that say so.
    "lists": (ROWS, json.dumps(ROWS.tolist()).encode()),
    "lists of integers": (WHOLE.float(), json.dumps(WHOLE.tolist()).encode()),
    "torch.save": (ROWS, saved(ROWS)),
    "safetensors": (ROWS, save_tensors({"x": ROWS})),
    **{k: (pixels_of(picture(k)), picture(k)) for k in ("PNG", "JPEG")},
}


def in_json(content, client, model, form):
    value = base64.b64encode(content).decode()
    return ask(client, model, json.loads(content) if content.startswith(b"[") else value, form)


def in_json_as_base64(content, client, model, form):
    return ask(client, model, base64.b64encode(content).decode(), form)


def as_file(content, client, model, form):
    return send(client, model, upload(content), form)


def as_field_of_base64(content, client, model, form):
    return send(client, model, base64.b64encode(content).decode(), form)


WAYS = [in_json, in_json_as_base64, as_file, as_field_of_base64]
"""Kinds and forms take turns with these."""
FORMS = ["json", "binary", "safetensors"]


# --- Who is asked, and what is right ------------------------------------------------------


def stored(content):
    with scratch_path() as path:
        path.write_bytes(content)
        return store(path)


def moved(by):
    """Return weights beside the model's own."""
    return {name: value.detach() + by for name, value in Classifier().named_parameters()}


@cache
def archive():
    """Return one and the same file, so that a runner stays with it."""
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.save(torch.jit.script(Classifier()), file)
    return file.getvalue()


@pytest.fixture
def model(user):
    file = stored(archive())
    shape = [None, *IMAGE]
    return ModelFactory(owner=user, file=file.name, sha256=file.sha256, input_shape=shape)


@pytest.fixture
def served(model, user):
    """Make the model one that is served by a method."""

    def serve(method):
        options = {"uncertainty": {"N": 3}}
        TrainingFactory(model=model, actor=user, uncertainty_method=method, options=options)
        if method == "SWAG":
            mean = {name: value.double() for name, value in moved(0.5).items()}
            model.swag_first_moment = stored(save_tensors(mean)).name
            model.swag_second_moment = stored(save_tensors({k: v**2 for k, v in mean.items()})).name
            model.save()
        for by in (0.2, -0.3) if method == "ENSEMBLE" else ():
            file = stored(save_tensors(moved(by)))
            fields = {"file": file.name, "sha256": file.sha256, "closed_at": timezone.now()}
            LocalModelFactory(base_model=model, **fields)
        return model

    return serve


def output(batch, *, by=0.0, extra=True):
    weights = moved(by)
    scores = batch.flatten(1) @ weights["linear.weight"].T + weights["linear.bias"]
    return (scores + weights["extra"] * extra).softmax(1)


PASSES = {
    "MC_DROPOUT": lambda batch: [output(batch, extra=False)] * 3,
    "ENSEMBLE": lambda batch: [output(batch, by=0.2), output(batch, by=-0.3)],
    "SWAG": lambda batch: [output(batch, by=0.5)] * 3,
}


def expected(method, batch):
    """Return the contract's answer, its names joined by dots."""
    if method == "NONE":
        return {"inference": output(batch).argmax(1)}
    passes = torch.stack(PASSES[method](batch))
    mean = passes.mean(0)
    predictive = -(mean * mean.log()).sum(1)
    each = -(passes * passes.log()).sum(2).mean(0)
    return {
        "inference": mean,
        "uncertainty.variance": passes.var(0),
        "uncertainty.std": passes.std(0),
        "uncertainty.predictive_entropy": predictive,
        "uncertainty.expected_entropy": each,
        "uncertainty.mutual_info": predictive - each,
    }


def told(answer, form):
    """Return the answer in the same way; check that it has the form's own types."""
    if form == "safetensors":
        return answer
    assert answer.keys() == {"inference", "uncertainty"}
    uncertainty = answer["uncertainty"].items()
    flat = {"inference": answer["inference"]} | {f"uncertainty.{k}": v for k, v in uncertainty}
    assert {type(value) for value in flat.values()} == {list if form == "json" else torch.Tensor}
    return {name: torch.as_tensor(value) for name, value in flat.items()}


# --- The matrix ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["NONE", *PASSES])
def test_every_answer_is_right(client, served, method, kind, form):
    batch, content = KINDS[kind]
    way = WAYS[(list(KINDS).index(kind) + FORMS.index(form)) % len(WAYS)]
    response = way(content, client, served(method), form)
    answer, right = told(read(response), form), expected(method, batch)
    is_json = response["Content-Type"] == "application/json"
    assert is_json == (form == "json")
    assert answer.keys() == right.keys()
    for name, value in right.items():
        torch.testing.assert_close(answer[name], value, **EXACT)
