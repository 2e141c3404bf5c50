"""Eager modules that something was done with before they were saved: it leaves traces in them."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from fl_archive.admission import admit_model

from . import forge


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


def train(module):
    module.train()(torch.rand(5, 3)).sum().backward()
    module.eval()


def add_and_remove_weight_norm(module):
    nn.utils.weight_norm(module[0])
    nn.utils.remove_weight_norm(module[0])


def prune_and_keep(module):
    prune.l1_unstructured(module[0], "weight", 0.5)
    prune.remove(module[0], "weight")


def compile_in_place(module):
    module.compile(backend="eager")
    module(torch.rand(5, 3))


USES = {
    "scripted": torch.jit.script,
    "scripted and frozen": lambda module: torch.jit.freeze(torch.jit.script(module)),
    "traced": lambda module: torch.jit.trace(module, torch.rand(5, 3)),
    "trained": train,
    "compiled": lambda module: torch.compile(module, backend="eager")(torch.rand(5, 3)),
    "compiled in place": compile_in_place,
    "exported": lambda module: torch.export.export(module, (torch.rand(5, 3),)),
    "run in parallel": lambda module: nn.DataParallel(module)(torch.rand(5, 3)),
    "normalised for a while": add_and_remove_weight_norm,
    "pruned": prune_and_keep,
    "hooked for a while": lambda module: module.register_forward_hook(print).remove(),
    "averaged": lambda m: torch.optim.swa_utils.AveragedModel(m).update_parameters(m),
}


def admitted(module, tmp_path):
    torch.save(module, tmp_path / "source")
    admit_model(tmp_path / "source", tmp_path / "admitted")
    return torch.load(tmp_path / "admitted", weights_only=False)


@pytest.mark.parametrize("use", USES)
def test_a_module_is_admitted_that_was(use, tmp_path):
    module = network()
    with warnings.catch_warnings(action="ignore"):
        USES[use](module)
    x = torch.rand(5, 3)
    assert torch.equal(admitted(module, tmp_path)(x), module(x))


@pytest.mark.parametrize(
    "make", [nn.LSTM, nn.GRU, nn.RNN, nn.MultiheadAttention], ids=lambda make: make.__name__
)
def test_a_module_with_variants_of_a_method_is_admitted_after_scripting(make, tmp_path):
    module = make(4, 2)
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(module)
    assert admitted(module, tmp_path).__overloads__ == module.__overloads__


RELU = forge.name("torch.nn.functional", "relu")


@pytest.mark.parametrize(
    "overloads",
    [
        forge.NONE,
        forge.text("forward"),
        RELU,
        forge.name("collections", "OrderedDict") + b")R",
        forge.dict_of({"forward": RELU}),
        forge.dict_of({"forward": forge.text("forward__0")}),
        forge.dict_of({"forward": b"](" + RELU + b"e"}),
        forge.dict_of({"forward": b"](" + forge.text("__class__") + b"e"}),
        forge.dict_of({"forward": b"](" + forge.text("forward__1") + b"e"}),
        b"}(" + forge.number(0) + b"]u",
    ],
    ids=[
        *("nothing", "a text", "a function", "an OrderedDict", "a function by name"),
        *("a text by name", "functions", "other names", "other numbers", "by number"),
    ],
)
def test_overloads_other_than_scriptings_are_refused(overloads, tmp_path):
    path = forge.archive(tmp_path / "m", forge.module(__overloads__=overloads))
    forge.expect_refused(path, "__overloads__")


def test_overloads_of_what_is_no_module_are_refused(tmp_path):
    state = forge.dict_of({"__overloads__": forge.dict_of({})})
    ordered = forge.name("collections", "OrderedDict") + b")R" + state + b"b"
    forge.expect_refused(forge.archive(tmp_path / "m", forge.module(x=ordered)), "__overloads__")
