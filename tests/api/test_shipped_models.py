"""Models as torch saves them, over HTTP: uploaded, trained by a client, merged, handed out."""

import io
import warnings

import pytest
import torch
from torch import Tensor, nn

from fl_server_ai.aggregation import merging
from fl_server_core.models import Model, Training
from tests.api.conftest import as_user, body_of, saved, upload
from tests.factories import TrainingFactory


class Group(nn.Module):
    """torch.unique calls a function of torch's own, which has an argument named `sorted`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor, str: Tensor, max: Tensor) -> Tensor:
        y = self.layer(x) * str
        return torch.stack([y[max == one].mean(0) for one in torch.unique(max)])


class Forecast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.gru = nn.LSTMCell(3, 3), nn.GRUCell(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.cell(x)
        return self.gru(x, h).split([1, 2], 1)[1]


X = torch.rand(4, 3)
MODELS = {
    "GELU": (torch.jit.script, lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU()), (X,)),
    "GELU by tanh": (
        torch.jit.script,
        lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU("tanh")),
        (X,),
    ),
    "traced GELU": (
        lambda module: torch.jit.trace(module, X),
        lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU()),
        (X,),
    ),
    "traced cells": (lambda module: torch.jit.trace(module, X), Forecast, (X,)),
    "unique": (torch.jit.script, Group, (X, torch.ones(1), torch.tensor([0, 1, 1, 0]))),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_goes_through_a_round(name, client, user, participant):
    save, make, inputs = MODELS[name]
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(save(make()), file, _extra_files={"labels.txt": b"a b"})
    answer = client.post(
        "/api/models/",
        {"name": name, "description": "", "model_file": upload(file.getvalue())},
        format="multipart",
    )
    assert answer.status_code == 201, answer.content
    model = Model.objects.get()
    training = TrainingFactory(actor=user, model=model, participants=[participant])
    client.post(f"/api/trainings/{training.pk}/start/")

    member, url = as_user(participant), f"/api/models/{model.pk}/"
    module = handed_out(member, url)
    state = {key: value + 1 for key, value in module.state_dict().items()}
    update = {"round": 0, "sample_size": 1, "model_file": saved(state)}
    assert member.post(url, update, format="multipart").status_code == 201
    merging.merge_round(training.pk, 0, 0)

    assert Training.objects.get().model.round == 1
    module.load_state_dict(state)
    assert torch.equal(handed_out(member, url)(*inputs), module(*inputs))


def handed_out(member, url):
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.load(io.BytesIO(body_of(member.get(url))))
