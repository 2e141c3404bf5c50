"""The tensors of a tree of modules, named and ordered as torch's `state_dict()` does."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from fl_archive.declared import Declared
from fl_archive.errors import NotAModel, Refused
from fl_archive.other_objects import explain
from fl_archive.records import Call, Pairs, text_items
from fl_archive.views import is_tensor

MAX_VISITS = 50_000
MAX_ENTRIES = 2_000_000
"""Of all modules' dicts: each takes an opcode, unless modules share them."""

MAX_NAME = 1024

CONTAINERS = "__torch__.torch.nn.modules.container."
STATISTIC = re.compile(r"running|moving|tracked|average|avg|(?:^|_)ema(?:_|$)|count")
"""Parts of the names that statistics have, such as `running_mean` and `num_batches_tracked`."""


class Found(NamedTuple):
    """A tensor's record by its full name; `is_fixed`: a buffer as `_is_fixed` describes it."""

    name: str
    record: object
    is_parameter: bool
    is_fixed: bool = False


class Parts(NamedTuple):
    """What one module holds by itself."""

    tensors: list[Found]
    children: list[tuple[str, Call]]
    entries: int = 0
    """How many there are, those that are None and not kept among them."""


def is_module(record: object) -> bool:
    """Whether the record has the attributes that every `torch.nn.Module` has."""
    if not isinstance(record, Call):
        return False
    state = text_items(record.state) or {}
    return {"_parameters", "_buffers", "_modules"} <= state.keys()


def module_tensors(root: Call) -> Iterator[Found]:
    """The parameters and persistent buffers of a saved `torch.nn.Module`."""
    return _walk(root, _module_parts)


def script_tensors(root: Call, classes: Mapping[str, Declared]) -> Iterator[Found]:
    """The parameters and buffers of a TorchScript module, which knows no others."""
    modules = {name: declared for name, declared in classes.items() if declared.base == "Module"}
    return _walk(root, lambda module: _script_parts(module, modules))


def state_tensors(root: object) -> Iterator[Found]:
    """The entries of a state dict."""
    entries = text_items(root)
    if entries is None or not all(map(is_tensor, entries.values())):
        raise explain(root)
    for name, record in entries.items():
        yield Found(_checked(name), record, is_parameter=False)


def _walk(root: Call, read_parts: Callable[[Call], Parts]) -> Iterator[Found]:
    """Modules before their children. A module met again is listed again, as torch does.

    That doubles with every level where a module is its parent's child twice; hence the limit.
    """
    known: dict[int, Parts] = {}
    entries = 0
    pending = [("", root)]
    for _ in range(MAX_VISITS):
        if not pending:
            return
        prefix, module = pending.pop()
        parts = known.get(id(module))
        if parts is None:
            parts = known[id(module)] = read_parts(module)
            entries += parts.entries
            if entries > MAX_ENTRIES:
                break
        for found in parts.tensors:
            yield found._replace(name=_checked(prefix + found.name))
        children = [(_checked(f"{prefix}{name}."), child) for name, child in parts.children]
        pending += reversed(children)
        if len(pending) > MAX_VISITS:
            break
    raise NotAModel("The model has too many modules.")


def _checked(name: str) -> str:
    if len(name) > MAX_NAME:
        raise NotAModel("A tensor's name is too long.")
    return name


def _module_parts(module: Call) -> Parts:
    """A module's parameter, buffer or child may also be None."""
    state = text_items(module.state) or {}
    parameters, buffers, children = (
        _entries(state[key]) for key in ("_parameters", "_buffers", "_modules")
    )
    hidden = _names(state.get("_non_persistent_buffers_set"))
    tensors = [Found(name, value, is_parameter=True) for name, value in parameters.items()]
    tensors += [
        Found(name, value, is_parameter=False)
        for name, value in buffers.items()
        if name not in hidden
    ]
    return Parts(
        [found for found in tensors if found.record is not None],
        [(name, _as_module(child)) for name, child in children.items() if child is not None],
        len(parameters) + len(buffers) + len(children) + len(hidden),
    )


def _entries(record: object) -> dict[str, object]:
    entries = text_items(record)
    if entries is None:
        raise NotAModel("A module of the model is not built as torch does.")
    return entries


def _as_module(record: object) -> Call:
    if not isinstance(record, Call) or not is_module(record):
        raise NotAModel("A module of the model is not built as torch does.")
    return record


def _names(record: object) -> set[object]:
    """A set of text: `set([...])` in protocol 2, filled after its making in later ones."""
    if record is None:
        return set()
    if not isinstance(record, Call) or record.pair[1] != "set":
        raise NotAModel("A module of the model is not built as torch does.")
    values = record.elements or (record.args[0] if record.args else [])
    return {value for value in values if isinstance(value, str)} if type(values) is list else set()


def _script_parts(module: Call, classes: Mapping[str, Declared]) -> Parts:
    declared = classes.get(".".join(module.pair))
    attributes = text_items(module.state) if isinstance(module.state, Pairs) else None
    if declared is None or attributes is None or attributes.keys() != declared.attributes.keys():
        raise Refused("A module of the model has other attributes than its code declares.")
    parts = Parts([], [])
    for name, type_name in declared.attributes.items():
        value = attributes[name]
        if name in declared.parameters:
            parts.tensors.append(Found(name, value, is_parameter=True))
        elif type_name in classes:
            parts.children.append((name, _as_script(value, type_name)))
        elif name in declared.buffers:
            parts.tensors.append(
                Found(name, value, False, is_fixed=_is_fixed(module, name, declared))
            )
        elif isinstance(value, Call) and ".".join(value.pair) in classes:
            raise Refused("A module of the model hides behind an interface.")
    in_order = sorted(parts.tensors, key=lambda found: not found.is_parameter)
    return parts._replace(tensors=[found for found in in_order if found.record is not None])


def _is_fixed(module: Call, name: str, declared: Declared) -> bool:
    """Whether a script's buffer may be one that isn't in the state dict of the eager module.

    TorchScript doesn't keep which were registered with `persistent=False`. None of torch's own
    classes does so (its containers register nothing). Nobody does so with what training changes:
    that is what the class's code may write to, and what is named as statistics are, because the
    training may be other code than the archive's.
    """
    type_name = ".".join(module.pair)
    torchs = type_name.startswith("__torch__.torch.") and not type_name.startswith(CONTAINERS)
    return not (torchs or declared.writes or STATISTIC.search(name))


def _as_script(record: object, type_name: str) -> Call:
    if not isinstance(record, Call) or ".".join(record.pair) != type_name:
        raise Refused("A module of the model is of another class than its code declares.")
    return record
