"""What an attacker would change in a module's pickle: one attribute, tensor or child at a time."""

import copy
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

NUMBERS = [0, -1, 3, 2**20, 10**10, 2**63 - 1]
OTHERS = [
    True,
    None,
    "",
    1e300,
    float("nan"),
    (),
    [[1]],
    nn.functional.relu,
    nn.Linear,
    torch.ones(1),
]
FLAT = "_flat_weights"  # where an RNN has its weights a second time
BASE = frozenset(vars(nn.Module()))


def mutated(module: nn.Module, classes: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    """Copies of the module, each with something that its constructor didn't make so.

    In a module that has several of a class, the first of them is changed; attributes only in those
    of `classes`, by name. What lies four modules deep is tried in the module that it belongs to.
    """
    parts = {type(part): (path, part) for path, part in reversed(list(module.named_modules()))}
    for path, part in parts.values():
        if path.count(".") > 2:
            continue
        for name in vars(part):
            if name not in BASE and type(part).__name__ in classes:
                yield from _with_attribute(module, path, name)
        for name in (*part._parameters, *part._buffers):
            yield from _with_tensor(module, path, name)
        for name in part._modules:
            yield from _with_child(module, path, name)


def _copied(module: nn.Module, path: str) -> tuple[nn.Module, nn.Module]:
    whole = copy.deepcopy(module)
    return whole, whole.get_submodule(path)


def _with_attribute(module: nn.Module, path: str, name: str) -> Iterator[tuple[str, nn.Module]]:
    for value in _values(vars(module.get_submodule(path))[name]):
        whole, part = _copied(module, path)
        vars(part)[name] = value
        yield f"{path}.{name} = {value!r:.40}", whole
    whole, part = _copied(module, path)
    del vars(part)[name]
    yield f"del {path}.{name}", whole
    whole, part = _copied(module, path)
    del vars(part)[name]
    part._parameters[name] = nn.Parameter(torch.ones(()))
    yield f"{path}.{name} as a parameter", whole


def _values(value: Any) -> Iterator[Any]:
    yield from NUMBERS
    yield from OTHERS
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 2, -value, float(value))
    elif isinstance(value, tuple | list) and value and not isinstance(value, torch.Size):
        yield type(value)(value[:-1])
        yield type(value)([*value, value[0]])
        for number in NUMBERS:
            yield type(value)([number, *value[1:]])
            yield type(value)([number] * len(value))


def _with_tensor(module: nn.Module, path: str, name: str) -> Iterator[tuple[str, nn.Module]]:
    tensor = _tensors(module.get_submodule(path))[name]
    for what, other in _others(torch.ones(2) if tensor is None else tensor.detach()):
        whole, part = _copied(module, path)
        _replace(part, name, other)
        yield f"{path}.{name} {what}", whole
    whole, part = _copied(module, path)
    vars(part)[name] = torch.ones(1)
    yield f"{path}.{name} as an attribute", whole


def _others(tensor: Tensor) -> Iterator[tuple[str, Tensor | None]]:
    yield "none", None
    yield "of one element", torch.ones(1)
    yield "without elements", torch.ones(0)
    yield "with a dimension more", tensor.unsqueeze(0).clone()
    yield "flat", tensor.reshape(-1).clone()
    yield "of doubles", tensor.double()
    yield "of integers", tensor.long()
    yield "of bytes", tensor.to(torch.uint8)
    yield "complex", tensor.to(torch.complex64)
    if tensor.dim():
        yield "shorter", tensor[:-1].clone()
        yield "longer", torch.cat([tensor, tensor])
    if tensor.dim() > 1:
        yield "turned", tensor.transpose(0, 1).clone()


def _tensors(part: nn.Module) -> dict[str, Tensor | None]:
    return part._parameters | part._buffers


def _replace(part: nn.Module, name: str, other: Tensor | None) -> None:
    old = _tensors(part)[name]
    if other is not None and name in part._parameters:
        other = nn.Parameter(other, requires_grad=other.is_floating_point())
    (part._parameters if name in part._parameters else part._buffers)[name] = other
    flat = vars(part).get(FLAT, [])
    flat[:] = [other if weight is old else weight for weight in flat]


def _with_child(module: nn.Module, path: str, name: str) -> Iterator[tuple[str, nn.Module]]:
    others = [None, nn.Identity(), nn.Linear(1, 1), nn.LayerNorm(3), nn.LayerNorm(4)]
    others += [nn.ModuleList(), nn.LSTM(1, 1), nn.MultiheadAttention(2, 1), nn.Embedding(1, 1)]
    for other in others:
        whole, part = _copied(module, path)
        part._modules[name] = other
        yield f"{path}.{name} a {type(other).__name__}", whole
    whole, part = _copied(module, path)
    del part._modules[name]
    yield f"del {path}.{name}", whole
