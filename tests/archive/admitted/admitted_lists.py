"""Run as a script, writes the checked-in lists anew from the installed torch.

What is decided by hand stands here with its reason; the rest is what torch defines. The pairs of
torchvision are kept as they are where it is not installed.
"""

import enum
import importlib
import pickle
import pickletools
import pkgutil
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch.nn import functional

import fl_archive

Pair = tuple[str, str]
REASONS = Path(__file__).parent
FOLDER = Path(fl_archive.__file__).parent / "admitted"

# --- What an eager module's pickle may name ----------------------------------------------
NOT_PICKLED = re.compile(
    r"_.*"  # base classes
    r"|Lazy.*"  # no shapes yet
    r"|SyncBatchNorm"  # calls the process group it carries
    r"|Container|NLLLoss2d"  # deprecated names, whose __new__ builds something else
)
# ruff: noqa: SIM905 - lists of words read better as lines of words
NOT_TRANSFORMS = {
    "Lambda",  # made to call whatever it is given
    "CutMix",  # for batches with labels, in training; it carries a distribution object
    "MixUp",
}
ACTIVATIONS = (  # what a TransformerEncoderLayer may hold; the others pickle as getattr(...)
    "celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_softmax logsigmoid mish relu "
    "relu6 rrelu selu sigmoid silu softmax softmin softplus softshrink softsign tanh tanhshrink "
    "threshold"
).split()
STORAGES = (
    "BFloat16 Bool Byte Char ComplexDouble ComplexFloat Double Float Half Int Long Short"
).split()
NO_NUMBERS = re.compile(r"torch\.(qu?int.*|bits.*|u?int[1-7])")  # quantized or without arithmetic
BY_HAND: set[Pair] = {
    ("__builtin__", "complex"),
    ("__builtin__", "frozenset"),
    ("__builtin__", "set"),
    ("__builtin__", "slice"),
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "Tensor"),
    ("torch", "device"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch.nn.modules.module", "Module"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.serialization", "_get_layout"),
    ("torch.storage", "UntypedStorage"),
    *(("torch", f"{kind}Storage") for kind in STORAGES),
}


def named(value: object) -> Pair:
    """The pair under which pickle writes a class or function."""
    data = pickle.dumps(value, protocol=2)
    names = [arg for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL"]
    (pair,) = (tuple(name.split(" ")) for name in names)
    return pair


def module_classes() -> Iterator[Pair]:
    """Every concrete Module of torch.nn.modules."""
    for found in pkgutil.iter_modules(torch.nn.modules.__path__, "torch.nn.modules."):
        for value in vars(importlib.import_module(found.name)).values():
            if (
                isinstance(value, type)
                and issubclass(value, torch.nn.Module)
                and value.__module__ == found.name
                and not NOT_PICKLED.fullmatch(value.__name__)
            ):
                yield named(value)


def torch_globals() -> set[Pair]:
    """What the installed torch contributes."""
    functions = (getattr(functional, name) for name in ACTIVATIONS)
    dtypes = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    plain = {dtype for dtype in dtypes if not NO_NUMBERS.fullmatch(str(dtype))}
    return BY_HAND | {*module_classes(), *map(named, functions), *map(named, plain)}


def torchvision_globals() -> set[Pair]:
    """The public transforms of v2, their enums and the tensor classes that they tell apart."""
    v2 = importlib.import_module("torchvision.transforms.v2")
    tensors = importlib.import_module("torchvision.tv_tensors")
    labels = importlib.import_module("torchvision.transforms.v2._utils")
    public = [getattr(v2, name) for name in dir(v2) if name not in NOT_TRANSFORMS]
    classes = [value for value in public if isinstance(value, type)]
    transforms = [c for c in classes if issubclass(c, torch.nn.Module | enum.Enum)]
    shapes = [value for value in vars(tensors).values() if isinstance(value, type)]
    return {named(value) for value in (*transforms, *shapes, labels._find_labels_default_heuristic)}


# --- What TorchScript code may call ------------------------------------------------------
# An operator is admitted because a family needs it (needed.txt, by `python -m benchmarks.families
# --operators`) or because people write it (by_hand.txt), unless one of these holds.
NOT_ADMITTED = {
    "computes a loss, which is the participant's; ctc_loss reads wherever a target points": (
        "(?!mse_).*_loss(_nd)?|binary_cross_entropy.*|kl_div"
    ),
    "is of sparse tensors, whose kernels trust the indices": (
        ".*sparse.*|.*coalesce.*|(c?col|c?row)_indices|indices|segment_reduce|_convert_indices.*"
    ),
    "shows what memory held before; torch.zeros replaces it": "(new_)?empty(_like)?",
}
PRIM = (
    "NumToTensor RaiseException abs device dtype is_cpu is_cuda is_nested itemsize layout max min "
    "nbytes requires_grad type"
).split()  # the attributes of tensors and what arithmetic on Python numbers becomes


def registered() -> set[str]:
    """The names of all aten operators, schemas and those that torch writes in TorchScript."""
    schemas = torch._C._jit_get_all_schemas()
    return {schema.name[6:] for schema in schemas if schema.name.startswith("aten::")}


def needed() -> set[str]:
    """What a family of models needs, or people write."""
    rows = (REASONS / "needed.txt").read_text().splitlines()
    return by_hand() | {row.partition(": ")[0].removeprefix("torch.") for row in rows}


def by_hand() -> set[str]:
    """What people write."""
    rows = (REASONS / "by_hand.txt").read_text().splitlines()
    return {word for row in rows if row[0] != "#" for word in row.partition(": ")[2].split()}


def checked() -> set[str]:
    """The operators that are called by functions of checked.txt, which stand in their place."""
    text = (FOLDER / "checked.txt").read_text()
    names = set(re.findall(r"^def (\w+)\(", text, re.MULTILINE))
    return names & registered() - {"lstm"}  # two operators have that name: see _check_lstm


def operators() -> tuple[set[str], set[str]]:
    """(admitted, withheld): `torch.<name>` and `ops.prim.<name>` as the code has them."""
    rule = re.compile("|".join(NOT_ADMITTED.values()))
    names = registered()
    admitted = {name for name in names & needed() if not rule.fullmatch(name)} - checked()
    prim = {f"ops.prim.{name}" for name in PRIM}
    return {f"torch.{name}" for name in admitted} | prim, names - admitted


def schemas() -> list[torch._C.FunctionSchema]:
    """All overloads of what is admitted."""
    admitted = checked_in("operators.txt")
    schemas = torch._C._jit_get_all_schemas()
    return [schema for schema in schemas if schema.name.replace("aten::", "torch.") in admitted]


def enumerations() -> set[tuple[str, str, int]]:
    """(operator, argument, place) of each number that stands for a dtype, format or layout.

    The place is -1 where it is passed by name alone. In a schema they are numbers like others; only
    its text says which they are.
    """
    found = set()
    for schema in schemas():
        text = str(schema).partition("(")[2]
        for place, given in enumerate(schema.arguments):
            if given.name == "dtype" or re.search(
                rf"(ScalarType|MemoryFormat|Layout)\?? {given.name}\b", text
            ):
                path = schema.name.replace("aten::", "torch.")
                found.add((path, given.name, -1 if given.kwarg_only else place))
    return found


def outputs() -> set[str]:
    """The names by which operators are given what they write into."""
    return {
        given.name
        for schema in schemas()
        for given in schema.arguments
        if given.kwarg_only and given.alias_info and given.alias_info.is_write
    }


# --- What a state may not replace ----------------------------------------------------------
def reserved() -> set[str]:
    """Attributes that the classes themselves have."""
    classes = (OrderedDict, torch.nn.Module, torch.Tensor)
    rows = {f"{cls.__name__} {name}" for cls in classes for name in dir(cls)}
    return {row for row in rows if not row.endswith("__")}


def lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in sorted(rows))


def checked_in(name: str) -> set[str]:
    return set((FOLDER / name).read_text().splitlines())


def main() -> None:
    pairs = {" ".join(pair) for pair in torch_globals()}
    try:
        pairs |= {" ".join(pair) for pair in torchvision_globals()}
    except (ImportError, RuntimeError):  # not there, or built for another torch
        pairs |= {line for line in checked_in("globals.txt") if line.startswith("torchvision.")}
    admitted, withheld = operators()
    (FOLDER / "globals.txt").write_text(lines(pairs))
    (FOLDER / "operators.txt").write_text(lines(admitted))
    (FOLDER / "reserved.txt").write_text(lines(reserved()))
    (FOLDER / "withheld.txt").write_text(lines(withheld))


if __name__ == "__main__":
    main()
