import importlib
import inspect
import io
import pickletools
import zipfile

import admitted_lists
import pytest
import torch
from admitted_models import MODELS
from torch import nn

from fl_archive.admitted import (
    Called,
    check_calls,
    check_globals,
    check_script_globals,
    check_state,
    parse_extra,
)
from fl_archive.errors import Refused

ARGUMENTS = {
    "AdaptiveLogSoftmaxWithLoss": (8, 10, [4]),
    "Fold": (4, 2),
    "Bilinear": (2, 2, 2),
    "FractionalMaxPool2d": (2, (2, 2)),
    "FractionalMaxPool3d": (2, (2, 2, 2)),
    "GRU": (2, 2),
    "LSTM": (2, 2),
    "RNN": (2, 2),
    "LayerNorm": (4,),
    "MultiheadAttention": (8, 2),
    "Threshold": (0.1, 20),
    "TransformerDecoder": (nn.TransformerDecoderLayer(8, 2), 1),
    "TransformerDecoderLayer": (8, 2),
    "TransformerEncoder": (nn.TransformerEncoderLayer(8, 2), 1),
    "TransformerEncoderLayer": (8, 2),
    "Unflatten": (1, (1, 1)),
}
WANTING = {"RNNBase", "RNNCellBase"}  # bases whose arguments name a kind of cell


def pickle_of(model):
    data = io.BytesIO()
    torch.save(model, data)
    return zipfile.ZipFile(data).read("archive/data.pkl")


def globals_of(data):
    names = (arg for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL")
    return {tuple(name.split(" ")) for name in names}


def module_classes():
    for module, name in map(str.split, sorted(admitted_lists.checked_in("globals.txt"))):
        if module.startswith("torch.nn.modules.") and name not in WANTING:
            yield getattr(importlib.import_module(module), name)


def built(cls):
    if cls.__name__ in ARGUMENTS:
        return cls(*ARGUMENTS[cls.__name__])
    required = [
        parameter
        for parameter in inspect.signature(cls.__init__).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    try:
        return cls(*(2 for _ in required[1:]))
    except ValueError:  # a convolution-like kernel of several dimensions
        return cls(2)


@pytest.mark.parametrize("cls", list(module_classes()), ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore")
def test_a_module_of_torch_passes(cls):
    check_globals(globals_of(pickle_of(built(cls))))


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "softplus", "tanh"])
def test_a_functional_activation_passes(activation):
    function = getattr(nn.functional, activation)
    check_globals(globals_of(pickle_of(nn.TransformerEncoderLayer(8, 2, activation=function))))


def test_containers_and_values_pass():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2))})
    model.extra = [{1}, frozenset([2]), 1j, slice(1, 2), torch.float16, torch.Size([1])]
    model.device, model.plain = torch.device("cpu"), torch.ones(2, dtype=torch.uint16)
    model.layout, model.half = torch.strided, torch.ones(2).bfloat16()
    model.weight = nn.Parameter(torch.ones(2))
    model.weight.note, model.plain.note = "a", "b"
    check_globals(globals_of(pickle_of(model)))


@pytest.mark.parametrize(
    "pair",
    [
        ("__builtin__", "eval"),
        ("__builtin__", "getattr"),
        ("builtins", "exec"),
        ("builtins", "set.__init__"),
        ("collections", "OrderedDict.__init_subclass__"),
        ("copyreg", "_reconstructor"),
        ("functools", "partial"),
        ("importlib", "import_module"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("os", "system"),
        ("posix", "system"),
        ("torch", "load"),
        ("torch", "save"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch.nn.functional", "importlib.import_module"),
        ("torch.nn.functional", "torch.load"),
        ("torch.nn.modules.batchnorm", "SyncBatchNorm"),
        ("torch.nn.modules.conv", "LazyConv2d"),
        ("torch.nn.parallel.distributed", "DistributedDataParallel"),
        ("torch.serialization", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.utils.data", "DataLoader"),
        ("torch.utils._config_module", "ConfigModule"),
        ("torchvision.models.resnet", "resnet18"),
        ("torchvision.transforms.v2._misc", "Lambda"),
        ("torch.nn.modules.linear", "linear"),
        ("torch.nn.modules.linear ", "Linear"),
        ("", ""),
    ],
    ids=".".join,
)
def test_anything_else_is_refused(pair):
    with pytest.raises(Refused, match="not admitted"):
        check_globals([("torch.nn.modules.linear", "Linear"), pair])


def test_what_the_operator_adds_passes():
    extra = parse_extra(["my.models:Net"])
    check_globals([("my.models", "Net")], extra=extra)
    check_calls([Called(("my.models", "Net"), 3)], extra=extra)
    with pytest.raises(Refused):
        check_globals([("my.models", "Other")], extra=extra)


@pytest.mark.parametrize(
    "item", ["", "Net", "my.models.Net", "my:", ":Net", "my:Net.load", "m y:N"]
)
def test_a_malformed_addition_is_named(item):
    with pytest.raises(ValueError, match="FL_MODEL_CLASSES takes module:ClassName"):
        parse_extra([item])


def test_a_module_is_built_without_arguments_only():
    linear = ("torch.nn.modules.linear", "Linear")
    check_calls([Called(linear, 0, new=True), Called(("torch._utils", "_rebuild_tensor_v2"), 6)])
    with pytest.raises(Refused, match="with 2 arguments"):
        check_calls([Called(linear, 2, new=True)])


def test_a_module_is_not_built_by_a_call_which_would_allocate_what_its_defaults_say():
    with pytest.raises(Refused, match="with 0 arguments"):
        check_calls([Called(("torch.nn.modules.transformer", "Transformer"), 0)])


def test_what_may_not_be_named_may_not_be_called():
    with pytest.raises(Refused, match="not admitted"):
        check_calls([Called(("os", "system"), 1)])


def test_attributes_that_python_calls_are_refused():
    check_state(["training", "_modules", "__constants__"[2:]])
    with pytest.raises(Refused, match="__setstate__"):
        check_state(["training", "__setstate__"])


@pytest.mark.parametrize(
    ("of", "key"),
    [("Tensor", "data"), ("Module", "state_dict"), ("Module", "forward"), ("OrderedDict", "items")],
)
def test_attributes_that_the_class_itself_has_are_refused(of, key):
    check_state(["note", "training", "_metadata", key])
    check_state(["note", "training", "_metadata"], of=of)
    with pytest.raises(Refused, match=key):
        check_state(["note", key], of=of)


@pytest.mark.parametrize("cls", list(module_classes()), ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore")
def test_no_module_of_torch_keeps_an_attribute_under_such_a_name(cls):
    check_state(built(cls).__getstate__(), of="Module")


@pytest.mark.parametrize("name", MODELS)
def test_a_scripted_models_globals_pass(name, archives):
    for pickle in ("data.pkl", "constants.pkl"):
        check_script_globals(globals_of(archives[name][pickle]))


@pytest.mark.parametrize(
    "pair",
    [
        ("os", "system"),
        ("torch.jit._pickle", "anything"),
        ("__torch__.torch.classes.quantized", "Conv2dPackedParamsBase"),
        ("__torch__.torch.classes", "Thing"),
        ("__torch__x", "Thing"),
        ("torch.distributed.rpc", "rref"),
    ],
    ids=".".join,
)
def test_a_scripted_model_names_nothing_but_its_own_classes(pair):
    with pytest.raises(Refused, match="not admitted"):
        check_script_globals([pair])
