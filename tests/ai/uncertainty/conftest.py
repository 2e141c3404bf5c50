"""Models to be served, made in this process: methods need no runner."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fl_archive.tensors import TensorFile
from fl_server_ai.inference.jobs.loading import Member, Served
from fl_server_ai.uncertainty import METHODS, Prediction, Run


def linear(*weights):
    """Return a linear model without bias: output is input times weights."""
    module = nn.Linear(1, len(weights), bias=False)
    module.weight.data = torch.tensor(weights).reshape(-1, 1)
    return module


def moments_of(folder: Path, first, second):
    """Return moment files, as a SWAG round leaves them."""
    for name, tensors in (("first", first), ("second", second)):
        save_file(tensors, folder / name)
    return [TensorFile(folder / "first"), TensorFile(folder / "second")]


@pytest.fixture
def predict(tmp_path):
    """Call a method: `predict("SWAG", module, batch, std=...)`."""

    def call(method, module, batch, *, others=(), std=0.0, samples=10, softmax=False):
        state = {name: value.detach().clone() for name, value in module.named_parameters()}
        second = {name: value.square() + std**2 for name, value in state.items()}
        device = torch.device(os.environ["FL_DEVICE"])
        served = Served(
            members=[Member(each.to(device)) for each in (module, *others)],
            moments=moments_of(tmp_path, state, second) if method == "SWAG" else [],
            preprocessing=None,
            device=device,
        )
        with torch.no_grad():
            run = Run(served, batch.to(device), samples=samples, softmax=softmax)
            prediction = METHODS[method](run)
        for each in (module, *others):
            each.cpu()
        on_cpu = {name: value.cpu() for name, value in prediction.uncertainty.items()}
        return Prediction(prediction.inference.cpu(), on_cpu)

    return call
