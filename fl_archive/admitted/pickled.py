"""The classes and functions that a model's pickle may name, and how it may call them."""

from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fl_archive.errors import Refused

Pair = tuple[str, str]
"""A module and a name in it, both as the pickle spells them."""


class Called(NamedTuple):
    """A call as the pickle has it; `new`: of the callee's `__new__` alone (NEWOBJ)."""

    pair: Pair
    arguments: int
    new: bool = False


TRACE_IT = (
    "Send the model with its code inside: torch.jit.trace(model, example_input).save(file), or "
    "torch.jit.script if the model allows it. Or the server's operator lists its classes in "
    "FL_MODEL_CLASSES."
)

ARGUMENTS: dict[Pair, frozenset[int]] = {
    ("__builtin__", "complex"): frozenset({2}),
    ("__builtin__", "frozenset"): frozenset({1}),
    ("__builtin__", "set"): frozenset({1}),
    ("__builtin__", "slice"): frozenset({3}),
    ("collections", "OrderedDict"): frozenset({0}),
    ("torch", "Size"): frozenset({1}),
    ("torch", "device"): frozenset({1, 2}),
    ("torch._tensor", "_rebuild_from_type_v2"): frozenset({4}),
    ("torch._utils", "_rebuild_parameter"): frozenset({3}),
    ("torch._utils", "_rebuild_parameter_with_state"): frozenset({4}),
    ("torch._utils", "_rebuild_tensor_v2"): frozenset({6, 7}),
    ("torch._utils", "_rebuild_tensor_v3"): frozenset({7, 8}),
    ("torch.serialization", "_get_layout"): frozenset({1}),
    ("torchvision.transforms.autoaugment", "AutoAugmentPolicy"): frozenset({1}),
    ("torchvision.transforms.functional", "InterpolationMode"): frozenset({1}),
    ("torchvision.tv_tensors._bounding_boxes", "BoundingBoxFormat"): frozenset({1}),
}
"""How many arguments torch passes to what it calls; everything else is made by `__new__` alone.

A class of torch.nn is pickled as an empty object and its attributes: a call would run its
`__init__`, which allocates whatever it is told to, or its defaults say (0.2 GB, a Transformer).
"""

SCRIPT_STORAGES: tuple[str, ...] = (
    "BFloat16",
    "Bool",
    "Byte",
    "Char",
    "ComplexDouble",
    "ComplexFloat",
)
SCRIPT_STORAGES += ("Double", "Float", "Half", "Int", "Long", "Short")
LISTS = ("boollist", "doublelist", "intlist", "tensorlist")
SCRIPT_GLOBALS: frozenset[Pair] = frozenset(
    {
        ("builtins", "complex"),
        ("collections", "OrderedDict"),
        ("torch", "device"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch.jit._pickle", "build_tensor_from_id"),
        ("torch.jit._pickle", "restore_type_tag"),
        *(("torch.jit._pickle", f"build_{kind}") for kind in LISTS),
        *(("torch", f"{name}Storage") for name in SCRIPT_STORAGES),
    }
)
"""What torch's own unpickler, in C++, knows by name, except quantized and remote tensors."""


@cache
def admitted() -> frozenset[Pair]:
    """The checked-in pairs, one `module name` a line."""
    return _pairs("globals.txt")


@cache
def reserved() -> frozenset[Pair]:
    """Pairs of a class, by its short name, and an attribute that the class itself has."""
    return _pairs("reserved.txt")


def _pairs(name: str) -> frozenset[Pair]:
    lines = Path(__file__).with_name(name).read_text("ascii").splitlines()
    return frozenset((first, second) for first, second in map(str.split, lines))


def check_globals(pairs: Iterable[Pair], *, extra: Collection[Pair] = ()) -> None:
    """Refuse the first of an eager module's globals that is neither in the list nor in `extra`."""
    for pair in pairs:
        if pair not in admitted() and pair not in extra:
            raise Refused(f"The model needs {shown(pair)}, which is not admitted here. {TRACE_IT}")


def check_calls(calls: Iterable[Called], *, extra: Collection[Pair] = ()) -> None:
    """Refuse calls in another form or with another number of arguments than torch's.

    What the operator added as `extra` may be called with any: enums and named tuples need it.
    """
    for pair, count, new in calls:
        check_globals([pair], extra=extra)
        expected = ARGUMENTS.get(pair, {0})
        if pair not in extra and (count not in expected or new == (pair in ARGUMENTS)):
            raise Refused(f"The file calls {shown(pair)} with {count} arguments. {TRACE_IT}")


def check_state(keys: Iterable[str], *, of: str = "") -> None:
    """Refuse attributes that would replace what Python calls on an object of any class.

    Of a Module, Tensor or OrderedDict also what the class itself has: `data` would exchange a
    parameter's values, `state_dict` hide a module's.
    """
    for key in keys:
        if (key.startswith("__") and key.endswith("__")) or (of, key) in reserved():
            raise Refused(f"The file sets the attribute {key[:80]!r} on an object; remove it.")


def check_script_globals(pairs: Iterable[Pair]) -> None:
    """Refuse what a TorchScript archive's pickles name beyond the classes in its own code."""
    for module, name in pairs:
        own = module == "__torch__" or module.startswith("__torch__.")
        bound = module == "__torch__.torch.classes" or module.startswith("__torch__.torch.classes.")
        if (own and not bound) or (module, name) in SCRIPT_GLOBALS:
            continue
        raise Refused(f"The file names {shown((module, name))}, which is not admitted.")


def parse_extra(items: Iterable[str]) -> frozenset[Pair]:
    """Pairs from FL_MODEL_CLASSES' entries, "module:ClassName"; ValueError with a sentence."""
    return frozenset(map(_parse, items))


def _parse(item: str) -> Pair:
    module, colon, name = item.partition(":")
    if colon and name.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return module, name
    raise ValueError(f"FL_MODEL_CLASSES takes module:ClassName, not {item!r}.")


def shown(pair: Pair) -> str:
    """The pair for a message, short and without control characters."""
    return ascii(".".join(pair)[:120])
