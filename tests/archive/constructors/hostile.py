"""What an attacker would change in a module's pickle: one attribute, tensor or child at a time."""

import copy
from collections.abc import Callable, Collection, Iterator
from functools import partial
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


Change = Callable[[nn.Module], None]


def mutated(
    module: nn.Module, classes: Collection[str]
) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """What makes copies of the module, each with something that its constructor didn't make so.

    In a module that has several of a class, the first of them is changed; attributes only in those
    of `classes`, by name. What lies four modules deep is tried in the module that it belongs to.
    """
    parts = {type(part): (path, part) for path, part in reversed(list(module.named_modules()))}
    for path, part in parts.values():
        if path.count(".") > 2:
            continue
        for name, what, change in _changes(part, has_rule=type(part).__name__ in classes):
            yield f"{path}.{name} {what}", partial(_changed, module, path, change)


def _changed(module: nn.Module, path: str, change: Change) -> nn.Module:
    whole = copy.deepcopy(module)
    change(whole.get_submodule(path))
    return whole


def _changes(part: nn.Module, *, has_rule: bool) -> Iterator[tuple[str, str, Change]]:
    for name in [name for name in vars(part) if name not in BASE and has_rule]:
        yield from ((name, *change) for change in _of_attribute(part, name))
    for name in (*part._parameters, *part._buffers):
        yield from ((name, *change) for change in _of_tensor(part, name))
    for name in part._modules:
        yield from ((name, *change) for change in _of_child(name))


def _of_attribute(part: nn.Module, name: str) -> Iterator[tuple[str, Change]]:
    def as_parameter(part: nn.Module) -> None:
        del vars(part)[name]
        part._parameters[name] = nn.Parameter(torch.ones(()))

    for value in _values(vars(part)[name]):
        yield f"= {value!r:.40}", lambda part, value=value: vars(part).update({name: value})
    yield "deleted", lambda part: vars(part).pop(name)
    yield "as a parameter", as_parameter


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


def _of_tensor(part: nn.Module, name: str) -> Iterator[tuple[str, Change]]:
    tensor = _tensors(part)[name]
    for what, other in _others(torch.ones(2) if tensor is None else tensor.detach()):
        yield what, lambda part, other=other: _replace(part, name, other)
    yield "as an attribute", lambda part: vars(part).update({name: torch.ones(1)})


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


def _of_child(name: str) -> Iterator[tuple[str, Change]]:
    others = [None, nn.Identity(), nn.Linear(1, 1), nn.LayerNorm(3), nn.LayerNorm(4)]
    others += [nn.ModuleList(), nn.LSTM(1, 1), nn.MultiheadAttention(2, 1), nn.Embedding(1, 1)]
    for other in others:
        yield (
            f"a {type(other).__name__}",
            lambda part, other=other: part._modules.update({name: other}),
        )
    yield "deleted", lambda part: part._modules.pop(name)
