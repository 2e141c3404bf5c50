"""Taking in an actor's model, which goes out again to everyone who trains it.

Uploaded bytes are never handed on: what is checked is written into a fresh archive, from
members known by their exact names. Its pickles are the checked ones byte for byte, see
`pickles`, but for the devices that tensors lay on; its code is stored with zeros for what it
left uninitialised; its blocks are those that the pickles name. Of weights without a model only
names and numbers are taken, see `weights`.
"""

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from fl_archive.admitted import (
    Pair,
    check_code,
    check_script_globals,
    replaced,
)
from fl_archive.declared import read_classes
from fl_archive.dtypes import DTYPES, STORAGES
from fl_archive.eager import check_module
from fl_archive.errors import UNEXPECTED, HoldsCode, NotAModel, Refused, shown
from fl_archive.locations import move_to_cpu
from fl_archive.model import ModelFile, TensorSpec, read_model
from fl_archive.pickles import MAX_BYTES
from fl_archive.records import Pickle
from fl_archive.typed import TypeCheck
from fl_archive.views import (
    CARRIERS,
    TENSOR_CALLS,
    UNSUPPORTED,
    WRAPPERS,
    read_view,
    storage_size,
)
from fl_archive.weights import write_weights
from fl_archive.zip_reader import check_content, read_content
from fl_archive.zip_writer import Content, write_members

MAX_SHARED = 256 << 20
"""Bytes of a block in which tensors may interleave: looking for overlaps takes as many again."""

NEITHER = (
    "It is no model with code and no weights by name: send a model, saved by "
    "torch.jit.trace(model, example_input), or weights alone, torch.save(model.state_dict(), file)."
)

FOLDERS = {"data.pkl": "data", "constants.pkl": "constants"}
STORAGE_CLASSES = {("torch", name) for name in STORAGES}
CODE = r"code/__torch__(/\w+)*\.py"
VERSIONS = (".data/version", "version")
"""Members with the format's version: torch writes the first from version 6 on, else the second."""
KNOWN = re.compile(
    r"data\.pkl|constants\.pkl|(\.data/)?version|byteorder|(data|constants)/\d{1,9}"
    rf"|{CODE}",
    re.ASCII,
)
LEFT_OUT = re.compile(
    # Traces of how the file came about, and the user's own; nobody needs them to load the model.
    r"\.format_version|\.storage_alignment|\.data/serialization_id|extra/.+"
    rf"|traced_inputs\.pkl|traced_inputs/\d{{1,9}}|{CODE}\.debug_pkl"
    # The same model once more, as phones read it (_save_for_lite_interpreter).
    r"|bytecode\.pkl|bytecode/\d{1,9}|mobile_debug_handles\.pkl|callstack_debug_map\.pkl"
    r"|delegated_backends\.debug_pkl",
    re.ASCII,
)


def admit_model(
    source: Path, target: Path, *, code: bool = True, extra_globals: Collection[Pair] = ()
) -> ModelFile:
    """Check a model or a model's weights, write that afresh, and open what was written.

    Raises `NotAModel` if it is something else, `Refused` if it may not be handed on, and without
    `code` `HoldsCode` for more than weights.
    """
    with read_model(source) as model:
        if model.weights_only:
            _check_apart(model)
            write_weights(model, target)
        elif model.format != "tensor" and not code:
            raise HoldsCode("The file is a model with code.")
        else:
            _admit_code(model, target, extra_globals)
    return read_model(target)


def admit_module(source: Path, target: Path, *, extra_globals: Collection[Pair] = ()) -> ModelFile:
    """Do the same with what is to be called: a TorchScript archive or a saved module."""
    with read_model(source) as model:
        _admit_code(model, target, extra_globals)
    return read_model(target)


def _admit_code(model: ModelFile, target: Path, extra: Collection[Pair]) -> None:
    if model.format not in ("torchscript", "module"):
        raise NotAModel(UNEXPECTED, NEITHER)
    model.sources = replaced(model.sources)  # what is checked and written from here on
    _check_members(model)
    for name, pickle in model.pickles.items():
        _check_pickle(model, pickle, FOLDERS[name])
    _check_admitted(model, extra)
    _check_apart(model)
    write_members(target, _fresh_members(model))


def _check_members(model: ModelFile) -> None:
    for name in model.members:
        if not KNOWN.fullmatch(name) and not LEFT_OUT.fullmatch(name):
            raise Refused(
                f"Member {name[:80]!a} is none that torch writes for a model: "
                "save the model alone, by torch.jit.save or torch.save."
            )


def _check_admitted(model: ModelFile, extra: Collection[Pair]) -> None:
    if model.format == "torchscript":
        _check_script(model)
    else:
        check_module(model.pickles["data.pkl"], extra)


def _check_script(model: ModelFile) -> None:
    for pickle in model.pickles.values():
        if pickle.unscripted is not None:
            raise Refused(pickle.unscripted)
        check_script_globals(sorted(pickle.globals - STORAGE_CLASSES))
    model.sources = check_code(model.sources)
    root, constants = (model.pickles[name].root for name in ("data.pkl", "constants.pkl"))
    TypeCheck(read_classes(model.sources)).check(root, constants)


def _check_pickle(model: ModelFile, pickle: Pickle, folder: str) -> None:
    """Check what must hold for every pickle that goes out, TorchScript's too."""
    if pickle.protocol != 2:
        raise Refused("The file's pickle is not of protocol 2: save it without pickle_protocol.")
    if pickle.oddity is not None:
        raise Refused(pickle.oddity)
    for storage in pickle.storages:
        storage_size(storage, folder, model.blocks)
    for call in pickle.calls:
        if call.pair in TENSOR_CALLS | WRAPPERS or call.pair[1] in UNSUPPORTED:
            read_view(call, folder, model.blocks)


def _check_apart(model: ModelFile) -> None:
    """Refuse tensors that share elements, because new weights of one would overwrite another's.

    And thousands that share a small block would fill the disk: an update stores each by itself.
    """
    by_block: dict[str, list[TensorSpec]] = {}
    for spec in model.distinct:
        start, end = spec.view.span
        if start < end:
            by_block.setdefault(spec.block, []).append(spec)
    for block, specs in by_block.items():
        spans = sorted(spec.view.span for spec in specs)
        if any(before[1] > after[0] for before, after in pairwise(spans)):
            _check_elements_apart(specs, model.blocks[block].size)


def _check_elements_apart(specs: list[TensorSpec], size: int) -> None:
    if size > MAX_SHARED:
        raise Refused(f"Tensor {shown(specs[0].name)} shares a large block: save clones of all.")
    taken = np.zeros(size, np.uint8)
    for spec in specs:
        itemsize = DTYPES[spec.dtype]
        window = spec.view.window(taken)
        if window.any():
            raise Refused(f"Tensor {shown(spec.name)} overlaps another: save clones of them.")
        window[...] = np.frombuffer(b"\xff" * itemsize, CARRIERS[itemsize])[0]


def _fresh_members(model: ModelFile) -> Iterator[tuple[str, Content]]:
    """Small members first, then blocks in the order in which the model's state needs them."""
    for name, pickle in model.pickles.items():
        data = read_content(model.file, model.members[name], MAX_BYTES)
        yield name, move_to_cpu(data, pickle)
    yield "byteorder", b"little"
    yield _version(model)
    yield from model.sources.items()
    used = [spec.block for spec in model.distinct]
    for name, pickle in model.pickles.items():
        used += [f"{FOLDERS[name]}/{storage.key}" for storage in pickle.storages]
    for name in dict.fromkeys(used):
        check_content(model.blocks[name], model.members[name])
        yield name, model.blocks[name].data


def _version(model: ModelFile) -> tuple[str, bytes]:
    """The member with the number by which torch knows what operators meant (GELU, div)."""
    name = next((name for name in VERSIONS if name in model.members), "")
    content = read_content(model.file, model.members[name], 8) if name else b""
    number = re.fullmatch(rb"([1-9]\d?)\n?", content)
    if number is None:
        raise NotAModel("The file doesn't say which version of torch's format it has.")
    return name, number[1] + b"\n"
