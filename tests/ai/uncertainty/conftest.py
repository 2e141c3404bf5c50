"""Models to be served, made in this process: methods need no runner."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fl_archive.safetensors_file import TensorFile
from fl_server_ai.inference.jobs.loading import Member
from fl_server_ai.inference.jobs.predicting import find_method
from fl_server_ai.tensors import Tensors
from fl_server_ai.uncertainty.registry import METHODS
from fl_server_ai.uncertainty.walk import Prediction, Run


def linear(*weights):
    """Return a linear model without bias: output is input times weights."""
    module = nn.Linear(1, len(weights), bias=False)
    module.weight.data = torch.tensor(weights).reshape(-1, 1)
    return module


def moments_of(folder: Path, first, second):
    """Return moments of files, as a SWAG round leaves them."""
    for name, tensors in (("first", first), ("second", second)):
        save_file(tensors, folder / name)
    return [Tensors(TensorFile(folder / name)) for name in ("first", "second")]


@pytest.fixture
def predict(tmp_path):
    """Call a method: `predict("SWAG", module, batch, std=...)`."""

    def call(method, module, batch, *, others=(), std=0.0, samples=10, softmax=False):
        state = {name: value.detach().clone() for name, value in module.named_parameters()}
        second = {name: value.square() + std**2 for name, value in state.items()}
        device = torch.device(os.environ["FL_DEVICE"])
        run = Run(
            members=[Member(each.to(device)) for each in (module, *others)],
            moments=moments_of(tmp_path, state, second) if METHODS[method].moments else [],
            batch=batch.to(device),
            samples=samples,
            softmax=softmax,
        )
        with torch.no_grad():
            prediction = find_method(METHODS[method].function)(run)
        for each in (module, *others):
            each.cpu()
        on_cpu = {name: value.cpu() for name, value in prediction.uncertainty.items()}
        return Prediction(prediction.inference.cpu(), on_cpu)

    return call
