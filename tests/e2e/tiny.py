"""Models of one weight per input, in the forms that go over the wire."""

import io

import torch
from safetensors.torch import save
from torch import nn


def scripted(weight: float, inputs: int = 2) -> bytes:
    layer = nn.Linear(inputs, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer), file)
    return file.getvalue()


class Dropping(nn.Linear):
    """Leaves out half of its inputs while its dropout is on."""

    def __init__(self, weight):
        super().__init__(2, 1, bias=False)
        nn.init.constant_(self.weight, weight)
        self.dropout = nn.Dropout()

    def forward(self, x):
        return nn.functional.linear(self.dropout(x), self.weight)


def dropping(weight: float) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Dropping(weight)), file)
    return file.getvalue()


class Endless(nn.Linear):
    """Never answers."""

    def forward(self, x):
        while bool(x.sum() < 1e30):
            x = x * 1.0
        return x


def endless(weight: float) -> bytes:
    layer = Endless(2, 1)
    nn.init.constant_(layer.weight, weight)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer), file)
    return file.getvalue()


def update_of(weight: float) -> bytes:
    return save({"weight": torch.full((1, 2), weight)})


def weight_of(content: bytes) -> torch.Tensor:
    return torch.jit.load(io.BytesIO(content)).weight
